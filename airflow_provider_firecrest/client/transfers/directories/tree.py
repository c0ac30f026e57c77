"""A directory tree as one digest: what is in it, and what two equal trees have in common.

The digest is made of plain bytes that GNU find, sort and sha256sum produce as well as Python does, so that
both sides compute it with what they have (``tree_jobs`` holds the shell's half; the two must not drift
apart):

- the *layout*: one record per entry, ended by NUL and sorted as bytes: ``d//NAME`` for a directory,
  ``f/SIZE//NAME`` for a file, ``l//NAME//TARGET`` for a link. No name holds ``//``, so nothing is ambiguous.
- the *contents*: the SHA-256 of each file as a line of hex, in the order of the names.

``layout`` is the SHA-256 of the first, ``sha256`` that of both. Modes and times are not part of it. Knows
local directories; must not know archives or FirecREST.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ... import staging
from ...errors import FirecrestError, IntegrityError, InvalidRequestError


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a tree.

    :ivar name: path below the tree's top, as bytes: names need not be text.
    :ivar kind: ``d``, ``f`` or ``l``.
    :ivar size: bytes of a file, else 0.
    :ivar link: what a link points to, else empty.
    :ivar mtime_ns: when it was changed last; part of the stamp, not of the digest.
    :ivar mode: its permissions; the same.
    """

    name: bytes
    kind: str
    size: int = 0
    link: bytes = b""
    mtime_ns: int = 0
    mode: int = 0

    @property
    def record(self) -> bytes:
        """The entry in the layout."""
        if self.kind == "f":
            return b"f/%d//%b\0" % (self.size, self.name)
        if self.kind == "l":
            return b"l//%b//%b\0" % (self.name, self.link)
        return b"d//%b\0" % self.name


@dataclass(frozen=True)
class TreeDigest:
    """What a tree is.

    :ivar layout: digest of names, types, sizes and link targets.
    :ivar sha256: digest of these and of all contents; None when no content was read.
    :ivar files: number of regular files.
    :ivar bytes: their sizes together.
    """

    layout: str
    sha256: str | None
    files: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def scan(root: Path, *, field: str = "source_path") -> list[Entry]:
    """Return everything below a local directory, and refuse what cannot travel.

    :param root: the directory; a link to one counts as the directory.
    :param field: what the user calls it, for messages.
    :raises InvalidRequestError: something cannot be read, or is neither file, directory nor link; a file has
        two names in the tree; a link leads out of it.
    """
    entries: list[Entry] = []
    names: dict[tuple[int, int], bytes] = {}
    for name, status in _walk(os.fsencode(root), field):
        entry = _entry(os.fsencode(root), name, status, field)
        if entry.kind == "f" and status.st_nlink > 1:
            other = names.setdefault((status.st_dev, status.st_ino), name)
            if other != name:
                raise InvalidRequestError(
                    f"{field}: {_shown(other)} and {_shown(name)} are one file with two names (a hard link);"
                    " make a copy or a symbolic link of one of them."
                )
        entries.append(entry)
    return entries


def stamp(entries: Iterable[Entry]) -> str:
    """Return a text that differs once anything in a tree has been changed, as far as its files' sizes, times
    and permissions show it.

    :param entries: what is in it, in any order.
    """
    whole = hashlib.sha256()
    for line in sorted(b"%b%d %o\0" % (each.record, each.mtime_ns, each.mode) for each in entries):
        whole.update(line)
    return whole.hexdigest()


def digest(entries: Iterable[Entry], contents: Mapping[bytes, str] | None) -> TreeDigest:
    """Return the digest of a tree.

    :param entries: what is in it, in any order.
    :param contents: SHA-256 of each file by name, in hex; None leaves contents out.
    """
    files = sorted((each for each in entries if each.kind == "f"), key=lambda each: each.name)
    layout = hashlib.sha256()
    for record in sorted(each.record for each in entries):
        layout.update(record)
    whole = None
    if contents is not None:
        both = layout.copy()
        for each in files:
            both.update(contents[each.name].encode() + b"\n")
        whole = both.hexdigest()
    return TreeDigest(layout.hexdigest(), whole, len(files), sum(each.size for each in files))


def digest_of(
    root: Path, *, contents: bool = True, field: str = "target_path", stop: threading.Event | None = None
) -> TreeDigest:
    """Return the digest of a local directory.

    :param root: the directory.
    :param contents: read the files; without it only names, types, sizes and link targets count.
    :param field: what the user calls it, for messages.
    :param stop: set it to stop.
    :raises InvalidRequestError: as :func:`scan`.
    :raises IntegrityError: a file changed its size meanwhile.
    """
    entries = scan(root, field=field)
    sums: dict[bytes, str] | None = {} if contents else None
    for each in entries if sums is not None else ():
        if each.kind == "f" and sums is not None:
            sums[each.name] = _sha256(root, each, stop)
    return digest(entries, sums)


def in_numbers(found: TreeDigest, wanted: TreeDigest) -> str:
    """Say how a tree differs from the one that it should be, as far as numbers tell."""
    if (found.files, found.bytes) == (wanted.files, wanted.bytes):
        return f"as many files ({found.files}) with as many bytes ({found.bytes}), but not the same"
    return f"{found.files} files with {found.bytes} bytes instead of {wanted.files} with {wanted.bytes}"


def compare(ours: TreeDigest, theirs: TreeDigest, *, contents: bool, what: str) -> None:
    """Compare the two ends of a transfer.

    :param ours: what is here.
    :param theirs: what is on the system.
    :param contents: compare the files' contents, too.
    :param what: the transfer in words, for the error.

    :raises IntegrityError: they differ; says in what.
    """
    if ours.layout != theirs.layout:
        raise IntegrityError(
            f"{what}: names, types, sizes or link targets differ: {in_numbers(theirs, ours)}."
        )
    if contents and (ours.sha256 is None or ours.sha256 != theirs.sha256):
        raise IntegrityError(
            f"{what}: contents differ: tree digest {ours.sha256} here, {theirs.sha256} there."
        )


def stays_inside(name: bytes, target: bytes) -> bool:
    """Return whether a link's target, followed step by step, never leaves the tree.

    :param name: the link's path below the top.
    :param target: what it points to.
    """
    if target.startswith(b"/"):
        return False
    depth = name.count(b"/")
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
        elif part not in (b"", b"."):
            depth += 1
        if depth < 0:
            return False
    return True


def _walk(root: bytes, field: str, below: bytes = b"") -> Iterator[tuple[bytes, os.stat_result]]:
    waiting = [below]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(os.path.join(root, directory)) as found:  # noqa: PTH118 (bytes)
                here = sorted((each.name, each.stat(follow_symlinks=False)) for each in found)
        except OSError as error:
            raise unreadable(directory or root, error, field) from None
        for base, status in here:
            name = directory + b"/" + base if directory else base
            if stat.S_ISDIR(status.st_mode):
                waiting.append(name)
            yield name, status


def _entry(root: bytes, name: bytes, status: os.stat_result, field: str) -> Entry:
    when, mode = status.st_mtime_ns, stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, "d", mtime_ns=when, mode=mode)
    if stat.S_ISREG(status.st_mode):
        return Entry(name, "f", status.st_size, mtime_ns=when, mode=mode)
    if not stat.S_ISLNK(status.st_mode):
        raise InvalidRequestError(
            f"{field}: {_shown(name)} is neither a file, a directory nor a link (it is a device, a"
            f" socket or a"
            " pipe) and cannot be moved."
        )
    try:
        target = os.readlink(os.path.join(root, name))  # noqa: PTH115, PTH118 (bytes)
    except OSError as error:
        raise unreadable(name, error, field) from None
    if not stays_inside(name, target):
        raise InvalidRequestError(
            f"{field}: the link {_shown(name)} -> {_shown(target)} leads out of the directory; links are kept"
            " as they are, and this one would point to something else."
        )
    return Entry(name, "l", link=target, mtime_ns=when, mode=mode)


def _sha256(root: Path, entry: Entry, stop: threading.Event | None) -> str:
    path = root / os.fsdecode(entry.name)
    try:
        found = staging.sha256_of(path, cancelled=stop)
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(entry.name, error, "target_path") from None
    if size != entry.size:
        raise IntegrityError(f"{path} changed its size while it was being read.")
    return found


def unreadable(name: bytes, error: OSError, field: str) -> FirecrestError:
    """Return the error for something local that cannot be read."""
    return InvalidRequestError(f"{field}: {_shown(name)} cannot be read: {error.strerror}.")


def _shown(name: bytes) -> str:
    text = name.decode(errors="backslashreplace")
    return text if text.isprintable() else repr(text)
