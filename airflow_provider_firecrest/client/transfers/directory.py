"""Moving a whole directory each way, with proof: one archive, and a digest of the tree at both ends.

The steps are apart, so that an operator can wait for the jobs in between without holding a worker:
``start_upload`` or ``start_download`` goes as far as it can and returns a :class:`DirectoryTransfer` that
says what to wait for (plain JSON, but for a download's URL); ``go_on`` takes it on from there, until there
is a
:class:`DirectoryResult`. What is on the system meanwhile stands in one directory of the transfer's own
(``workdir``); the target gets its name only when the whole tree is there and is the right one.

Knows the order of the steps and what both directions share. The steps stand in ``directory_upload`` and
``directory_download``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import FirecrestError, IntegrityError, InvalidRequestError, TransferFailedError
from ..leftovers import Leftover, remove_leftover
from ..models import Job
from ..sync_client import FirecrestClient
from . import tree_jobs
from .archive import COMPRESSIONS
from .plan import IfExists, Way, check_if_exists
from .tree import TreeDigest

logger = logging.getLogger("airflow_provider_firecrest.transfers")

Phase = Literal["comparing", "packing", "staging", "unpacking"]
"""What is being waited for: a job that measures the tree on the system, one that packs it, the server moving
the archive to or from the object store, a job that unpacks it."""

_TASK_TIMEOUT = 6 * 3600.0
"""Seconds for FirecREST v1 to move an archive to or from its object store: its tasks can hang for ever."""

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
class Watch:
    """Who is told how it goes, and who can stop it.

    :ivar progress: called with bytes moved and bytes in all, about once a second.
    :ivar on_change: called with the transfer whenever there is something new to cancel or to remove.
    :ivar stop: set it to stop the part that is done here.
    """

    progress: Callable[[int, int], None] | None = None
    on_change: Callable[[DirectoryTransfer], None] = lambda transfer: None
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class DirectoryTransfer:
    """A directory on its way.

    :ivar direction: ``upload`` or ``download``.
    :ivar source: full path of the source, here or there.
    :ivar target: full path of the target, there or here.
    :ivar work: the transfer's own directory on the system.
    :ivar phase: what is being waited for.
    :ivar job_id: the job that is waited for, or None.
    :ivar task_id: FirecREST v1's task that is waited for, or None.
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
    task_id: str | None = None
    submitted_at: float = 0.0
    replaces: bool = False
    tree: TreeDigest | None = None
    staged: dict[str, Any] | None = field(default=None, repr=False)
    job_ids: tuple[str, ...] = ()
    started: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, a download's URL among them."""
        return {**asdict(self), "job_ids": list(self.job_ids)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DirectoryTransfer:
        """Rebuild it from :meth:`as_dict`."""
        found = dict(values)
        found["options"] = DirectoryOptions(**found["options"])
        found["tree"] = TreeDigest(**found["tree"]) if found.get("tree") else None
        found["job_ids"] = tuple(found["job_ids"])
        return cls(**found)

    def waits_for(
        self, phase: Phase, *, job_id: str | None = None, task_id: str | None = None, **changes: Any
    ) -> DirectoryTransfer:
        """Return the transfer as it is from now on, waiting for a job or a task."""
        return replace(
            self,
            phase=phase,
            job_id=job_id,
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


def start_upload(
    client: FirecrestClient,
    source: Path | str,
    target: str,
    *,
    system: str | None = None,
    options: DirectoryOptions | None = None,
    watch: Watch | None = None,
) -> Next:
    """Begin to upload a directory: check, pack, send. Returns what to wait for.

    :param client: the client.
    :param source: a local directory.
    :param target: absolute path of the directory to be; with a slash at its end, the directory that gets the
        source under its name.
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :returns: what to wait for before :func:`go_on`.
    :raises InvalidRequestError: a path or something in the tree cannot be moved; the message names it.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir; the archive goes as every file does; POST .../jobs
    """
    from . import directory_upload

    return directory_upload.start(
        client, Path(source), target, system, options or DirectoryOptions(), watch or Watch()
    )


def start_download(
    client: FirecrestClient,
    source: str,
    target: Path | str,
    *,
    system: str | None = None,
    options: DirectoryOptions | None = None,
    watch: Watch | None = None,
) -> Next:
    """Begin to download a directory: check, and have it packed. Returns what to wait for.

    :param client: the client.
    :param source: absolute path of a directory on the system; its parent must be writable.
    :param target: local path of the directory to be; with a slash at its end, the directory that gets the
        source under its name.
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :returns: what to wait for before :func:`go_on`.
    :raises InvalidRequestError: a path cannot be moved; the message names it.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir, POST /compute/{system}/jobs
    """
    from . import directory_download

    return directory_download.start(
        client, source, target, system, options or DirectoryOptions(), watch or Watch()
    )


def go_on(
    client: FirecrestClient,
    transfer: DirectoryTransfer,
    job: Job | None = None,
    *,
    watch: Watch | None = None,
) -> Next:
    """Take a transfer on, once what it waited for is over.

    :param client: the client.
    :param transfer: what the step before returned.
    :param job: the job it waited for, in its final state; None asks for it.
    :param watch: who is told.
    :returns: what to wait for next, or the result.
    :raises TransferFailedError: a job or a task failed; the message holds the evidence. Nothing is left
        behind.
    :raises IntegrityError: the trees differ.
    """
    from . import directory_download, directory_upload

    watch = watch or Watch()
    if job is None and transfer.job_id is not None:
        job = client.get_job(transfer.job_id, system=transfer.system)
    step = directory_upload.go_on if transfer.direction == "upload" else directory_download.go_on
    with giving_up(client, transfer):
        return step(client, transfer, job, watch)


def fetch_again(client: FirecrestClient, transfer: DirectoryTransfer, *, watch: Watch | None = None) -> Next:
    """Have a packed archive put into the object store once more: the URL of the first time was lost.

    :param client: the client.
    :param transfer: a download in the phase ``staging``.
    :param watch: who is told.
    :returns: what to wait for next, or the result.
    """
    from . import directory_download

    with giving_up(client, transfer):
        return directory_download.fetch(client, replace(transfer, staged=None), watch or Watch())


def run(
    client: FirecrestClient,
    step: Next,
    *,
    poll_interval: float = 5.0,
    timeout: float | None = None,
    watch: Watch | None = None,
) -> DirectoryResult:
    """Wait here for everything that is left of a transfer.

    :param client: the client.
    :param step: what :func:`start_upload`, :func:`start_download` or :func:`go_on` returned.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds for each wait; None waits as long as it takes.
    :param watch: who is told.
    :returns: the result.
    """
    while isinstance(step, DirectoryTransfer):
        with giving_up(client, step):
            job = _wait(client, step, poll_interval, timeout)
        step = go_on(client, step, job, watch=watch)
    return step


def abandon(client: FirecrestClient, transfer: DirectoryTransfer) -> bool:
    """Remove what a transfer has on the system; its job must be over or cancelled. Never raises.

    :param client: the client.
    :param transfer: the transfer.
    :returns: whether nothing is left.
    """
    left = transfer.leftover
    return left is None or client.run(remove_leftover(client.api, left))


@contextmanager
def giving_up(client: FirecrestClient, transfer: DirectoryTransfer) -> Iterator[None]:
    """When the block raises, leave nothing of the transfer on the system."""
    try:
        yield
    except BaseException:
        logger.info("Removing what the transfer has on %s.", transfer.system)
        abandon(client, transfer)
        raise


def tree_of(report: Mapping[str, str]) -> TreeDigest:
    """Return what a job measured.

    :raises TransferFailedError: its report is not complete.
    """
    try:
        return TreeDigest(
            report["layout"], report.get("tree"), int(report["files"]), int(float(report["bytes"]))
        )
    except (KeyError, ValueError):
        raise TransferFailedError("The report of the job cannot be read.") from None


def compare(ours: TreeDigest, theirs: TreeDigest, *, contents: bool, what: str) -> None:
    """Compare the two ends.

    :raises IntegrityError: they differ; says in what.
    """
    if ours.layout != theirs.layout:
        raise IntegrityError(
            f"{what}: names, types, sizes or link targets differ: {ours.files} files with {ours.bytes} bytes"
            f" here, {theirs.files} files with {theirs.bytes} bytes there."
        )
    if contents and (ours.sha256 is None or ours.sha256 != theirs.sha256):
        raise IntegrityError(
            f"{what}: contents differ: tree digest {ours.sha256} here, {theirs.sha256} there."
        )


def _wait(
    client: FirecrestClient, transfer: DirectoryTransfer, poll_interval: float, timeout: float | None
) -> Job | None:
    if transfer.job_id is not None:
        try:
            return client.wait_for_job(
                transfer.job_id, poll_interval=poll_interval, timeout=timeout, system=transfer.system
            )
        except BaseException:
            _quietly_cancel(client, transfer)
            raise
    deadline = time.monotonic() + (timeout or _TASK_TIMEOUT)
    while not client.task(str(transfer.task_id)).is_final:
        if time.monotonic() >= deadline:
            raise TransferFailedError(f"FirecREST's task {transfer.task_id} did not end in time.")
        time.sleep(poll_interval)
    return None


def _quietly_cancel(client: FirecrestClient, transfer: DirectoryTransfer) -> None:
    try:
        client.cancel_job(str(transfer.job_id), system=transfer.system)
        client.wait_for_job(str(transfer.job_id), poll_interval=1.0, timeout=30.0, system=transfer.system)
    except FirecrestError as error:
        logger.warning("Job %s: %s", transfer.job_id, error.message)
