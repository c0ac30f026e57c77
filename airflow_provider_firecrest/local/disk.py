"""A disk without room: for one request, and for whatever command, job or copy it starts.

Knows: the limit that the kernel keeps on the size of files, for want of a disk that is really full. Must not
know: who asks for it (`faults`), who runs what.

A command that meets the limit fails in its ``write``, as on a full disk, and a part of the file stays. Only
its words differ: "File too large" in place of "No space left on device".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextvars import ContextVar
from typing import IO

ROOM: ContextVar[int | None] = ContextVar("room", default=None)
"""Bytes that fit into a file, in steps of 1024; None: as many as there are."""


def shell_line(line: str) -> str:
    """A line for bash, under the limit that is in force."""
    room = ROOM.get()
    # Without the trap the command would be killed by a signal, as no full disk does.
    return line if room is None else f"trap '' XFSZ; ulimit -f {room // 1024}; {line}"


def command(argv: Sequence[str], room: int | None) -> list[str]:
    """A command, under a limit."""
    if room is None:
        return list(argv)
    return ["/bin/bash", "-c", f"trap '' XFSZ; ulimit -f {room // 1024}; exec \"$@\"", "bash", *argv]


def write(file: IO[bytes], data: bytes) -> None:
    """Append to a file that is written from its beginning, as far as the limit in force allows.

    Raises:
        OSError: not all of it fitted.
    """
    room = ROOM.get()
    fits = len(data) if room is None else max(0, room - file.tell())
    file.write(data[:fits])
    if fits < len(data):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
