"""Waits in the triggerer until a system is healthy."""

from __future__ import annotations

from typing import Any

from ..client.flow import Flow
from ._look_trigger import LookTrigger
from ._looks import Look, system_flow


class FirecrestSystemTrigger(LookTrigger):
    """Fires once when a system's services are healthy; ``found`` holds ``system`` and ``services``.

    :param services: names of the services that must be healthy; None: all.
    """

    def __init__(self, *, services: list[str] | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.services = services

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "services": self.services}

    def flow(self, api: Any) -> Flow[Look]:
        return system_flow(api, self.services, self.system)
