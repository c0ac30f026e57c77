"""A small ``rsync -av SOURCE TARGET`` for transfer jobs. Runs inside the job, as a script of its own.

Knows: where rsync puts things, what it prints, its exit codes. Must not know: the server.

Standard library only, because the job starts it as ``python -I -S``.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_PARTIAL = 23


def copy(source: Path, target: Path, shown: str) -> int:
    """Copy a file or tree over what is there; returns the size of the files."""
    if source.is_symlink():
        target.unlink(missing_ok=True)
        target.symlink_to(source.readlink())
        print(f"{shown} -> {source.readlink()}")
        return 0
    if not source.is_dir():
        shutil.copy2(source, target)
        print(shown)
        return source.stat().st_size
    target.mkdir(exist_ok=True)
    if shown:
        print(f"{shown}/")
    size = 0
    for entry in sorted(source.iterdir()):
        size += copy(entry, target / entry.name, f"{shown}/{entry.name}" if shown else entry.name)
    shutil.copystat(source, target)
    return size


def place(source_text: str, target_text: str) -> int:
    """Copy into ``target``: the source itself, or with a trailing slash what is in it."""
    source, target = Path(source_text), Path(target_text)
    inside = source_text.endswith("/")
    if source.is_dir() and not target.is_dir():
        target.mkdir()
        print(f"created directory {target_text}")
    if inside and source.is_dir():
        return copy(source, target, "")
    into = target / source.name if target.is_dir() else target
    return copy(source, into, source.name)


def main(arguments: list[str]) -> int:
    """``SOURCE TARGET``"""
    source, target = arguments
    print("sending incremental file list")
    size, code = 0, 0
    if not (Path(source).exists() or Path(source).is_symlink()):
        text = "failed: No such file or directory (2)"
        print(f'rsync: [sender] link_stat "{source}" {text}', file=sys.stderr)
        code = _PARTIAL
    else:
        try:
            size = place(source, target)
        except (OSError, shutil.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            number = getattr(error, "errno", None)
            print(f'rsync: [receiver] mkstemp "{target}" failed: {reason} ({number})', file=sys.stderr)
            code = _PARTIAL
    print(f"\nsent {size + 101} bytes  received 72 bytes  346.00 bytes/sec")
    print(f"total size is {size}  speedup is {size / (size + 173):.2f}")
    if code:
        text = "some files/attrs were not transferred (see previous errors)"
        print(f"rsync error: {text} (code {code}) at main.c(1394) [sender=3.5.0]", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
