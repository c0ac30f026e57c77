"""Somebody who reads a file all the time, while an upload replaces it: what they see is the witness."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.judge import Findings, digest

_EVERY = 0.02


@contextmanager
def reader_of(path: Path, allowed: tuple[bytes, ...], findings: Findings, *, name: str) -> Iterator[None]:
    """Look at a file every few hundredths of a second, and read it whenever it has changed.

    :param path: the file; it is there already.
    :param allowed: contents that it may have.
    :param findings: told of what else was seen, or that nothing was there.
    """
    digests = {digest(content) for content in allowed}
    over, seen = threading.Event(), set[tuple[int, int, int]]()

    def look() -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            findings.add("lost", f"{name}: for a moment there was no file")
            over.set()
            return
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            state = (found.st_ino, found.st_size, found.st_mtime_ns)
            if state in seen:
                return
            seen.add(state)
            if digest(file.read()) not in digests:
                findings.add("wrong_bytes", f"{name}: for a moment there were {found.st_size} other bytes")
                over.set()

    def keep_looking() -> None:
        while not over.wait(_EVERY):
            look()

    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
