"""How fast and how many at once: one pacer per connection and process.

All clients of a connection share it, so that mapped tasks in one triggerer do not add up to a ban. Knows
time, not HTTP.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable


class Pacer:
    """Spaces the starts of requests; the caller does the waiting, so that it serves threads and event loops
    alike.

    :param per_second: requests per second; short bursts of up to one second's worth pass at once.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._burst = max(1.0, per_second)
        self._lock = threading.Lock()
        self._next = 0.0
        self._paused_until = 0.0

    def reserve(self) -> float:
        """Take the next place and return the seconds to wait for it."""
        with self._lock:
            now = time.monotonic()
            # Unused places are kept for at most one second: a generic cell rate algorithm.
            earliest = max(self._next, now - (self._burst - 1) * self._interval)
            self._next = earliest + self._interval
            return max(0.0, earliest - now)

    def pause(self, seconds: float) -> None:
        """Let nobody start before ``seconds`` from now: one 429 is meant for all of us."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
            self._next = max(self._next, self._paused_until)

    def paused_for(self) -> float:
        """Return the seconds left of a pause; who cannot wait that long takes no place."""
        return max(0.0, self._paused_until - time.monotonic())


_pacers: dict[Hashable, Pacer] = {}
_pacers_lock = threading.Lock()


def shared_pacer(key: Hashable, per_second: float) -> Pacer:
    """Return the process's pacer for a connection."""
    with _pacers_lock:
        return _pacers.setdefault((key, per_second), Pacer(per_second))
