"""Proof that a file on the system is the file we mean: size by `stat`, SHA-256 by whatever way can carry the
name and the size.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from .. import limits, paths, states
from ..errors import (
    CommandTimeoutError,
    FirecrestError,
    IntegrityError,
    NotFoundError,
    Retry,
    TransferFailedError,
    UnavailableError,
)
from ..models import FileStat, Job, Task, TransferJob
from ..sync_client import FirecrestClient
from .checksum_job import sha256_by_job

logger = logging.getLogger("airflow_provider_firecrest.transfers")

APPEAR_WITHIN = 15.0
"""Seconds: a parallel file system may show another node's file a little later."""

T = TypeVar("T")


def stat_when_there(client: FirecrestClient, path: str, system: str) -> FileStat:
    """Return the stat of a file that ought to be there, giving the file system a moment to show it.

    :raises NotFoundError: it is not there.
    """
    return _when_there(lambda: client.stat(path, system=system))


def _when_there(look: Callable[[], T]) -> T:
    deadline = time.monotonic() + APPEAR_WITHIN
    while True:
        try:
            return look()
        except NotFoundError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(min(1.0, APPEAR_WITHIN))


def remote_sha256(
    client: FirecrestClient, path: str, size: int, system: str, account: str | None = None
) -> str:
    """Return the SHA-256 of a file on the system, by the cheapest way that can do it.

    :param client: the client.
    :param path: absolute path.
    :param size: its size in bytes.
    :param system: system name.
    :param account: Slurm account, should it take a job.
    :returns: hex digest.
    :endpoint: GET .../ops/checksum; where the name has a blank, GET .../ops/download; where the file is too
        large for the five seconds of that call, a batch job running sha256sum (``checksum_job``).
    """
    if paths.can_carry(path, client.api.rules.checksum):
        try:
            return client.checksum(path, system=system)
        except CommandTimeoutError:
            logger.info("%s is too large for the checksum call; computing its SHA-256 in a batch job.", path)
            return sha256_by_job(client, path, system, account, read=_log)
    limit = client.system_info(system=system).max_ops_file_size
    if size <= limits.direct_download_limit(client.api.generation, limit):
        return hashlib.sha256(client.download(path, system=system)).hexdigest()
    return sha256_by_job(client, path, system, account, read=_log)


def prove(
    client: FirecrestClient,
    path: str,
    *,
    size: int,
    sha256: str | None,
    system: str,
    account: str | None = None,
    evidence: str = "",
    transfer: TransferJob | None = None,
    name: str | None = None,
) -> FileStat:
    """Compare a file on the system with what it must be.

    :param client: the client.
    :param path: absolute path.
    :param size: bytes it must have.
    :param sha256: digest it must have; None leaves it at the size.
    :param system: system name.
    :param account: Slurm account, should the digest take a job.
    :param evidence: what the server's job said, for the error.
    :param transfer: the server's job, for the error.
    :param name: what errors call the file; default: its path.
    :returns: its stat.
    :raises TransferFailedError: it is not there.
    :raises IntegrityError: it differs.
    """
    name = name or path
    try:
        found = stat_when_there(client, path, system)
    except NotFoundError:
        raise TransferFailedError(
            f"{name} is not on {system}. {evidence}".strip(), transfer=transfer
        ) from None
    if found.size != size:
        raise IntegrityError(
            f"{name} on {system} has {found.size} bytes instead of {size}. {evidence}".strip(),
            transfer=transfer,
        )
    if sha256 is None:
        return found
    digest = remote_sha256(client, path, size, system, account)
    if digest != sha256:
        raise IntegrityError(
            f"{name} on {system} has SHA-256 {digest} instead of {sha256}. {evidence}".strip(),
            transfer=transfer,
        )
    return found


class Staged(Protocol):
    """What both directions' staged transfers have in common."""

    @property
    def system(self) -> str: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def task_id(self) -> str | None: ...
    @property
    def transfer(self) -> TransferJob | None: ...


def end_of_transfer(
    client: FirecrestClient, staged: Staged, job: Job | None, *, what: str, success: str
) -> tuple[str, bool]:
    """Check what the server says about the end of a staged transfer. Its "yes" proves nothing, its "no" is
    believed. A log that is not there says neither.

    :param client: the client.
    :param staged: the transfer; the server's job or task must be over.
    :param job: the server's job in its final state; None asks for it.
    :param what: the transfer in words, for the error.
    :param success: the line that v2's job writes at a good end.
    :returns: what the server said, for later errors; and whether it said "yes".
    :raises TransferFailedError: it failed.
    :raises UnavailableError: the job ended well, but its log cannot be read now.
    """
    if staged.task_id is not None:
        task = client.task(staged.task_id)
        if not task.succeeded:
            raise TransferFailedError(f"{what} failed. {_task_evidence(task)}")
        return _task_evidence(task), True
    job = job or client.get_job(str(staged.job_id), system=staged.system)
    transfer = staged.transfer
    output, evidence = job_evidence(client, transfer, job.state) if transfer else (None, "")
    if not job.succeeded or (output is not None and success not in output):
        raise TransferFailedError(f"{what} failed. {evidence}", transfer=transfer)
    return evidence, output is not None


def _task_evidence(task: Task) -> str:
    said = f"FirecREST's task {task.task_id} ended with {task.status} ({task.meaning})."
    reason = task.reason
    return f"{said} It says: {reason}" if reason else said


def job_evidence(client: FirecrestClient, transfer: TransferJob, state: str) -> tuple[str | None, str]:
    """Return the server's job's output log (None: none is there), and a text with state and logs for errors.

    :param client: the client.
    :param transfer: the server's job.
    :param state: how it ended.
    :raises UnavailableError: it ended well, but its log cannot be read now; nothing is concluded from that.
    """
    succeeded = states.outcome(state) is states.Outcome.SUCCEEDED
    output = _log(client, transfer.output_log, transfer.system, needed=succeeded)
    error = _log(client, transfer.error_log, transfer.system)
    told = f"The server's job {transfer.job_id} ended {state}."
    for name, text in (("log", output), ("error log", error)):
        told += f"\nIts {name}: {'(not there)' if text is None else text.strip()[-1500:] or '(empty)'}"
    return output, told


def _log(client: FirecrestClient, path: str, system: str, *, needed: bool = False) -> str | None:
    """Return the end of a log, or None when there is none."""
    if not path:
        return None

    def look() -> str:
        return client.tail(path, size=8192, system=system)

    try:
        return _when_there(look) if needed else look()
    except NotFoundError:
        return None
    except FirecrestError as error:
        if not needed:
            return f"(cannot be read: {error.message})"
        if error.retry is Retry.YES:
            raise
        # Whatever keeps us from reading it says nothing about the job: to be tried again.
        raise UnavailableError(
            f"The log {path} on {system} cannot be read: {error.message}",
            method=error.method,
            path=error.path,
            status=error.status,
            server_message=error.server_message,
        ) from None
