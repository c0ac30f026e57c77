"""What a file operation on the system is, how it goes on, and what came of it: plain values.

Knows no calls. Everything here survives JSON, since an operator carries it through a deferral.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..models import TransferJob

Kind = Literal["mv", "cp", "rsync", "rm", "compress", "extract"]
Way = Literal["quick", "job", "script", "skip"]
PathType = Literal["file", "directory", "link", "other"]

_DOING = {
    "mv": "Moving",
    "cp": "Copying",
    "rsync": "Synchronising",
    "rm": "Removing",
    "compress": "Archiving",
    "extract": "Unpacking",
}


@dataclass(frozen=True)
class Look:
    """What stood at a path at one moment; of a link, the link itself.

    :ivar size: bytes.
    :ivar sha256: digest of a file, where it was needed and cheap.
    :ivar tree: digest over names, types and sizes of a directory's entries, where it was needed.
    """

    path_type: PathType
    size: int
    mtime: int | None = None
    ctime: int | None = None
    inode: int | None = None
    device: int | None = None
    sha256: str | None = None
    tree: str | None = None

    @property
    def is_dir(self) -> bool:
        return self.path_type == "directory"

    @property
    def is_file(self) -> bool:
        return self.path_type == "file"

    def is_same_as(self, other: Look) -> bool:
        """Return whether nothing has been written here since ``other``."""
        return (self.inode, self.size, self.mtime, self.ctime) == (
            other.inode,
            other.size,
            other.mtime,
            other.ctime,
        )


@dataclass(frozen=True)
class FileOperation:
    """A file operation that passed all checks.

    :ivar source: what is moved, copied, removed, archived or unpacked.
    :ivar target: where to, as the caller said it; empty for ``rm``.
    :ivar result: full path that the outcome will have; ``source`` itself for ``rm``.
    :ivar way: ``quick`` (a direct call), ``job`` (the server's own job), ``script`` (a batch job of ours) or
        ``skip`` (nothing to do).
    :ivar after_job_id: job that must succeed first and was not over when this was planned.
    :ivar source_before: what stood at ``source``; None when it may still be made by ``after_job_id``.
    :ivar result_before: what stood at ``result``, or None.
    :ivar into_directory: ``target`` was a directory.
    """

    kind: Kind
    source: str
    target: str
    result: str
    system: str
    way: Way
    name: str
    account: str | None = None
    time_limit: str | None = None
    partition: str | None = None
    after_job_id: str | None = None
    verify_checksum: bool = True
    compression: str = "gzip"
    dereference: bool = False
    missing_ok: bool = False
    source_before: Look | None = None
    result_before: Look | None = None
    into_directory: bool = False

    def __str__(self) -> str:
        if self.kind == "rm":
            return f"{_DOING[self.kind]} {self.source} on {self.system}"
        return f"{_DOING[self.kind]} {self.source} to {self.result} on {self.system}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileOperation:
        """Rebuild it from ``dataclasses.asdict``."""
        looks = {
            key: None if values[key] is None else Look(**values[key])
            for key in ("source_before", "result_before")
        }
        return cls(**{**values, **looks})


@dataclass(frozen=True)
class Intent:
    """A job that is about to be submitted, and what it will be recognised by should its id get lost.

    :ivar name: the job's name in Slurm.
    :ivar before: ids of the jobs of that name that were there before; None when they could not be listed.
    :ivar output_log: path of its log where that is ours to choose, else empty.
    :ivar asked_at: seconds since the epoch.
    """

    operation: FileOperation
    name: str
    before: tuple[str, ...] | None
    output_log: str
    asked_at: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        # A list: Airflow's task state store takes no tuple for JSON, and refuses all of it.
        return {**asdict(self), "before": None if self.before is None else list(self.before)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Intent:
        """Rebuild it from :meth:`as_dict`."""
        before = values["before"]
        known = None if before is None else tuple(before)
        return cls(**{**values, "before": known, "operation": FileOperation.from_dict(values["operation"])})


@dataclass(frozen=True)
class StartedOperation:
    """A file operation that a job on the system is doing.

    :ivar started_at: seconds since the epoch.
    """

    operation: FileOperation
    job_id: str
    output_log: str
    error_log: str
    started_at: float

    @property
    def transfer(self) -> TransferJob:
        """The job, for errors."""
        return TransferJob(self.job_id, self.operation.system, "", self.output_log, self.error_log)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StartedOperation:
        """Rebuild it from :meth:`as_dict`."""
        return cls(**{**values, "operation": FileOperation.from_dict(values["operation"])})


@dataclass(frozen=True)
class FileOperationResult:
    """A proven file operation.

    :ivar target: full path of the outcome; None for ``rm``.
    :ivar way: how it was done.
    :ivar job_id: the job that did it, or None.
    :ivar proof: what the file system showed, in words.
    :ivar seconds: from the start to the proof, waiting included.
    """

    operation: Kind
    source: str
    target: str | None
    system: str
    way: Way
    job_id: str | None
    proof: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def of(
        cls, operation: FileOperation, proof: str, *, job_id: str | None = None, seconds: float = 0.0
    ) -> FileOperationResult:
        """Return the result of a proven operation."""
        return cls(
            operation=operation.kind,
            source=operation.source,
            target=None if operation.kind == "rm" else operation.result,
            system=operation.system,
            way=operation.way,
            job_id=job_id,
            proof=proof,
            seconds=round(seconds, 3),
        )
