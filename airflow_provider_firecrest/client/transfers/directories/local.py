"""The temporary directory that a directory's transfer has on this machine: found again by a later process,
and removed when nobody comes back.

Its name follows from where it stands and from a text that the caller gives, so that the next process finds
what a killed one left. A lock, which the kernel gives back at the end of a process, however it ends, keeps
two processes apart. Knows local files only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ...leftovers import OLD
from ...staging import may_pass
from . import archive

logger = logging.getLogger("airflow_provider_firecrest.transfers")

STALE_AFTER = 7 * 86_400.0
"""Seconds after which nobody comes back for such a directory."""

_DIGITS = 14
_LOOKS = 5


class Here:
    """A directory of one's own.

    :ivar path: where it is.
    :ivar keep: leave what is in it at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keep = False

    def forget_all_but(self, beginnings: tuple[str, ...]) -> None:
        """Remove what other transfers left in it."""
        for each in self.path.iterdir():
            if not each.name.startswith(beginnings):
                archive.remove(each)

    def bytes(self) -> int:
        """Return what the files right in it take on the disk."""
        return sum(each.lstat().st_blocks * 512 for each in self.path.iterdir())


@contextlib.contextmanager
def own_directory(parent: Path, stem: str, place: str | None, *, keep: bool = False) -> Iterator[Here]:
    """Yield a temporary directory that only its owner can read; at the end it is removed with all in it.

    :param parent: where it stands.
    :param stem: how its name begins. What nobody came back for under such a name is removed first.
    :param place: the same text makes the same directory, with what an earlier process left in it; None makes
        a new one. So does a directory that another process, or another user, has.
    :param keep: leave it as it is when the block fails in a way that may pass.
    :raises FirecrestError: it cannot be made.
    """
    _sweep(parent, stem)
    try:
        path, descriptor = _taken(parent, stem, place)
    except OSError as error:
        raise archive.not_written(parent, error) from None
    here = Here(path)
    try:
        yield here
    except BaseException as error:
        here.keep = here.keep or (keep and may_pass(error))
        raise
    finally:
        if not here.keep:
            archive.remove(path)
        with contextlib.suppress(OSError):
            path.rmdir()
        os.close(descriptor)


def discard(parent: Path, stem: str, place: str | None) -> None:
    """Remove what an earlier process with the same text left; never raises."""
    if place is None:
        return
    path = parent / _name(stem, place)
    with contextlib.suppress(OSError):
        descriptor = _locked(path)
        if descriptor is not None:
            archive.remove(path)
            os.close(descriptor)


def put_back(target: Path, stem: str, place: str | None) -> None:
    """Give a target its old tree back: a process was killed between taking it aside and replacing it.

    :param target: the directory that was to be replaced; its temporary directory stands beside it.
    """
    old = target.parent / _name(stem, place or "") / OLD
    if place is None or not os.path.lexists(old) or os.path.lexists(target):
        return
    with archive.writing(target):
        descriptor = _locked(old.parent)
        if descriptor is None:
            return
        try:
            move(old, target)
        finally:
            os.close(descriptor)
    logger.warning("An earlier try was killed while it replaced %s: what was there is back.", target)


def move(source: Path, target: Path) -> None:
    """Rename something; also a directory that its owner may not write: it has to take another ``..``."""
    mode = stat.S_IMODE(source.lstat().st_mode)
    closed = source.is_dir() and not source.is_symlink() and mode & 0o300 != 0o300
    if closed:
        source.chmod(mode | 0o300)
    source.rename(target)
    if closed:
        target.chmod(mode)


def _taken(parent: Path, stem: str, place: str | None) -> tuple[Path, int]:
    for look in range(_LOOKS):
        text = place if place is not None and look < _LOOKS - 1 else secrets.token_hex(8)
        path = parent / _name(stem, text)
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
        if not _is_ours(path):
            place = None
            continue
        with contextlib.suppress(FileNotFoundError):
            descriptor = _locked(path)
            if descriptor is not None:
                return path, descriptor
            logger.info("%s is in use by another process; this one makes its own.", path)
            place = None
    raise OSError(None, f"no temporary directory can be made in {parent}")


def _name(stem: str, place: str) -> str:
    return stem + hashlib.sha256(f"{stem}\0{place}".encode(errors="surrogateescape")).hexdigest()[:_DIGITS]


def _is_ours(path: Path) -> bool:
    """Whether it is a directory that nobody else can have prepared: others may write where it stands."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds the lock on a directory, or None when somebody else does.

    :raises OSError: it is gone, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        # A file system without locks (some network ones): then nobody else holds one either.
        pass
    # Whoever held it before may have removed it meanwhile.
    if not os.path.lexists(path) or path.stat().st_ino != os.fstat(descriptor).st_ino:
        os.close(descriptor)
        raise FileNotFoundError(path)
    return descriptor


def _sweep(parent: Path, stem: str) -> None:
    """Remove what nobody came back for."""
    ours = re.compile(re.escape(stem) + rf"[0-9a-f]{{{_DIGITS}}}")
    with contextlib.suppress(OSError):
        for path in [each for each in parent.iterdir() if ours.fullmatch(each.name)]:
            with contextlib.suppress(OSError):
                _remove_stale(path)


def _remove_stale(path: Path) -> None:
    if not _is_ours(path):
        return
    youngest = max(each.lstat().st_mtime for each in (path, *path.iterdir()))
    if time.time() - youngest < STALE_AFTER:
        return
    if os.path.lexists(path / OLD):
        logger.warning("%s may hold the only copy of a directory that was being replaced; it is left.", path)
        return
    descriptor = _locked(path)
    if descriptor is not None:
        logger.info("Removing %s, which an interrupted transfer left.", path)
        archive.remove(path)
        os.close(descriptor)
