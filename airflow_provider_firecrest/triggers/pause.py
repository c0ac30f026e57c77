"""Waits in the triggerer for a moment in time: the pause of a task that a limit of the site has sent away."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ._base import FirecrestTrigger


class FirecrestPauseTrigger(FirecrestTrigger):
    """Fires once at a moment, or at the deadline when that comes first. Asks nothing.

    The event's ``status`` is ``done`` or ``timeout``; ``carry`` holds what the operator gave along.

    :param until: seconds since the epoch.
    :param carry: plain JSON that comes back in the event. It is logged: no secrets.
    """

    def __init__(self, *, until: float, carry: dict[str, Any] | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.until = until
        self.carry = carry or {}

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "until": self.until, "carry": self.carry}

    async def wait(self) -> dict[str, Any]:
        ends = self.until if self.deadline is None else min(self.until, self.deadline)
        await asyncio.sleep(max(0.0, ends - time.time()))
        timed_out = self.deadline is not None and self.deadline <= self.until
        return {"status": "timeout" if timed_out else "done", "carry": self.carry}
