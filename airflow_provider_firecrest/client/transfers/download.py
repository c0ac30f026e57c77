"""Downloading one file: plan, fetch, prove.

A small file is one request. A large one is put into the object store by a job of the server's and fetched
from there in
parallel ranges. The object can be shorter than the file although the job says success, so size and digest are
compared
with the file itself. The local file gets its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import limits, paths, staging
from ..errors import (
    ConflictError,
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TransferFailedError,
)
from ..models import Job, TransferJob
from ..sync_client import FirecrestClient
from . import proof
from .plan import (
    DownloadPlan,
    IfExists,
    TransferResult,
    check_if_exists,
    check_remote,
    local_target,
    replaced_by,
    staged_method,
)

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_DONE = "Multipart file upload successfully completed"


@dataclass(frozen=True)
class StagedDownload:
    """A download whose job puts the file into the object store. ``url`` is a credential: seal it before it
    leaves the process.
    """

    source: str
    target: str
    size: int
    system: str
    job_id: str | None = None
    output_log: str = ""
    error_log: str = ""
    task_id: str | None = None
    url: str | None = field(default=None, repr=False)
    mtime: int | None = None
    account: str | None = None
    verify_checksum: bool = True
    seconds: float = 0.0

    @classmethod
    def of_plan(cls, plan: DownloadPlan) -> StagedDownload:
        """Return a download of which nothing is done yet."""
        return cls(
            source=plan.source,
            target=str(plan.target),
            size=plan.size,
            system=plan.system,
            mtime=plan.mtime,
            account=plan.account,
            verify_checksum=plan.verify_checksum,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the URL among them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StagedDownload:
        """Rebuild it from :meth:`as_dict`."""
        return cls(**values)

    @property
    def transfer(self) -> TransferJob | None:
        """The server's job, or None on FirecREST v1."""
        if self.job_id is None:
            return None
        return TransferJob(self.job_id, self.system, "", self.output_log, self.error_log)


def plan_download(
    client: FirecrestClient,
    source: str,
    target: Path | str,
    *,
    system: str | None = None,
    account: str | None = None,
    if_exists: IfExists = "fail",
    verify_checksum: bool = True,
) -> DownloadPlan:
    """Check everything that can be checked before bytes move, and choose the way.

    :param client: the client.
    :param source: absolute path of a file on the system.
    :param target: local path of the file to be, or an existing directory (the source's name is added).
    :param system: system name; default: the connection's.
    :param account: Slurm account for the server's job; default: the connection's.
    :param if_exists: ``fail``; ``overwrite``; ``skip`` leaves a file of the same size and digest alone and
        fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only the size is compared.
    :returns: the plan.
    :raises InvalidRequestError: a path is wrong; the message names the field.
    :raises NotFoundError: there is no such file on the system.
    :raises ConflictError: the target exists.
    :endpoint: GET /status/systems, GET .../ops/stat
    """
    check_if_exists(if_exists)
    info = client.system_info(system=system)
    paths.check(source, client.api.rules.ops, field="source_path")
    check_remote(source, info, field="source_path")
    local = local_target(target, source)
    try:
        found = client.stat(source, system=info.name)
    except NotFoundError:
        raise NotFoundError(f"source_path: there is no file {source} on {info.name}.") from None
    if found.is_dir:
        raise InvalidRequestError(f"source_path: {source} on {info.name} is a directory; name a file.")
    if not found.is_file:
        # A pipe would keep the server waiting for its writer.
        raise InvalidRequestError(f"source_path: {source} on {info.name} is not a regular file.")
    direct = found.size <= limits.direct_download_limit(client.api.generation, info.max_ops_file_size)
    if not direct:
        staged_method(info)
        paths.check(source, client.api.rules.staged_download, field="source_path")
    plan = DownloadPlan(
        source=source,
        target=local,
        size=found.size,
        way="direct" if direct else "staged",
        system=info.name,
        mtime=found.mtime,
        account=account or client.account,
        verify_checksum=verify_checksum,
    )
    return _existing(client, plan, if_exists) if local.exists() or local.is_symlink() else plan


def download_direct(client: FirecrestClient, plan: DownloadPlan) -> TransferResult:
    """Fetch a small or an empty file in one request, and prove it before it gets its name.

    :param client: the client.
    :param plan: a plan whose way is ``direct``.
    :raises IntegrityError: what came differs from the file on the system; nothing was written.
    :endpoint: GET .../ops/download, GET .../ops/stat, GET .../ops/checksum
    """
    started = time.monotonic()
    content = client.download(plan.source, system=plan.system)
    sha256 = hashlib.sha256(content).hexdigest()
    _prove(
        client, plan.source, plan.system, len(content), sha256, plan.mtime, plan.account, plan.verify_checksum
    )
    with _written(plan.target) as temporary:
        temporary.write_bytes(content)
    return TransferResult(
        plan.source,
        str(plan.target),
        len(content),
        sha256,
        "direct",
        plan.system,
        None,
        time.monotonic() - started,
    )


def stage_download(client: FirecrestClient, plan: DownloadPlan) -> StagedDownload:
    """Have the server put a large file into the object store.

    :param client: the client.
    :param plan: a plan whose way is ``staged``.
    :returns: what :func:`finish_download` needs, the presigned URL among it.
    :endpoint: POST .../transfer/download
    """
    ticket = client.transfer_download(plan.source, account=plan.account, system=plan.system)
    staged = StagedDownload.of_plan(plan)
    if isinstance(ticket, str):
        # v1 hands out the URL at the end of its task; until then there is no secret to carry.
        return replace(staged, task_id=ticket)
    return replace(
        staged,
        job_id=ticket.transfer.job_id,
        output_log=ticket.transfer.output_log,
        error_log=ticket.transfer.error_log,
        url=ticket.url,
    )


def finish_download(
    client: FirecrestClient,
    staged: StagedDownload,
    job: Job | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
    mark: str | None = None,
    keep: bool = False,
    fresh: bool = False,
) -> TransferResult:
    """Fetch a staged file and prove it before it gets its name, once the server's job is over.

    :param client: the client.
    :param staged: what :func:`stage_download` returned.
    :param job: the server's job in its final state; None asks for it.
    :param progress: called with bytes received and bytes in all, about once a second.
    :param stop: set it to stop the fetching.
    :param mark: names the partial file, so that a later process with the same mark goes on with it; None: no
        other process does.
    :param keep: leave the partial file when the fetching fails in a way that may pass (another attempt
        follows).
    :param fresh: do not go on with what an earlier process left.
    :raises TransferFailedError: the job failed, with its logs; or the object store has the file no more.
    :raises IntegrityError: what came differs from the file on the system; nothing was left behind.
    :endpoint: GET .../ops/tail (logs), the presigned URL, GET .../ops/stat, GET .../ops/checksum
    """
    started = time.monotonic()
    _, said_yes = proof.end_of_transfer(client, staged, job, what=f"Staging {staged.source}", success=_DONE)
    url = staged.url or client.download_url(str(staged.task_id))
    target = Path(staged.target)
    with _written(target, mark, keep=keep, fresh=fresh) as temporary:
        got = _fetch(client, staged, url, temporary, progress, stop, resume=mark is not None)
        _prove(
            client,
            staged.source,
            staged.system,
            got.size,
            got.sha256,
            staged.mtime,
            staged.account,
            staged.verify_checksum or not said_yes,
        )
    if staged.task_id is not None:
        _quietly_invalidate(client, staged.task_id)
    return TransferResult(
        staged.source,
        staged.target,
        got.size,
        got.sha256,
        "staged",
        staged.system,
        staged.job_id,
        staged.seconds + time.monotonic() - started,
    )


@contextlib.contextmanager
def _written(
    target: Path, mark: str | None = None, *, keep: bool = False, fresh: bool = False
) -> Iterator[Path]:
    """`staging.atomic_target`, with the system's refusal as an error that names the field."""
    try:
        with (
            staging.atomic_target(target)
            if mark is None
            else staging.resumable_target(target, mark, keep=keep, fresh=fresh)
        ) as temporary:
            yield temporary
    except OSError as error:
        raise TransferFailedError(
            f"target_path: {target} cannot be written: {error.strerror or type(error).__name__}."
        ) from None


def _fetch(
    client: FirecrestClient,
    staged: StagedDownload,
    url: str,
    temporary: Path,
    progress: Callable[[int, int], None] | None,
    stop: threading.Event | None,
    *,
    resume: bool,
) -> staging.Staged:
    options = staging.StagingOptions(verify=client.settings.verify)
    try:
        return staging.get_object(
            url,
            temporary,
            size=staged.size,
            options=options,
            progress=progress,
            cancelled=stop,
            resume=resume,
        )
    except (NotFoundError, PermissionDeniedError) as error:
        # Not what these errors say of a path on the system: staged once more, the same file can be had.
        raise TransferFailedError(
            f"{staged.source} cannot be had from the object store: {error.message}",
            server_message=error.server_message,
        ) from None


def _quietly_invalidate(client: FirecrestClient, task_id: str) -> None:
    try:
        client.invalidate(task_id)
    except FirecrestError as error:
        logger.info("FirecREST was not told that the staged file is not needed any more: %s", error.message)


def _existing(client: FirecrestClient, plan: DownloadPlan, if_exists: IfExists) -> DownloadPlan:
    if if_exists == "fail":
        raise ConflictError(
            f"target_path: {plan.target} exists;"
            " if_exists='overwrite' replaces it, if_exists='skip' accepts the same file."
        )
    if if_exists == "overwrite":
        return replace(plan, target=replaced_by(plan.target, plan.source))
    if plan.target.is_file() and plan.target.stat().st_size == plan.size:
        ours = staging.sha256_of(plan.target)
        if ours == proof.remote_sha256(client, plan.source, plan.size, plan.system, plan.account):
            return replace(plan, way="skip", sha256=ours)
    raise ConflictError(
        f"target_path: {plan.target} exists and is another file than {plan.source} on {plan.system};"
        " if_exists='skip' accepts only the same one."
    )


def _prove(
    client: FirecrestClient,
    source: str,
    system: str,
    size: int,
    sha256: str,
    mtime: int | None,
    account: str | None,
    verify_checksum: bool,
) -> None:
    """Compare what came with the file as it is now, and that with the file as it was."""
    now = client.stat(source, system=system)
    if mtime is not None and now.mtime != mtime:
        raise IntegrityError(f"{source} on {system} was changed while it was being downloaded.")
    if now.size != size:
        raise IntegrityError(f"Received {size} bytes of {source}, which has {now.size} on {system}.")
    if not verify_checksum:
        return
    theirs = proof.remote_sha256(client, source, size, system, account)
    if theirs != sha256:
        raise IntegrityError(f"Received {source} with SHA-256 {sha256}; on {system} it is {theirs}.")
