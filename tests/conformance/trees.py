"""The files the recordings were made with."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

# What the names tables call each name, as they were recorded.
ODD_NAMES = {
    "space": "sp ace.txt",
    "unicode": "ünï-日本.txt",
    "squote": "quo'te.txt",
    "dquote": 'dq"uote.txt',
    "dash": "-dash.txt",
    "dollar": "$(echo x).txt",
    "backtick": "`echo y`.txt",
    "amp": "a&b.txt",
    "lt": "a<b.txt",
    "semi": "semi;colon.txt",
    "backslash": "back\\slash.txt",
    "newline": "new\nline.txt",
    "tab": "tab\tx.txt",
    "star": "st*r.txt",
    "bracket": "[br].txt",
    "hash": "#h.txt",
    "percent": "p%25.txt",
    "trail": "trail ",
    "plus": "a+b.txt",
    "upper": "UPPER.txt",
}


def sparse(path: Path, size: int) -> None:
    """A file of ``size`` zero bytes that occupies no disk."""
    with path.open("wb") as file:
        file.truncate(size)


def unpackable(name: str) -> str | None:
    """The compression tool this machine lacks for what ``name`` speaks of, or None."""
    tools = {"bzip2": "bzip2", "xz": "xz", "txz": "xz"}
    return next((tool for word, tool in tools.items() if word in name and shutil.which(tool) is None), None)


def needs_its_tool(name: str) -> object:
    """``name`` as a test parameter, skipped where its compression tool is missing."""
    missing = unpackable(name)
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing), reason=f"{missing} is not installed"))


def make_ops(top: Path) -> None:
    """The directory of the ``ops_*`` recordings."""
    top.mkdir()
    (top / "a.txt").write_text("line1\nline2\nline3\n")
    (top / ".hidden").write_text("h\n")
    (top / "lines.txt").write_text("".join(f"{number}\n" for number in range(1, 31)))
    (top / "latin").write_bytes(b"\xff\xfe\x00bad\n")
    (top / "nonl").write_text("no newline")
    (top / "bin.dat").write_bytes(random.Random(1).randbytes(300_000))
    (top / "empty").touch()
    for name, size in (
        ("b64exact", 3_932_160),
        ("b64over", 4_200_000),
        ("exact5m", 5_242_880),
        ("over5m", 5_242_881),
    ):
        sparse(top / name, size)
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "sub" / "deep" / "x.txt").write_text("deep\n")
    (top / "link").symlink_to("a.txt")
    (top / "broken").symlink_to("nowhere")
    (top / "dirlink").symlink_to("sub")
    os.mkfifo(top / "fifo")
    (top / "noperm").mkdir()
    (top / "noperm" / "f").write_text("x")
    (top / "noperm").chmod(0)


def make_archives(top: Path) -> None:
    """The archives of ``top/sub`` that the extract recordings unpack, and where to."""
    flags = {"sub.tgz": "z", "sub.gzip.tar": "z", "sub.bzip2.tar": "j", "sub.xz.tar": "J", "sub.none.tar": ""}
    for name, flag in flags.items():
        if unpackable(name):
            continue
        subprocess.run(["tar", f"-c{flag}f", top / name, "-C", top, "sub"], check=True)
    (top / "ex").mkdir()


def make_names(top: Path) -> None:
    """The directory of the ``names_*`` recordings: each odd name with its own content."""
    (top / "in").mkdir(parents=True)
    for label, name in ODD_NAMES.items():
        (top / "in" / name).write_text(f"content of {label}\n")
    Path(os.fsdecode(os.fsencode(top / "in") + b"/lat\xe9.txt")).write_text("content of latin1\n")


def make_transfers(top: Path) -> None:
    """The directory of the ``transfer_*`` recordings."""
    top.mkdir()
    for name in ("f.txt", "g.txt", "f4.txt", "mv1.txt", "mv2.txt", "mv3.txt", "mv4.txt", "mv5.txt"):
        (top / name).write_text(f"content of {name}\n")
    make_source(top / "src")
    (top / "dst").mkdir()
    (top / "rmd1" / "below").mkdir(parents=True)
    (top / "ex").mkdir()
    subprocess.run(["tar", "-czf", top / "ok.tgz", "-C", top, "src"], check=True)
    (top / "roDir").mkdir()
    (top / "roDir" / "k").write_text("x")
    (top / "roDir").chmod(0o555)
    (top / "noperm").mkdir()
    (top / "noperm" / "f").write_text("x")
    (top / "noperm").chmod(0)
    (top / "empty").touch()
    (top / "small.bin").write_bytes(random.Random(2).randbytes(1000))


def make_source(top: Path) -> None:
    """A small tree with a symbolic link in it."""
    (top / "deep").mkdir(parents=True)
    (top / "a.txt").write_text("aaa\n")
    (top / "deep" / "b.txt").write_text("bbb\n")
    (top / "l").symlink_to("a.txt")
