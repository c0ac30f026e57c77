"""What a transfer is going to do, and what it did: plain values, and the checks both directions share."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from .. import paths
from ..errors import InvalidRequestError, NotFoundError
from ..models import System
from ..sync_client import FirecrestClient

Way = Literal["direct", "staged", "skip"]
IfExists = Literal["fail", "overwrite", "skip"]

IF_EXISTS: tuple[IfExists, ...] = ("fail", "overwrite", "skip")


@dataclass(frozen=True)
class UploadPlan:
    """An upload that passed all checks.

    :ivar source: the local file.
    :ivar target: full path of the file to be on the system.
    :ivar size: bytes.
    :ivar way: ``direct`` (one request), ``staged`` (object store and a job of the server's) or ``skip`` (the
        same file is there).
    :ivar replaces: whether something is at the target now; if not, what a failed upload leaves there is ours
        to remove.
    :ivar part: the path that is written first and renamed when it is proven; None: the target itself is.
    :ivar if_exists: what may be at the target at the moment of that renaming: with ``overwrite`` a file, else
        nothing.
    :ivar alone: whether the target is in a directory that nobody else uses.
    """

    source: Path
    target: str
    size: int
    way: Way
    system: str
    account: str | None = None
    verify_checksum: bool = True
    sha256: str | None = None
    replaces: bool = False
    part: str | None = None
    if_exists: IfExists = "fail"
    alone: bool = False

    @property
    def written(self) -> str:
        """The path that the server writes."""
        return self.part or self.target


@dataclass(frozen=True)
class DownloadPlan:
    """A download that passed all checks.

    :ivar source: path of the file on the system.
    :ivar target: full local path of the file to be.
    :ivar size: bytes, as the server says.
    :ivar mtime: the source's, to notice a change on the way.
    :ivar way: ``direct``, ``staged`` or ``skip``.
    """

    source: str
    target: Path
    size: int
    way: Way
    system: str
    mtime: int | None = None
    account: str | None = None
    verify_checksum: bool = True
    sha256: str | None = None


@dataclass(frozen=True)
class TransferResult:
    """A proven transfer.

    :ivar sha256: digest of the bytes, equal on both sides; with ``verify_checksum=False`` that of our side
        alone.
    :ivar job_id: the server's job behind a staged transfer, else None; of an upload in steps, the job of ours
        that gave the file its name.
    :ivar seconds: duration of the part done here; of an upload in steps, from start to end.
    """

    source: str
    target: str
    size: int
    sha256: str | None
    way: Way
    system: str
    job_id: str | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def check_if_exists(value: str) -> None:
    """Refuse an unknown policy."""
    if value not in IF_EXISTS:
        raise InvalidRequestError(f"if_exists: {value!r} is not one of {', '.join(IF_EXISTS)}.")


def check_remote(path: str, system: System, *, field: str) -> None:
    """Refuse a path outside the system's file systems: transfer jobs do not check that themselves.

    :param path: absolute path.
    :param system: the system, with its file systems.
    :param field: what the user calls the path.
    """
    mounts = [fs.path.rstrip("/") for fs in system.file_systems]
    if mounts and not any(path == mount or path.startswith(mount + "/") for mount in mounts):
        known = ", ".join(mounts)
        raise InvalidRequestError(
            f"{field}: {path!r} is outside the file systems of {system.name} ({known})."
        )
    if ".." in path.split("/"):
        raise InvalidRequestError(f"{field}: {path!r} holds '..'; write the path without it.")


def check_no_root(client: FirecrestClient, path: str, system: System, *, field: str) -> None:
    """Refuse to remove, move or replace a whole file system, or all that the user has on one.

    A template that leaves the last part of a path empty asks for it, and nobody means it.

    :param client: tells who the user is, where the path lies directly in a file system.
    :param path: absolute path.
    :param system: the system, with its file systems.
    :param field: what the user calls the path.
    :endpoint: GET /status/{system}/userinfo
    """
    whole = posixpath.normpath(path)
    mounts = {posixpath.normpath(fs.path) for fs in system.file_systems}
    if whole in {*mounts, "/"}:
        raise InvalidRequestError(f"{field}: {path} is a whole file system; name a directory in it.")
    mount, name = posixpath.split(whole)
    if mount in mounts and name == client.userinfo(system=system.name).name:
        raise InvalidRequestError(
            f"{field}: {path} is all that you have on {mount}; name something in it. (Is a part of the path"
            " empty?)"
        )


@contextmanager
def needing(source: Path) -> Iterator[None]:
    """Say so in the user's words when the block finds that the source is not there any more.

    :raises InvalidRequestError: it is not.
    """
    try:
        yield
    except FileNotFoundError:
        if source.exists():
            raise
        raise InvalidRequestError(
            f"source_path: {source} is not there any more; it was removed while it was being uploaded."
        ) from None


def local_path(path: str | Path, *, field: str) -> Path:
    """Return a local path in full: a task may go on in a process that works in another directory.

    :param field: what the user calls the path.
    :raises InvalidRequestError: it is empty, which would be the directory that the process works in.
    """
    if not str(path).strip():
        raise InvalidRequestError(f"{field}: empty.")
    return Path(path).absolute()


def check_local_source(source: Path) -> int:
    """Return the size of a local file that can be read.

    :raises InvalidRequestError: it is missing, no regular file, or not readable.
    """
    if source.is_dir():
        raise InvalidRequestError(f"source_path: {source} is a directory; name a file.")
    if not source.exists():
        raise InvalidRequestError(f"source_path: there is no local file {source}.")
    # Before it is opened: to open a pipe would be to wait for its writer.
    if not source.is_file():
        raise InvalidRequestError(f"source_path: {source} is not a regular file.")
    try:
        with source.open("rb") as stream:
            stream.peek(1)
    except OSError as error:
        raise InvalidRequestError(f"source_path: {source} cannot be read: {error.strerror}.") from None
    return source.stat().st_size


def local_target(target: str | Path, source: str) -> Path:
    """Return the full local path of a download: a directory gets the source's name.

    :raises InvalidRequestError: it is empty, or the directory does not exist.
    """
    path = local_path(target, field="target_path")
    if path.is_dir() or str(target).endswith("/"):
        path = path / source.rstrip("/").rsplit("/", 1)[-1]
    if path.is_dir():
        raise InvalidRequestError(f"target_path: {path} is a directory.")
    if not path.parent.is_dir():
        raise InvalidRequestError(f"target_path: there is no local directory {path.parent}.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InvalidRequestError(f"target_path: nothing can be written into {path.parent}.")
    return path


def replaced_by(target: Path, source: str) -> Path:
    """Return the file that a download over an existing target replaces: of a link, what it points to.

    :raises InvalidRequestError: it is no regular file (a rename would put one in a device's or a pipe's
        place), or cannot be written.
    """
    if target.is_symlink():
        target = local_target(os.path.realpath(target), source)
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise InvalidRequestError(f"target_path: {target} is not a regular file; it is not replaced.")
    return target


def staged_method(system: System) -> None:
    """Refuse staging where the site has no object store."""
    if system.transfer_method != "s3":
        method = system.transfer_method or "none"
        raise InvalidRequestError(
            f"{system.name} offers no object store for large files (its transfer method is {method});"
            f" files of up to {system.max_ops_file_size} bytes can be moved directly."
        )


def missing_directory(path: str, system: str) -> NotFoundError:
    """Return the error for an upload into nowhere."""
    return NotFoundError(f"target_path: there is no directory {path} on {system}.")


AnyPlan = TypeVar("AnyPlan", UploadPlan, DownloadPlan)


def staged_instead(client: FirecrestClient, plan: AnyPlan) -> AnyPlan:
    """Return the plan with the staged way, for when the server carries less directly than it says (413).

    :param client: the client.
    :param plan: a plan whose way is ``direct``.
    :raises InvalidRequestError: the staged way cannot carry this file or its name.
    """
    staged_method(client.system_info(system=plan.system))
    if isinstance(plan, UploadPlan):
        paths.check(plan.target, client.api.rules.staged_upload, field="target_path")
    else:
        paths.check(plan.source, client.api.rules.staged_download, field="source_path")
    return replace(plan, way="staged")
