"""What ``file -b`` would say, for machines that have no ``file`` command.

Knows: the handful of kinds a client may ask about. Must not know: HTTP. Only a small part of what file knows.
"""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path

_LOOK = 4096
_SPECIAL = (
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "fifo (named pipe)"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "character special"),
    (stat.S_ISBLK, "block special"),
)
_MAGIC = (
    (b"\x1f\x8b", "gzip compressed data"),
    (b"BZh", "bzip2 compressed data"),
    (b"\xfd7zXZ\x00", "XZ compressed data"),
    (b"\x7fELF", "ELF"),
)


def file_kind(path: str) -> str:
    """The kind of a file; for one that cannot be read the complaint, as file says it."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            broken = "" if Path(path).exists() else "broken "
            return f"{broken}symbolic link to {Path(path).readlink()}"
        special = next((kind for is_kind, kind in _SPECIAL if is_kind(mode)), None)
        return special or _content_kind(path)
    except OSError as error:
        return f"cannot open `{path}' ({error.strerror})"


def _content_kind(path: str) -> str:
    with Path(path).open("rb") as file:
        start = file.read(_LOOK)
    if not start:
        return "empty"
    magic = next((kind for mark, kind in _MAGIC if start.startswith(mark)), None)
    if magic or b"\0" in start:
        return magic or "data"
    if start.startswith(b"#!"):
        return "script, ASCII text executable"
    if start.isascii():
        return "ASCII text"
    try:
        # Incrementally: a character may be cut in two where we stopped reading.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "data"
    return "Unicode text, UTF-8 text"
