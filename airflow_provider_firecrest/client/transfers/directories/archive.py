"""A directory as one tar file, and back: the local half of moving directories.

Writes what GNU tar reads and reads what it writes (its own format: names are bytes, times are seconds). Keeps
permission bits, times, empty directories and links; drops owners and set-user-id bits. What is unpacked can
never land outside its directory. Memory does not grow with file sizes. Knows local files; must not know
FirecREST.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from ...._crash_points import crash_point
from ...errors import ConfigurationError, FirecrestError, IntegrityError, QuotaError, TransferFailedError
from ...staging import TransferCancelledError
from .tree import Entry, TreeDigest, digest, stays_inside, unreadable

COMPRESSIONS = ("none", "gzip")

SUFFIX = {"none": ".tar", "gzip": ".tar.gz"}

_MODES = {"none": "", "gzip": "gz"}
_PERMISSIONS = 0o777
_NO_SPACE = 28
_OVER_QUOTA = 122


class _Hashing:
    """A file that is hashed while tarfile reads it: what is in the archive, not what is in the file later."""

    def __init__(self, stream: IO[bytes], stop: threading.Event | None) -> None:
        self._stream, self._stop = stream, stop
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        check_stop(self._stop)
        data = self._stream.read(size)
        self.sha256.update(data)
        return data


def pack(
    root: Path,
    entries: Iterable[Entry],
    archive: Path,
    *,
    compression: str = "none",
    stop: threading.Event | None = None,
) -> TreeDigest:
    """Write a directory into an archive, reading each file once.

    :param root: the directory.
    :param entries: what is in it (``tree.scan``).
    :param archive: file to write.
    :param compression: ``none`` or ``gzip``.
    :param stop: set it to stop.
    :returns: the digest of what the archive holds.
    :raises IntegrityError: a file changed meanwhile.
    :raises InvalidRequestError: a file cannot be read.
    :raises QuotaError: not enough space for the archive.
    """
    # A directory's content right after it: GNU tar sets its time once it sees something else.
    entries = sorted(entries, key=lambda each: each.name.replace(b"/", b"\0"))
    sums: dict[bytes, str] = {}
    closed: list[tarfile.TarInfo] = []
    with writing(archive), _new(archive, compression) as stream, _open(archive, "w:", fileobj=stream) as tar:
        tar.addfile(_opened(_header(tar, root, "."), closed))
        for entry in entries:
            check_stop(stop)
            if entry.kind == "f":
                sums[entry.name] = _add_file(tar, root, entry, stop)
                crash_point("during_packing")
            else:
                tar.addfile(_opened(_other(tar, root, entry), closed))
            _forget(tar)
        for header in reversed(closed):
            tar.addfile(header)
    return digest(entries, sums)


def unpack(
    archive: Path, into: Path, *, compression: str = "none", stop: threading.Event | None = None
) -> None:
    """Unpack an archive into an empty directory.

    :param archive: the archive.
    :param into: the directory; it gets the mode and time of the packed one.
    :param compression: ``none`` or ``gzip``.
    :param stop: set it to stop.
    :raises IntegrityError: the archive is damaged, or holds something that may not be unpacked: a path or a
        link that leads out, a hard link, a device.
    :raises QuotaError: not enough space.
    """
    if not hasattr(tarfile, "data_filter"):
        raise ConfigurationError(
            "Directories need Python 3.11.4 or newer, whose tarfile refuses unsafe paths."
        )
    directories: list[tuple[Path, int, float]] = []
    links: set[str] = set()
    with _damage(archive), writing(into), _open(archive, "r:" + _MODES[compression]) as tar:
        while (member := tar.next()) is not None:
            check_stop(stop)
            _check(member, links)
            tar.extract(member, into, set_attrs=not member.isdir(), filter=_kept)
            crash_point("during_unpacking")
            if member.isdir():
                directories.append((into / member.name, member.mode & _PERMISSIONS, member.mtime))
            _forget(tar)
        # At the end and from the bottom up: a directory's time changes with what is put into it, and one that
        # is read-only takes nothing.
        for path, mode, mtime in sorted(directories, key=lambda each: len(each[0].parts), reverse=True):
            os.utime(path, (mtime, mtime))
            path.chmod(mode)


def remove(path: Path) -> None:
    """Remove a local tree, read-only directories included; never raises."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
    for directory, names, _ in os.walk(path):
        for name in names:
            child = Path(directory, name)
            with contextlib.suppress(OSError):
                if not child.is_symlink() and stat.S_IMODE(child.stat().st_mode) & 0o700 != 0o700:
                    child.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


def check_stop(stop: threading.Event | None) -> None:
    """Raise when the event is set."""
    if stop is not None and stop.is_set():
        raise TransferCancelledError("The transfer was cancelled.")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the local file system refuses into errors that say where.

    :param path: what is being written.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own: a damaged archive
            raise
        raise not_written(path, error) from None


def not_written(path: Path, error: OSError) -> FirecrestError:
    """Return the error for something local that cannot be written."""
    reason = error.strerror or type(error).__name__
    if error.errno in (_NO_SPACE, _OVER_QUOTA):
        return QuotaError(f"Not enough space for {path}: {reason}.")
    return TransferFailedError(f"Cannot write {path}: {reason}.")


@contextlib.contextmanager
def _new(path: Path, compression: str) -> Iterator[IO[bytes]]:
    """Open a new archive. Packed again, the same tree makes the same bytes, so that what is sent of them
    stays sent: of a compressed one the time and the name are left out.
    """
    with path.open("wb") as plain:
        if compression == "none":
            yield plain
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=plain, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def _open(path: Path, mode: str, **options: Any) -> tarfile.TarFile:
    # Names are bytes: what is not UTF-8 passes as it is, both ways.
    options |= {"format": tarfile.GNU_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
    opened = tarfile.open(path, mode, **options)  # type: ignore[call-overload]  # noqa: SIM115
    return cast("tarfile.TarFile", opened)


def _forget(tar: tarfile.TarFile) -> None:
    """Forget the members so far: tarfile keeps a kilobyte of each, to look it up later."""
    tar.members.clear()  # type: ignore[attr-defined]


def _header(tar: tarfile.TarFile, root: Path, name: str) -> tarfile.TarInfo:
    try:
        found = tar.gettarinfo(str(root / name), arcname=name)
    except OSError as error:
        raise unreadable(os.fsencode(name), error, "source_path") from None
    found.uid = found.gid = 0
    found.uname = found.gname = ""
    found.mode &= _PERMISSIONS
    found.mtime = int(found.mtime)
    return found


def _opened(header: tarfile.TarInfo, closed: list[tarfile.TarInfo]) -> tarfile.TarInfo:
    """Return the header under which something goes first: a directory that takes nothing, as one that does.

    Its own header is put into ``closed`` and follows at the end of the archive. GNU tar run by root relies on
    root's powers instead, which root need not have.
    """
    if not header.isdir() or header.mode & 0o700 == 0o700:
        return header
    closed.append(header)
    return header.replace(mode=header.mode | 0o700, deep=False)


def _other(tar: tarfile.TarFile, root: Path, entry: Entry) -> tarfile.TarInfo:
    """Return the header of a directory or a link."""
    name = os.fsdecode(entry.name)
    header = _header(tar, root, name)
    if entry.kind == "l":
        same = header.issym() and os.fsencode(header.linkname) == entry.link
    else:
        same = header.isdir()
    if not same:
        raise _changed(root / name)
    return header


def _add_file(tar: tarfile.TarFile, root: Path, entry: Entry, stop: threading.Event | None) -> str:
    path = root / os.fsdecode(entry.name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise unreadable(entry.name, error, "source_path") from None
    with os.fdopen(descriptor, "rb") as stream:
        before = os.fstat(descriptor)
        header = _header(tar, root, os.fsdecode(entry.name))
        # A file whose other name is elsewhere is a plain file here.
        header.type, header.linkname, header.size = tarfile.REGTYPE, "", entry.size
        source = _Hashing(stream, stop)
        if before.st_size != entry.size:
            raise _changed(path)
        try:
            tar.addfile(header, source)
        except OSError as error:
            # tarfile says so in an OSError of its own, without a number, when a file is shorter than it was.
            if error.errno is not None:
                raise
            raise _changed(path) from None
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _changed(path)
    return source.sha256.hexdigest()


def _changed(path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path} changed while it was being packed. Send it again once nothing writes to it."
    )


def _check(member: tarfile.TarInfo, links: set[str]) -> None:
    """Refuse what we never pack, before tarfile's own checks."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    name = "/".join(parts)
    if member.name.startswith("/") or ".." in parts:
        raise _unsafe(name, "its path leads out of the directory")
    if not (member.isreg() or member.isdir() or member.issym()):
        raise _unsafe(name, "it is a hard link, a device or a pipe")
    if any("/".join(parts[:count]) in links for count in range(1, len(parts) + 1)):
        raise _unsafe(name, "it would be written through a link")
    if member.issym():
        if not stays_inside(os.fsencode(name), os.fsencode(member.linkname)):
            raise _unsafe(name, "the link leads out of the directory")
        links.add(name)


def _kept(member: tarfile.TarInfo, into: str) -> tarfile.TarInfo:
    """tarfile's ``data`` filter, which refuses unsafe paths, but with the permissions and the links' texts as
    they are.
    """
    checked = tarfile.data_filter(member, into)
    return checked.replace(mode=member.mode & _PERMISSIONS, linkname=member.linkname, deep=False)


def _unsafe(name: str, why: str) -> IntegrityError:
    return IntegrityError(f"The archive holds {name!r}: {why}. Nothing was kept of it.")


@contextlib.contextmanager
def _damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        text = str(error) or type(error).__name__
        raise IntegrityError(f"The archive is damaged or unsafe: {text}.") from None
