"""Since when jobs can belong to a task, by the clock that says when jobs ended.

Pure but for one question: what time it is on the system.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..sync_client import FirecrestClient

CLOCKS_DIFFER = 300.0
"""Seconds by which the clocks of the callers' machines may differ."""


def by_the_systems_clock(client: FirecrestClient, began: float | None) -> float | None:
    """Return since when jobs can belong to a task instance by the system's clock, as the ends of jobs are:

    ours may be hours off, or have been when it was noted. Rather a job of an earlier life than a second one:
    the earlier moment.

    :param client: the client.
    :param began: seconds since the epoch, by a caller's clock; None: at any time.
    """
    if began is None or began > time.time() + CLOCKS_DIFFER:
        # A beginning that is still to come was noted by a clock that has been put back since.
        return None
    return min(began, client.server_time(began))
