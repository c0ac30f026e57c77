"""Proof that a file on the system is the file we mean: size by `stat`, SHA-256 by whatever way can carry the
name and the size.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shlex
import time
import uuid
from collections.abc import Callable
from typing import Protocol, TypeVar

from .. import limits, paths, states
from ..errors import (
    AmbiguousError,
    CommandTimeoutError,
    FirecrestError,
    IntegrityError,
    NotFoundError,
    Retry,
    TransferFailedError,
    UnavailableError,
)
from ..models import FileStat, Job, TransferJob
from ..sync_client import FirecrestClient
from ..v1.tasks import Task

logger = logging.getLogger("airflow_provider_firecrest.transfers")

APPEAR_WITHIN = 15.0
"""Seconds: a parallel file system may show another node's file a little later."""

CHECKSUM_TIME_LIMIT = "00:30:00"
"""Short enough for any partition, long enough for hundreds of gigabytes."""

_LOOK_EVERY = 5.0

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
        large for the five
        seconds of that call, a batch job running sha256sum.
    """
    if paths.can_carry(path, client.api.rules.checksum):
        try:
            return client.checksum(path, system=system)
        except CommandTimeoutError:
            logger.info("%s is too large for the checksum call; computing its SHA-256 in a batch job.", path)
            return _checksum_by_job(client, path, system, account)
    limit = client.system_info(system=system).max_ops_file_size
    if size <= limits.direct_download_limit(client.api.generation, limit):
        return hashlib.sha256(client.download(path, system=system)).hexdigest()
    return _checksum_by_job(client, path, system, account)


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


def _checksum_by_job(client: FirecrestClient, path: str, system: str, account: str | None) -> str:
    directory = _job_directory(client, path, system)
    name = f".firecrest-sha256-{uuid.uuid4().hex}.log"
    script = (
        "#!/bin/bash\n"
        f"#SBATCH --nodes=1 --ntasks=1 --time={CHECKSUM_TIME_LIMIT}\n"
        f"sha256sum -- {shlex.quote(path)}\n"
    )
    job_id = _submit_reading(client, script, directory, name, system, account)
    log = paths.join(directory, name)
    try:
        job = client.wait_for_job(job_id, poll_interval=_LOOK_EVERY, system=system)
        said = _log(client, log, system, needed=job.succeeded) or ""
    except BaseException:
        _quietly_cancel(client, job_id, system)
        raise
    finally:
        _quietly_remove(client, log, system)
    digest = re.match(r"\\?([0-9a-f]{64}) ", said)
    if not job.succeeded or digest is None:
        raise TransferFailedError(
            f"The SHA-256 of {path} could not be computed: job {job_id} ended {job.state}."
            f" It says: {said.strip()[-500:] or '(nothing)'}"
        )
    return digest.group(1)


def _job_directory(client: FirecrestClient, path: str, system: str) -> str:
    """Return where the job may write its log: the directory of the file may be open for reading only."""
    own = [client.settings.working_dir] if client.settings.working_dir else []
    try:
        work = client.system_info(system=system).default_work_dir
        if work is not None and not own:
            # Where the server's own transfer jobs work.
            own = [paths.join(work, client.userinfo(system=system).name)]
        return next((each for each in own if client.stat(each, system=system).is_dir), paths.parent(path))
    except FirecrestError as error:
        logger.info("The job's log goes beside the file: %s", error.message)
        return paths.parent(path)


def _submit_reading(
    client: FirecrestClient, script: str, directory: str, log: str, system: str, account: str | None
) -> str:
    """Submit a job that only reads: after a lost answer a second one does no harm."""

    def submit() -> str:
        # A bare name: in a path with a % in it Slurm would see a pattern.
        return client.submit_job(
            script, working_dir=directory, name="firecrest-sha256", stdout=log, account=account, system=system
        )

    try:
        return submit()
    except AmbiguousError:
        return submit()


def _quietly_cancel(client: FirecrestClient, job_id: str, system: str) -> None:
    try:
        client.cancel_job(job_id, system=system)
    except FirecrestError as error:
        logger.warning("Job %s could not be cancelled: %s", job_id, error.message)


def _quietly_remove(client: FirecrestClient, path: str, system: str) -> None:
    try:
        client.rm(path, system=system)
    except NotFoundError:
        return
    except FirecrestError as error:
        logger.warning("%s could not be removed: %s", path, error.message)
