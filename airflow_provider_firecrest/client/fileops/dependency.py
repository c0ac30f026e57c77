"""The job that a file operation waits for: where it stands, and the sentence when it failed.

A job with `afterok` on a job that failed stays in the queue for ever, unless it was submitted with
`--kill-on-invalid-dep`: FirecREST v1's own file jobs are not.
"""

from __future__ import annotations

import re
import time

from ..errors import FirecrestError, InvalidRequestError, JobFailedError, NotFoundError
from ..models import Job
from ..sync_client import FirecrestClient
from .operation import FileOperation

VISIBLE_WITHIN = 20.0
"""Seconds during which a job that was just submitted may be unknown: accounting lags behind."""

_JOB_ID = re.compile(r"[1-9]\d*(_\d+)?")


def check_job_id(value: object) -> str:
    """Return the id of a job, or of one element of an array, as Slurm's dependencies name it.

    :raises InvalidRequestError: it is none.
    """
    text = str(value).strip()
    if not _JOB_ID.fullmatch(text):
        # Not "none": a template that lost the id would let the work begin before the job has ended.
        advice = "" if value else " Leave it out, or give None, where there is no job to wait for."
        raise InvalidRequestError(f"after_job_id: {value!r} is not a job id.{advice}")
    return text


def still_to_wait_for(client: FirecrestClient, job_id: str, system: str, what: str) -> str | None:
    """Return the id of a job that is not over, or None when it has succeeded.

    Slurm forgets an ended job within minutes; a dependency on it would then mean nothing.

    :param what: what waits for it, for the error.
    :raises JobFailedError: it failed.
    :raises NotFoundError: there is no such job.
    """
    deadline = time.monotonic() + VISIBLE_WITHIN
    while True:
        try:
            job = client.get_job(job_id, system=system)
            break
        except NotFoundError:
            if time.monotonic() >= deadline:
                raise NotFoundError(f"after_job_id: {system} knows no job {job_id}.") from None
            time.sleep(1.0)
    if not job.is_final:
        return job_id
    if not job.succeeded:
        raise failed_first(job, what)
    return None


def failed_first(job: Job, what: str) -> JobFailedError:
    """Return the error for an operation whose predecessor did not succeed."""
    code = f" with exit code {job.exit_code}" if job.exit_code else ""
    return JobFailedError(
        f"{what} was not done: job {job.job_id}, which this one waits for, ended {job.state}{code}.", job=job
    )


def failure_of(client: FirecrestClient, operation: FileOperation) -> JobFailedError | None:
    """Return the error when the job that an operation waits for has failed, else None."""
    if operation.after_job_id is None:
        return None
    try:
        job = client.get_job(operation.after_job_id, system=operation.system)
    except FirecrestError:
        return None
    if not job.is_final or job.succeeded:
        return None
    return failed_first(job, str(operation))


def may_wait_forever(client: FirecrestClient, operation: FileOperation) -> bool:
    """Return whether the operation's job stays in the queue when its predecessor fails."""
    return operation.after_job_id is not None and operation.way == "job" and client.api.generation == 1
