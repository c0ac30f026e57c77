"""The last requests the server answered, for tests that count polls.

Knows: method, path, status, times, part numbers. Must not know: bodies, headers, the rest of query strings
(they hold signatures).
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

_PART = re.compile(rb"(?:^|&)partNumber=(\d{1,5})(?:&|$)")


@dataclass(frozen=True)
class RequestRecord:
    """One request; ``time`` in seconds since the epoch, ``status`` None when no answer was sent.

    ``part`` is the number of the part that the request carries to the object store.
    """

    number: int
    method: str
    path: str
    status: int | None
    time: float
    elapsed_ms: float
    part: int | None = None


class RequestLog:
    """A bounded memory of requests.

    Args:
        size: how many are remembered.
    """

    def __init__(self, size: int = 20_000) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=size)
        self._count = 0
        self._lock = threading.Lock()

    def add(
        self, method: str, path: str, status: int | None, time: float, elapsed_ms: float, query: bytes = b""
    ) -> None:
        """Remember one request."""
        part = _PART.search(query)
        with self._lock:
            self._count += 1
            record = RequestRecord(
                self._count, method, path, status, time, round(elapsed_ms, 2), int(part[1]) if part else None
            )
            self._records.append(record)

    def since(self, number: int = 0) -> list[dict[str, Any]]:
        """The remembered requests after the one numbered ``number``, oldest first."""
        with self._lock:
            return [asdict(record) for record in self._records if record.number > number]
