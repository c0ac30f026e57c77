"""A download that a later process can go on with: a partial file beside the target, and what is known of it.

Knows names, locks and the record of what the partial file holds. Knows nothing of HTTP. The partial file's
name follows from the target and from a mark that the caller gives, so that the next process finds it; a lock
keeps two processes from writing to one. The record says of which version of which size the bytes are.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FirecrestError, IntegrityError, Retry
from .files import NAME_MAX, atomic_target, refuse_special, sync

log = logging.getLogger("airflow_provider_firecrest.staging")

STALE_AFTER = 7 * 86_400.0
"""Seconds after which nobody goes on with a partial file: object stores keep staged files no longer."""

_RECORD = ".map"
_LOOKS = 5


@dataclass(frozen=True)
class Holding:
    """What a partial file holds.

    :ivar etag: the object's ETag as the store sent it, quotes included; a strong one.
    :ivar size: of the whole object.
    :ivar spans: what is there: from a first byte to one behind the last, in order.
    """

    etag: str
    size: int
    spans: tuple[tuple[int, int], ...]

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """What is missing, in order."""
        edges = [0, *(edge for span in self.spans for edge in span), self.size]
        return [(edges[at], edges[at + 1]) for at in range(0, len(edges), 2) if edges[at] < edges[at + 1]]


class Record:
    """The small file beside a partial file that says what is in it.

    :param target: the partial file.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + _RECORD)
        self._target = target

    def read(self, size: int | None) -> Holding | None:
        """Return what the partial file holds, or None when that is not sure.

        :param size: bytes the object must have, or None when unknown.
        """
        try:
            values = json.loads(self.path.read_bytes())
            spans = tuple((int(start), int(stop)) for start, stop in values["spans"])
            size_then, etag = int(values["size"]), str(values["etag"])
            there = self._target.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return None
        edges = [each for span in spans for each in span]
        sound = edges == sorted(edges) and edges[:1] >= [0] and edges[-1] <= size_then == there
        if not sound or size not in (None, size_then):
            return None
        if spans == ((0, size_then),):
            # Complete: its last byte is asked for again, so that the store says which version it has now.
            spans = ((0, size_then - 1),)
        return Holding(etag, size_then, spans)

    def write(self, holding: Holding) -> None:
        """Write down what the partial file holds; its bytes must be on disk. A shortcut: never raises."""
        values = {"etag": holding.etag, "size": holding.size, "spans": holding.spans}
        with contextlib.suppress(OSError):
            self.path.write_text(json.dumps(values))

    def remove(self) -> None:
        """Forget it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def resumable_target(final: Path, mark: str, *, keep: bool = False, fresh: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``final`` that becomes ``final`` when the block ends well.

    The path is the same for the same ``final`` and ``mark``, so that ``get_object(..., resume=True)`` goes on
    with what a killed process left there. Should another process be writing to it, the path is one of its
    own. Partial files of the same ``final`` that are older than seven days are removed.

    :param final: where the file is wanted; an existing file, or a symbolic link itself, is replaced.
    :param mark: what tells this transfer from others to the same place.
    :param keep: leave the partial file when the block fails in a way that may pass (another attempt follows).
    :param fresh: forget what an earlier process left.
    :raises OSError: when the directory cannot be written, or ``final`` is a directory.
    """
    final = Path(final)
    refuse_special(final)
    remove_stale(final)
    temporary = final.with_name(_partial_name(final.name, mark))
    descriptor = _locked(temporary)
    if descriptor is None:
        log.info("%s is being written by another process; this one starts its own.", temporary.name)
        with atomic_target(final) as own:
            yield own
        return
    record = Record(temporary)
    if fresh:
        record.remove()
    try:
        yield temporary
        sync(temporary)
        # First the record: without one, a partial file is begun anew.
        record.remove()
        temporary.replace(final)
    except BaseException as error:
        if not (keep and may_pass(error)):
            record.remove()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        sync(final.parent)


def may_pass(error: BaseException) -> bool:
    """Whether a later attempt may go on where this one failed."""
    if not isinstance(error, FirecrestError) or isinstance(error, IntegrityError):
        return False
    return error.retry is not Retry.NO


def remove_stale(final: Path) -> None:
    """Remove what attempts to write ``final`` have left, once it is too old to go on with."""
    ours = re.compile(re.escape(_stem(final.name)) + r"\.[0-9a-f]{14}\.part(\.map)?")
    with contextlib.suppress(OSError):
        for each in [path for path in final.parent.iterdir() if ours.fullmatch(path.name)]:
            if _is_stale(each):
                log.info("Removing %s, which an interrupted download left.", each)
                each.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or time.time() - found.st_mtime < STALE_AFTER:
            return False
        if path.name.endswith(_RECORD):
            return not path.with_name(path.name.removesuffix(_RECORD)).exists()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _lock(descriptor)
    finally:
        os.close(descriptor)


def _stem(name: str) -> str:
    room = NAME_MAX - len(".") - len(".") - 14 - len(".part") - len(_RECORD)
    return "." + os.fsdecode(os.fsencode(name)[:room])


def _partial_name(name: str, mark: str) -> str:
    digest = hashlib.sha256(mark.encode() + b"\0" + os.fsencode(name)).hexdigest()
    return f"{_stem(name)}.{digest[:14]}.part"


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds the lock on ``path``, or None when somebody else does."""
    for _ in range(_LOOKS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        # Whoever held it before may have given the file its final name meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool:
    """Take the lock; the kernel gives it back when the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A file system without locks (some network ones): then nobody else holds one either.
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True
