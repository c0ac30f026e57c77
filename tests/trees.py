"""Directory trees for tests: one with everything in it, and a look at a tree that shares nothing with the
code."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path

ODD_NAMES = [
    b"with blank",
    b"new\nline",
    b"tab\there",
    b"quote'\"quote",
    b"back\\slash",
    b"$(touch pwned)",
    b"a&b<c>;d|e",
    b"-rf",
    b"*?[x]",
    "ünïcödé 東".encode(),
    b"not-utf8-\xff\xfe",
    b".hidden",
    b"x" * 200,
]


def written_tree(root: Path, *, bulk: int = 0, seed: int = 7) -> Path:
    """Write a tree with everything in it; ``bulk`` adds a file of that many bytes."""
    (root / "empty" / "deep").mkdir(parents=True)
    (root / "sub" / "dir").mkdir(parents=True)
    (root / "zero").write_bytes(b"")
    (root / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (root / "sub" / "dir" / "data.bin").write_bytes(random.Random(seed).randbytes(5000))
    for name in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(root) + b"/sub/" + name)).write_bytes(name)
    Path(os.fsdecode(os.fsencode(root) + b"/dir \xff\n")).mkdir()
    if bulk:
        (root / "bulk").write_bytes(random.Random(seed).randbytes(bulk))
    (root / "to-file").symlink_to("sub/dir/data.bin")
    (root / "sub" / "dir" / "up").symlink_to("../../zero")
    (root / "to-dir").symlink_to("sub")
    (root / "broken").symlink_to("nothing/here")
    (root / "sub" / "run.sh").chmod(0o750)
    (root / "zero").chmod(0o400)
    (root / "sub" / "dir").chmod(0o555)
    os.utime(root / "sub" / "dir" / "data.bin", (1_000_000_000, 1_000_000_001))
    os.utime(root / "empty", (1_100_000_000, 1_100_000_000))
    return root


def seen(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything below ``root``: type, permissions, size and content or target, and time in seconds."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for directory, names, files in os.walk(top):
        for name in [*names, *files]:
            path = directory + b"/" + name
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                # A link has neither permissions nor, for us, a time.
                found[path[len(top) + 1 :]] = (kind, os.readlink(path))  # noqa: PTH115
                continue
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as stream:  # noqa: PTH123
                    content = hashlib.sha256(stream.read()).hexdigest()
            found[path[len(top) + 1 :]] = (kind, stat.S_IMODE(status.st_mode), content, int(status.st_mtime))
    return found
