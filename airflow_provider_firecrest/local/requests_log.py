"""The last requests the server answered, for tests that count polls.

Knows: method, path, status, times. Must not know: bodies, headers, query strings (they hold signatures).
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RequestRecord:
    """One request; ``time`` in seconds since the epoch, ``status`` None when no answer was sent."""

    number: int
    method: str
    path: str
    status: int | None
    time: float
    elapsed_ms: float


class RequestLog:
    """A bounded memory of requests.

    Args:
        size: how many are remembered.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=size)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, method: str, path: str, status: int | None, time: float, elapsed_ms: float) -> None:
        """Remember one request."""
        with self._lock:
            self._count += 1
            self._records.append(RequestRecord(self._count, method, path, status, time, round(elapsed_ms, 2)))

    def since(self, number: int = 0) -> list[dict[str, Any]]:
        """The remembered requests after the one numbered ``number``, oldest first."""
        with self._lock:
            return [asdict(record) for record in self._records if record.number > number]
