"""The SHA-256 of a file by a batch job: of one too large for the five seconds of the checksum call, or whose
name that call cannot carry.

Knows the job from its submit to its end: it is submitted once, waited for up to a deadline, and cancelled
when nobody waits for it any more. The digest is asked for at the bottom of many calls; the deadline, and how
a kill is heard, are known at their top only, which says so with :func:`waited_for`.
"""

from __future__ import annotations

import logging
import re
import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol

from .. import arrays, limits, paths
from ..errors import (
    AmbiguousError,
    DeadlineError,
    FirecrestError,
    NotFoundError,
    Retry,
    TransferFailedError,
)
from ..models import Job
from ..sync_client import FirecrestClient
from ..waiting.cancel import cancel_and_verify

logger = logging.getLogger("airflow_provider_firecrest.transfers")

TIME_LIMIT = "00:30:00"
"""Of the job: short enough for any partition, long enough for hundreds of gigabytes."""

LONGEST_WAIT = 12 * 3600.0
"""Seconds that the job is waited for, its time in the queue included, where nobody names a deadline."""

_LOOK_EVERY = 5.0
_FOUND_WITHIN = limits.JOB_VISIBLE_WITHIN
_ENDS_WITHIN = 10.0
_WINDOW = "1h"
_LONGEST_PAUSE = 10.0


class ReadLog(Protocol):
    """Returns the end of a log, or None when there is none; one that is needed may take a moment to show."""

    def __call__(
        self, client: FirecrestClient, path: str, system: str, *, needed: bool = False
    ) -> str | None: ...


@dataclass(frozen=True)
class ChecksumJob:
    """A job that computes a digest.

    :ivar name: its name, which no other job has.
    :ivar directory: where it writes its log.
    :ivar job_id: its id; None as long as its submit is not answered.
    """

    name: str
    system: str
    directory: str
    job_id: str | None = None

    @property
    def log(self) -> str:
        """Name of its log in that directory."""
        return f".{self.name}.log"


@dataclass(frozen=True)
class _Waiting:
    deadline: float | None = None
    on_job: Callable[[ChecksumJob | None], None] = lambda job: None


_waiting: ContextVar[_Waiting] = ContextVar("firecrest_checksum_waiting", default=_Waiting())  # noqa: B039


@contextmanager
def waited_for(*, deadline: float | None, on_job: Callable[[ChecksumJob | None], None]) -> Iterator[None]:
    """Say who waits for the checksum jobs that become necessary inside, in this thread.

    :param deadline: seconds since the epoch at which the waiting ends; None: after :data:`LONGEST_WAIT`.
    :param on_job: called with a job before its submit, again when its id is known, and with None when it is
        over; so a kill can find it (:func:`cancel`).
    """
    token = _waiting.set(_Waiting(deadline, on_job))
    try:
        yield
    finally:
        _waiting.reset(token)


def sha256_by_job(
    client: FirecrestClient, path: str, system: str, account: str | None, *, read: ReadLog
) -> str:
    """Return the SHA-256 of a file on the system, computed by a batch job.

    :param client: the client.
    :param path: absolute path.
    :param system: system name.
    :param account: Slurm account of the job; None: the connection's.
    :param read: reads the end of the job's log.
    :returns: hex digest.
    :raises TransferFailedError: the job could not compute it.
    :raises DeadlineError: the job was not over in time; it was cancelled.
    :raises AmbiguousError: twice no answer said whether it was submitted, and it did not show up.
    :endpoint: POST and GET /compute/{system}/jobs (sha256sum), GET .../ops/tail, DELETE .../ops/rm
    """
    waiting = _waiting.get()
    name = f"firecrest-sha256-af{secrets.token_hex(7)}"
    job = ChecksumJob(name, system, _log_directory(client, path, system))
    waiting.on_job(job)
    try:
        job = replace(job, job_id=_submit_once(client, job, path, account))
        waiting.on_job(job)
        logger.info("Job %s (%s) computes the SHA-256 of %s.", job.job_id, job.name, path)
        ended = _end_of(client, job, path, waiting.deadline)
        said = read(client, paths.join(job.directory, job.log), system, needed=ended.succeeded) or ""
    except BaseException as error:
        if job.job_id is not None or _may_be_there(error):
            cancel(client, job)
        raise
    finally:
        waiting.on_job(None)
    _remove_log(client, job)
    digest = re.match(r"\\?([0-9a-f]{64}) ", said)
    if not ended.succeeded or digest is None:
        raise TransferFailedError(
            f"The SHA-256 of {path} could not be computed: job {job.job_id} ended {ended.state}."
            f" It says: {said.strip()[-500:] or '(nothing)'}"
        )
    return digest.group(1)


def cancel(
    client: FirecrestClient, job: ChecksumJob, *, look_for: float = 0.0, within: float = _ENDS_WITHIN
) -> None:
    """Cancel a checksum job that nobody waits for any more, and remove its log; never raises.

    :param client: the client.
    :param job: the job; without its id it is looked for by its name.
    :param look_for: seconds to look for it.
    :param within: seconds to see it end.
    :endpoint: GET and DELETE /compute/{system}/jobs, DELETE .../ops/rm
    """
    try:
        for job_id in [job.job_id] if job.job_id is not None else _found(client, job, look_for):
            done = client.run(cancel_and_verify(client.api, job_id, system=job.system, within=within))
            logger.info("%s", done)
    except FirecrestError as error:
        logger.warning("Job %s (%s) could not be cancelled: %s", job.job_id, job.name, error.message)
    _remove_log(client, job)


def _submit_once(client: FirecrestClient, job: ChecksumJob, path: str, account: str | None) -> str:
    """Submit the job; after a lost answer, find it. A job that nobody has seen by then is submitted once
    more: it only reads.
    """
    options = f"#SBATCH --nodes=1 --ntasks=1 --time={TIME_LIMIT}"
    script = f"#!/bin/bash\n{options}\nsha256sum -- {shlex.quote(path)}\n"

    def submit() -> str:
        return client.submit_job(
            script,
            working_dir=job.directory,
            name=job.name,
            # A bare name: in a path with a % in it Slurm would see a pattern.
            stdout=job.log,
            account=account,
            system=job.system,
        )

    try:
        return submit()
    except AmbiguousError as error:
        logger.warning("%s Looking for the job by its name, %s.", error.message, job.name)
    found = _found(client, job, _FOUND_WITHIN)
    return found[0] if found else submit()


def _found(client: FirecrestClient, job: ChecksumJob, within: float) -> list[str]:
    """Return the ids of the jobs of that name, oldest first, as soon as there are any."""
    deadline, pause = time.monotonic() + within, 1.0
    while True:
        try:
            rows = client.jobs(name=job.name, time_window=_WINDOW, system=job.system)
        except FirecrestError as error:
            rows = []
            logger.warning("The jobs cannot be listed now: %s", error.message)
        found = {arrays.base_id(row.job_id) for row in rows}
        left = deadline - time.monotonic()
        if found or left <= 0:
            return sorted(found, key=lambda job_id: (len(job_id), job_id))
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _end_of(client: FirecrestClient, job: ChecksumJob, path: str, deadline: float | None) -> Job:
    timeout = LONGEST_WAIT if deadline is None else max(0.0, deadline - time.time())
    try:
        return client.wait_for_job(
            str(job.job_id), poll_interval=_LOOK_EVERY, timeout=timeout, system=job.system
        )
    except DeadlineError as error:
        raise DeadlineError(
            f"The SHA-256 of {path} is not known in time: {error.message} It is cancelled.", retry=Retry.YES
        ) from None


def _may_be_there(error: BaseException) -> bool:
    """Whether a submit that ended so may have been carried out."""
    return not isinstance(error, FirecrestError) or error.retry is Retry.CHECK_FIRST


def _log_directory(client: FirecrestClient, path: str, system: str) -> str:
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


def _remove_log(client: FirecrestClient, job: ChecksumJob) -> None:
    path = paths.join(job.directory, job.log)
    try:
        client.rm(path, system=job.system)
    except NotFoundError:
        return
    except FirecrestError as error:
        logger.warning("%s could not be removed: %s", path, error.message)
