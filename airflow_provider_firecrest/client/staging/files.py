"""Local files: digests, an unchanged source, a target that appears complete or not at all. No HTTP."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FirecrestError, IntegrityError, QuotaError, TransferFailedError
from .options import MIB, TransferCancelledError

NAME_MAX = 255  # bytes, on every Linux file system in use
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def sha256_of(path: Path, *, chunk: int = MIB, cancelled: threading.Event | None = None) -> str:
    """Return the SHA-256 of a local file, in hex.

    :param chunk: bytes read at once.
    :param cancelled: set it to stop.
    :raises TransferCancelledError: when ``cancelled`` is set.
    :raises OSError: when the file cannot be read.
    """
    digest = hashlib.sha256()
    view = memoryview(bytearray(chunk))
    with Path(path).open("rb", buffering=0) as file:
        while count := file.readinto(view):
            if cancelled is not None and cancelled.is_set():
                raise TransferCancelledError(f"Reading {path} was cancelled.")
            digest.update(view[:count])
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_target(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``final`` that becomes ``final`` when the block ends well, and vanishes
    when it does not.

    The temporary file exists (empty, mode by the umask) from the start: a directory that cannot be written
    shows at once. What was at ``final`` stays untouched until the new content is complete and on disk.

    :param final: where the file is wanted; an existing file, or a symbolic link itself, is replaced.
    :raises OSError: when the directory cannot be written, or ``final`` is a directory, a device or a pipe.
    """
    final = Path(final)
    refuse_special(final)
    temporary = final.with_name(_temporary_name(final.name))
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        yield temporary
        sync(temporary)
        temporary.replace(final)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):
        # The rename itself is only durable with its directory; some network file systems refuse this, and
        # then do it anyway.
        sync(final.parent)


def refuse_special(final: Path) -> None:
    """Raise OSError for a device, a pipe or a socket: a file renamed onto it would destroy it."""
    if final.exists() and not final.is_symlink() and not final.is_file() and not final.is_dir():
        raise OSError(errno.EINVAL, "Not a regular file", str(final))


def _temporary_name(name: str) -> str:
    ending = f".{secrets.token_hex(4)}"
    room = NAME_MAX - len(ending) - 1
    return "." + os.fsdecode(os.fsencode(name)[:room]) + ending


def sync(path: Path) -> None:
    """Have everything written to ``path``, a file or a directory, on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Look:
    size: int
    mtime_ns: int
    inode: int
    device: int


def _look(status: os.stat_result) -> _Look:
    return _Look(status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)


class Source:
    """A file that is read from several threads and must not change meanwhile. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            failure = self._unreadable(error)
        else:
            self._before = _look(os.fstat(self._descriptor))
            return
        raise failure

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Bytes, when the file was opened."""
        return self._before.size

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from ``offset``; returns the bytes read, never 0.

        :raises IntegrityError: when the file ends earlier than it did.
        """
        try:
            count = os.preadv(self._descriptor, [view], offset)
        except OSError as error:
            # Inside a request's body an OSError would be taken for one of the network, and tried again.
            failure: FirecrestError = self._unreadable(error)
        else:
            if count:
                return count
            failure = self._changed()
        raise failure

    def check_unchanged(self) -> None:
        """Raise IntegrityError when the file is another one, or has another size or time of change."""
        try:
            now = _look(self.path.stat())
        except OSError:
            now = None
        if now != self._before:
            raise self._changed()

    def _changed(self) -> IntegrityError:
        return IntegrityError(
            f"{self.path} changed while it was being sent (at the start it had {self._before.size} bytes). "
            "Nothing was completed. Send it again once nothing writes to it."
        )

    def _unreadable(self, error: OSError) -> TransferFailedError:
        return TransferFailedError(f"Cannot read {self.path}: {error.strerror or type(error).__name__}.")


class Target:
    """A file written from several threads. A context manager; an exception removes the file.

    :param kept: what the file holds stays at the start, and the file when there is an exception.
    """

    def __init__(self, path: Path, *, kept: bool = False) -> None:
        self.path = Path(path)
        self._kept = kept
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if kept else os.O_TRUNC)
        try:
            self._descriptor = os.open(self.path, flags, 0o666)
        except OSError as error:
            failure = self._failed(error, 0)
        else:
            return
        raise failure

    def __enter__(self) -> Target:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        os.close(self._descriptor)
        if kind is not None and not self._kept:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def reserve(self, size: int) -> None:
        """Set the file's length, after a look at the free space.

        Not `posix_fallocate`: where the file system lacks it (NFS), glibc writes a byte into every block
        instead.

        :raises QuotaError: when the file system has less than ``size`` bytes left.
        """
        room = os.statvfs(self.path.parent)
        # What the file holds already needs no further room.
        free = room.f_bavail * room.f_frsize + os.fstat(self._descriptor).st_blocks * 512
        # Some FUSE file systems report no blocks at all: unknown, not full.
        if room.f_blocks and free < size:
            raise QuotaError(
                f"Not enough space for {self.path}: it needs {size} bytes, {free} are free there. "
                "Free some, or download to another file system."
            )
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            failure = self._failed(error, size)
        else:
            return
        raise failure

    def write(self, data: bytes, offset: int, needed: int) -> None:
        """Write all of ``data`` at ``offset``; ``needed`` is the whole file's size, for the error message."""
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self._descriptor, view, offset)
                view, offset = view[count:], offset + count
        except OSError as error:
            failure = self._failed(error, needed)
        else:
            return
        raise failure

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from ``offset``; returns the bytes read."""
        return os.preadv(self._descriptor, [view], offset)

    def flush(self) -> None:
        """Have everything written so far on disk."""
        os.fdatasync(self._descriptor)

    def empty(self) -> None:
        """Set the length to nothing."""
        os.ftruncate(self._descriptor, 0)

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._descriptor).st_size

    def _failed(self, error: OSError, needed: int) -> FirecrestError:
        reason = error.strerror or type(error).__name__
        if error.errno in _NO_SPACE:
            return QuotaError(f"Cannot write {self.path}: {reason}; the file needs {needed} bytes in all.")
        return TransferFailedError(f"Cannot write {self.path}: {reason}.")
