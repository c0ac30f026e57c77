"""What a directory on its way is, at any moment: plain values, in which a later process finds all it needs.

Knows no step. Holds no credential but a download's URL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..attempts import Attempt
from ..errors import InvalidRequestError
from ..leftovers import Leftover
from ..staging import may_pass
from . import tree_jobs
from .archive import COMPRESSIONS
from .plan import IfExists, Way, check_if_exists
from .resume import Save, UploadState
from .tree import TreeDigest

Phase = Literal["comparing", "packing", "sending", "staging", "unpacking", "publishing", "done"]
"""What is being waited for: a job that measures the tree on the system (``comparing``), one that packs it,
the server moving the archive to or from the object store (``staging``), a job that unpacks it. Without a
job's id, that job is about to be submitted. ``sending``: the archive is packed here and on its way.
``publishing``: the tree is here and right, and about to get its name. ``done``: it has it; what the transfer
has on the system is about to be removed."""

TIME_LIMIT = "01:00:00"
"""Of a job that packs or unpacks: an hour reads and writes a terabyte."""


@dataclass(frozen=True)
class DirectoryOptions:
    """How a directory is moved.

    :ivar if_exists: ``fail``; ``overwrite`` replaces what is there as a whole; ``skip`` accepts the same
        tree.
    :ivar verify_checksum: compare the files' SHA-256; without it names, types, sizes and link targets.
    :ivar compression: of the archive: ``none`` or ``gzip``.
    :ivar account: Slurm account of the jobs.
    :ivar partition: partition of the jobs that pack and unpack; None leaves it to Slurm.
    :ivar time_limit: of these jobs.
    """

    if_exists: IfExists = "fail"
    verify_checksum: bool = True
    compression: str = "none"
    account: str | None = None
    partition: str | None = None
    time_limit: str = TIME_LIMIT

    def check(self) -> None:
        """Refuse what nobody understands.

        :raises InvalidRequestError: names the field.
        """
        check_if_exists(self.if_exists)
        tree_jobs.check_time_limit(self.time_limit)
        if self.compression not in COMPRESSIONS:
            raise InvalidRequestError(
                f"compression: {self.compression!r} is not one of {', '.join(COMPRESSIONS)}."
            )


@dataclass(frozen=True)
class Again:
    """What lets a later process go on where this one was killed; by default none does.

    :ivar place: names the temporary directories, here and on the system, so that each process with the same
        text finds those of the others; None: nobody looks for them.
    :ivar attempt: whose mark the names of the jobs carry.
    :ivar keep: leave everything as it is when a step fails in a way that may pass: another process follows.
    :ivar waits_out: whether this or a later process will soon repeat the step that failed so.
    :ivar sweep: an earlier process may have left something that nobody wrote down.
    :ivar sending: how far an earlier process got with the archive of an upload.
    :ivar save_sending: called with that whenever it changes.
    """

    place: str | None = None
    attempt: Attempt | None = None
    keep: bool = False
    waits_out: Callable[[BaseException], bool] = lambda error: False
    sweep: bool = False
    sending: UploadState | None = field(default=None, repr=False)
    save_sending: Save | None = None

    def leaves(self, error: BaseException) -> bool:
        """Return whether everything stays as it is after a failure, for whoever goes on with it."""
        return self.waits_out(error) or (self.keep and may_pass(error))


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes, who can stop it, and who comes back.

    :ivar progress: called with bytes moved and bytes in all, about once a second.
    :ivar on_change: called with the transfer before each thing that leaves something to go on with, to cancel
        or to remove, and after it.
    :ivar stop: set it to stop the part that is done here.
    :ivar again: for a later process.
    """

    progress: Callable[[int, int], None] | None = None
    on_change: Callable[[DirectoryTransfer], None] = lambda transfer: None
    stop: threading.Event = field(default_factory=threading.Event)
    again: Again = field(default_factory=Again)


@dataclass(frozen=True)
class DirectoryTransfer:
    """A directory on its way.

    :ivar direction: ``upload`` or ``download``.
    :ivar source: full path of the source, here or there.
    :ivar target: full path of the target, there or here.
    :ivar work: the transfer's own directory on the system.
    :ivar phase: what is being waited for, or done; None: nothing yet.
    :ivar job_id: the job that is waited for, or None.
    :ivar job_name: the name of that job, when it is one of ours.
    :ivar task_id: FirecREST v1's task that is waited for, or None.
    :ivar source_stamp: tells whether the source is unchanged, as far as that can be seen without reading it.
    :ivar packed: size and time of an upload's archive here, once it is complete.
    :ivar tree: what the tree is at its source, once that is known.
    :ivar staged: the archive's own transfer. A download's holds a URL, which is a credential.
    :ivar job_ids: all jobs so far.
    """

    direction: Literal["upload", "download"]
    source: str
    target: str
    system: str
    options: DirectoryOptions
    work: str = ""
    phase: Phase | None = None
    way: Way = "direct"
    job_id: str | None = None
    job_name: str = ""
    task_id: str | None = None
    submitted_at: float = 0.0
    replaces: bool = False
    source_stamp: str = ""
    packed: tuple[int, int] | None = None
    tree: TreeDigest | None = None
    staged: dict[str, Any] | None = field(default=None, repr=False)
    job_ids: tuple[str, ...] = ()
    started: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, a download's URL among them."""
        packed = list(self.packed) if self.packed else None
        return {**asdict(self), "job_ids": list(self.job_ids), "packed": packed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DirectoryTransfer:
        """Rebuild it from :meth:`as_dict`."""
        found = dict(values)
        found["options"] = DirectoryOptions(**found["options"])
        found["tree"] = TreeDigest(**found["tree"]) if found.get("tree") else None
        found["job_ids"] = tuple(found["job_ids"])
        found["packed"] = tuple(found["packed"]) if found.get("packed") else None
        return cls(**found)

    def waits_for(
        self,
        phase: Phase,
        *,
        job_id: str | None = None,
        job_name: str = "",
        task_id: str | None = None,
        **changes: Any,
    ) -> DirectoryTransfer:
        """Return the transfer as it is from now on, waiting for a job or a task."""
        return replace(
            self,
            phase=phase,
            job_id=job_id,
            job_name=job_name,
            task_id=task_id,
            submitted_at=time.time(),
            job_ids=(*self.job_ids, *([job_id] if job_id else [])),
            **changes,
        )

    @property
    def leftover(self) -> Leftover | None:
        """What has to be removed on the system when the transfer is given up, or None."""
        if not self.work:
            return None
        replaced = self.target if self.replaces and self.direction == "upload" else None
        return Leftover(self.work, self.system, replaced, self.options.account)

    @property
    def archive(self) -> str:
        """Full path of the archive on the system."""
        return tree_jobs.path_in(self.work, self.archive_name)

    @property
    def archive_name(self) -> str:
        return "tree.tar.gz" if self.options.compression == "gzip" else "tree.tar"


@dataclass(frozen=True)
class DirectoryResult:
    """A proven transfer of a directory.

    :ivar files: number of regular files.
    :ivar bytes: their sizes together.
    :ivar tree_sha256: digest of names, types, sizes, link targets and contents, equal at both ends; with
        ``verify_checksum=False`` that of an upload's source, or None.
    :ivar way: how the archive went: ``direct``, ``staged``; ``skip`` when the same tree was there.
    :ivar job_ids: all jobs it took on the system.
    :ivar seconds: from start to end, waiting included.
    """

    source: str
    target: str
    files: int
    bytes: int
    tree_sha256: str | None
    way: Way
    system: str
    job_ids: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "job_ids": list(self.job_ids)}


Next = DirectoryTransfer | DirectoryResult


def finished(transfer: DirectoryTransfer, tree: TreeDigest, way: Way) -> DirectoryResult:
    """Return the result of a transfer that is over."""
    return DirectoryResult(
        transfer.source,
        transfer.target,
        tree.files,
        tree.bytes,
        tree.sha256,
        way,
        transfer.system,
        transfer.job_ids,
        round(time.time() - transfer.started, 3),
    )
