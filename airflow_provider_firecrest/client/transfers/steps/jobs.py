"""The batch jobs of a transfer in steps: submitted once, found again, followed to the one that works.

A job's name holds the name of the directory it works in, which no other transfer has, and the mark of the
task's attempt. Of two jobs in one directory only one works: it holds the claim there. Must not know what the
jobs do (``directories.tree_jobs``, ``atomic.place_job``).
"""

from __future__ import annotations

import logging
import time

from ...._crash_points import crash_point
from ... import limits
from ...attempts import marked_name
from ...attempts.marker import plain_name
from ...errors import AmbiguousError, FirecrestError, NotFoundError
from ...models import Job
from ...sync_client import FirecrestClient
from . import job_frame, workdir
from .state import AnyTransfer, Phase, StepwiseTransfer, Watch

logger = logging.getLogger("airflow_provider_firecrest.transfers")

OF_OURS: tuple[Phase, ...] = ("comparing", "packing", "unpacking", "placing")
"""Phases in which a job of ours is waited for."""

_WINDOW = "7d"
_LOOK_EVERY = 3.0
_ENDS_WITHIN = 30.0
_CLAIMED_WITHIN = 5.0


def submitted(
    client: FirecrestClient, transfer: AnyTransfer, phase: Phase, what: str, script: str, watch: Watch
) -> AnyTransfer:
    """Submit a script that works in the transfer's directory; return the transfer, waiting for its job.

    :param client: the client.
    :param transfer: the transfer.
    :param phase: what it waits for from now on.
    :param what: ``pack``, ``unpack``, ``measure`` or ``place``, for the job's name.
    :param script: the batch script; of two copies it lets only one work.
    :param watch: who is told, before the request and after it.
    :endpoint: POST /compute/{system}/jobs
    """
    name = f"firecrest-{what}-{workdir.token(transfer.work)}"
    if watch.again.attempt is not None:
        name = marked_name(name, watch.again.attempt)
    transfer = transfer.waits_for(phase, job_name=name)
    watch.on_change(transfer)
    crash_point("before_submit")
    job_id = _submit(client, transfer, script)
    crash_point("after_post")
    transfer = transfer.waits_for(phase, job_id=job_id, job_name=name)
    watch.on_change(transfer)
    crash_point("after_store")
    return transfer


def found(client: FirecrestClient, transfer: StepwiseTransfer) -> str | None:
    """Return the id of the job that an earlier process may have submitted without noting it, or None.

    Looks until such a job would show. One that has begun has left its id in the directory, whatever the lists
    show.

    :param client: the client.
    :param transfer: a transfer that is about to have its job submitted.
    :endpoint: GET /compute/{system}/jobs, GET .../ops/download
    """
    # That process's clock may be ahead of ours.
    deadline = min(transfer.submitted_at, time.time()) + limits.JOB_VISIBLE_WITHIN
    said = False
    while True:
        rows = client.jobs(name=transfer.job_name, time_window=_WINDOW, system=transfer.system)
        job_id = _claimed(client, transfer) or (rows[0].job_id if rows else None)
        if job_id:
            logger.info("The job %s was submitted by an earlier try: %s.", transfer.job_name, job_id)
            return job_id
        left = deadline - time.time()
        if left <= 0:
            return None
        if not said:
            logger.info(
                "An earlier try may have submitted the job %s: looking for it for %.0f s more.",
                transfer.job_name,
                left,
            )
            said = True
        time.sleep(min(_LOOK_EVERY, left))


def of_holder(client: FirecrestClient, transfer: AnyTransfer, job: Job) -> AnyTransfer | None:
    """Return the transfer, waiting for the job that really works, when ``job`` left because of it; else None.

    :param client: the client.
    :param transfer: the transfer that waited for ``job``.
    :param job: the job in its final state.
    :endpoint: GET .../ops/download
    """
    if job.exit_code != job_frame.TAKEN or transfer.phase not in OF_OURS:
        return None
    holder = _holder(client, transfer)
    if holder is None or holder == job.job_id:
        return None
    logger.info("Job %s does what job %s was to do; waiting for it.", holder, job.job_id)
    assert transfer.phase is not None
    return transfer.waits_for(transfer.phase, job_id=holder, job_name=transfer.job_name)


def end_all(client: FirecrestClient, work: str, system: str, job_id: str | None = None) -> None:
    """Cancel all jobs that work in a directory, and wait until they are over; never raises.

    :param client: the client.
    :param work: the directory.
    :param system: system name.
    :param job_id: one that is known, whoever submitted it; it is cancelled, too.
    :endpoint: GET /compute/{system}/jobs, DELETE /compute/{system}/jobs/{job_id}
    """
    jobs = {job_id} if job_id is not None else set()
    try:
        ending = f"-{workdir.token(work)}"
        rows = client.jobs(time_window="24h", system=system)
        jobs |= {row.job_id for row in rows if not row.is_final and _works_there(row.name, ending)}
    except FirecrestError as error:
        logger.warning("Jobs that work in %s cannot be looked for: %s", work, error.message)
    for each in sorted(jobs):
        end(client, each, system)


def end(client: FirecrestClient, job_id: str, system: str) -> None:
    """Cancel a job and wait until it is over; never raises."""
    try:
        if not client.cancel_job(job_id, system=system):
            return
        client.wait_for_job(job_id, poll_interval=1.0, timeout=_ENDS_WITHIN, system=system)
        logger.info("Cancelled job %s.", job_id)
    except NotFoundError:
        logger.info("Job %s is not known any more.", job_id)
    except FirecrestError as error:
        logger.warning("Job %s could not be cancelled: %s", job_id, error.message)


def _works_there(name: str, ending: str) -> bool:
    return name.startswith("firecrest-") and plain_name(name).endswith(ending)


def _submit(client: FirecrestClient, transfer: StepwiseTransfer, script: str) -> str:
    """Submit; after a lost answer the job is looked for, and submitted again when it does not show."""

    def once() -> str:
        # The script writes its own log: a working directory with % in it would be a pattern for Slurm.
        return client.submit_job(
            script,
            working_dir=transfer.work,
            name=transfer.job_name,
            stdout="/dev/null",
            stderr="/dev/null",
            account=transfer.options.account,
            partition=transfer.options.partition,
            system=transfer.system,
        )

    try:
        return once()
    except AmbiguousError as error:
        logger.warning("Nobody knows whether the job %s was submitted: %s", transfer.job_name, error.message)
    return _find(client, transfer) or once()


def _find(client: FirecrestClient, transfer: StepwiseTransfer) -> str | None:
    deadline = time.monotonic() + limits.JOB_VISIBLE_WITHIN
    while True:
        try:
            rows = client.jobs(name=transfer.job_name, system=transfer.system)
        except FirecrestError as error:
            logger.warning("The job %s cannot be looked for: %s", transfer.job_name, error.message)
            rows = []
        if rows:
            logger.info("It was: it is job %s.", rows[0].job_id)
            return rows[0].job_id
        if time.monotonic() >= deadline:
            return None
        time.sleep(_LOOK_EVERY)


def _holder(client: FirecrestClient, transfer: StepwiseTransfer) -> str | None:
    """Return the id in the claim, giving its owner a moment to write it down."""
    deadline = time.monotonic() + _CLAIMED_WITHIN
    while True:
        holder = _claimed(client, transfer)
        if holder or time.monotonic() >= deadline:
            return holder
        time.sleep(1.0)


def _claimed(client: FirecrestClient, transfer: StepwiseTransfer) -> str | None:
    path = job_frame.path_in(transfer.work, job_frame.CLAIM)
    try:
        return client.download(path, system=transfer.system).decode(errors="replace").strip() or None
    except NotFoundError:
        return None
