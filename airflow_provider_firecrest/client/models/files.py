"""Files on the system, as ``ls`` and ``stat`` tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .reading import integer, text


@dataclass(frozen=True)
class RemoteFile:
    """One line of `ls -l`.

    :ivar name: bare name; relative path in a recursive listing; full path when a file itself was listed.
    :ivar file_type: ``-`` file, ``d`` directory, ``l`` link, and so on.
    """

    name: str
    file_type: str
    size: int | None = None
    user: str | None = None
    group: str | None = None
    permissions: str | None = None
    last_modified: str | None = None
    link_target: str | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> RemoteFile:
        return cls(
            name=str(row.get("name", "")),
            file_type=str(row.get("type", "")),
            size=integer(row.get("size")),
            user=text(row.get("user")),
            group=text(row.get("group")),
            permissions=text(row.get("permissions")),
            last_modified=text(row.get("lastModified")),
            link_target=text(row.get("linkTarget")),
        )


@dataclass(frozen=True)
class FileStat:
    """`stat` of a path: ``mode`` as in ``st_mode``, size in bytes, times in seconds since the epoch."""

    mode: int
    size: int
    uid: int | None = None
    gid: int | None = None
    nlink: int | None = None
    inode: int | None = None
    device: int | None = None
    atime: int | None = None
    ctime: int | None = None
    mtime: int | None = None

    @property
    def is_dir(self) -> bool:
        return self.mode & 0o170000 == 0o040000

    @property
    def is_file(self) -> bool:
        return self.mode & 0o170000 == 0o100000

    @property
    def is_link(self) -> bool:
        return self.mode & 0o170000 == 0o120000

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> FileStat:
        return cls(
            mode=int(row["mode"]),
            size=int(row["size"]),
            uid=integer(row.get("uid")),
            gid=integer(row.get("gid")),
            nlink=integer(row.get("nlink")),
            inode=integer(row.get("ino")),
            device=integer(row.get("dev")),
            atime=integer(row.get("atime")),
            ctime=integer(row.get("ctime")),
            mtime=integer(row.get("mtime")),
        )
