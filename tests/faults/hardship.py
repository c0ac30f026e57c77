"""What is wrong with the machine that a worker runs on: little room on its disk, a clock that is not right.

Knows the process it is called in. The limit is the kernel's own: a write that passes it fails, and what was
written before stays, as on a full disk. The clock is Python's ``time.time``; files keep the kernel's.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence

CLOCK_JUMPS_AFTER = 0.3
"""Seconds into a step at which its clock goes from the first offset to the second."""

_real = time.time
_offsets: list[float] = []
_jump_at = 0.0


def install() -> None:
    """Put a clock that can be set in place of ``time.time``; before anybody else keeps the real one."""
    time.time = now


def now() -> float:
    """Seconds since the epoch, by a clock that is as wrong as :func:`arrange` was told."""
    if not _offsets:
        return _real()
    return _real() + _offsets[0 if time.monotonic() < _jump_at else -1]


def arrange(*, room: int | None = None, clock: Sequence[float] = ()) -> None:
    """Make this process suffer.

    :param room: bytes that fit into a file.
    :param clock: seconds by which its clock is ahead, first and later.
    """
    global _jump_at
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    _offsets[:] = clock
    _jump_at = time.monotonic() + CLOCK_JUMPS_AFTER
