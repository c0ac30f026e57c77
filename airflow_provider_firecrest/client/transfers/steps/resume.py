"""Going on with a transfer in steps that an earlier process left, and giving one up without a trace.

Knows which of what was done still holds: the source, the jobs, what stands on the system. Must not take a
step itself (``directories`` and ``atomic`` do).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ... import limits, paths
from ...errors import FirecrestError, NotFoundError
from ...leftovers import Leftover, remove_leftover
from ...models import Job
from ...sync_client import FirecrestClient
from .. import orphans
from . import job_frame, workdir
from . import jobs as steps_jobs
from .state import Again, AnyTransfer, StepwiseTransfer

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_HASTE = 5.0
"""Seconds for repeating a question without whose answer one can go on."""


def continued(client: FirecrestClient, planned: AnyTransfer, earlier: StepwiseTransfer) -> AnyTransfer | None:
    """Return the transfer to go on with, or None when it has to start anew; then the old one is given up.

    :param client: the client.
    :param planned: what is to be done.
    :param earlier: how far an earlier process got.
    :endpoint: GET .../jobs/{job_id}, GET .../jobs, GET .../ops/stat; v1: GET /tasks/{task_id}
    """
    same = _if_the_same(planned, earlier)
    going = _still_holding(client, same) if same is not None else None
    if going is None:
        logger.info("The transfer to %s starts anew.", planned.target)
        give_up(client, earlier)
        return None
    logger.info("Going on with the transfer to %s: %s.", planned.target, _said(going))
    return going


def has_put_it_there(client: FirecrestClient, earlier: StepwiseTransfer) -> bool:
    """Return whether the tree at an upload's target is an earlier try's own work.

    :param client: the client.
    :param earlier: how far that try got.
    :endpoint: GET .../jobs/{job_id}
    """
    if earlier.direction != "upload" or earlier.phase not in ("unpacking", "done"):
        return False
    if earlier.phase == "done":
        return True
    job = _job(client, earlier) if earlier.job_id is not None else None
    return job is not None and job.succeeded


def give_up(client: FirecrestClient, transfer: StepwiseTransfer) -> None:
    """End the jobs of a transfer that nobody goes on with, and remove what it has on the system.

    Never raises.

    :param client: the client.
    :param transfer: how far it got.
    :endpoint: GET and DELETE .../jobs; DELETE .../ops/rm, or a job that removes
    """
    if not transfer.work:
        return
    steps_jobs.end_all(client, transfer.work, transfer.system, transfer.job_id)
    _end_the_servers(client, transfer.work, transfer.system)
    abandon(client, transfer)


def clear_up_unnoted(client: FirecrestClient, transfer: StepwiseTransfer, again: Again) -> None:
    """Give up what earlier processes of the same task left beside a transfer and nobody wrote down; never
    raises.

    :param client: the client.
    :param transfer: what is to be done anew.
    :param again: names the directories to look for.
    :endpoint: GET .../ops/ls
    """
    if again.place is None or not again.sweep:
        return
    upload = transfer.direction == "upload"
    parent = paths.parent(transfer.target if upload else transfer.source)
    try:
        # In a directory with too many entries the listing takes too long, however often it is asked for.
        with FirecrestClient(client.settings.with_changes(retry_budget=_HASTE)) as hasty:
            left = workdir.all_in(hasty, parent, again.place, transfer.system)
    except FirecrestError as error:
        logger.info("What an earlier try may have left in %s cannot be looked for: %s", parent, error.message)
        return
    for work in left:
        logger.info("An earlier try left %s.", work)
        # Whether it was to replace the target, nobody knows: then what it put aside is kept.
        give_up(client, replace(transfer, work=work, replaces=upload, job_id=None))


def abandon(client: FirecrestClient, transfer: StepwiseTransfer) -> bool:
    """Remove what a transfer has on the system; its job must be over or cancelled. Never raises.

    :param client: the client.
    :param transfer: the transfer.
    :returns: whether nothing is left.
    """
    left: Leftover | None = transfer.leftover
    return left is None or client.run(remove_leftover(client.api, left))


@contextmanager
def giving_up(client: FirecrestClient, transfer: StepwiseTransfer, again: Again) -> Iterator[None]:
    """When the block raises, leave nothing of the transfer on the system; unless it may pass, and a later
    process goes on.
    """
    try:
        yield
    except BaseException as error:
        if again.leaves(error):
            logger.info("What the transfer has on %s is left for the next attempt.", transfer.system)
            raise
        logger.info("Removing what the transfer has on %s.", transfer.system)
        abandon(client, transfer)
        raise


@contextmanager
def giving_up_earlier(
    client: FirecrestClient, earlier: StepwiseTransfer | None, again: Again
) -> Iterator[None]:
    """When the block raises, leave nothing of what an earlier process began; unless it may pass, and a later
    one goes on.
    """
    try:
        yield
    except BaseException as error:
        if earlier is not None and not again.leaves(error):
            give_up(client, earlier)
        raise


def _if_the_same(planned: AnyTransfer, earlier: StepwiseTransfer) -> AnyTransfer | None:
    def what(transfer: StepwiseTransfer) -> tuple[object, ...]:
        # Over is over: what has come to the target is what the source was then.
        stamp = "" if earlier.phase == "done" else transfer.source_stamp
        return (
            transfer.direction,
            transfer.source,
            transfer.target,
            transfer.system,
            transfer.options,
            stamp,
        )

    if not isinstance(earlier, type(planned)):
        return None
    return earlier if what(planned) == what(earlier) else None


def _still_holding(client: FirecrestClient, earlier: AnyTransfer) -> AnyTransfer | None:
    if earlier.phase is None:
        # Nothing is done that would take longer than the checks which it did not get through.
        return None
    if earlier.phase == "staging":
        return _by_staging(client, earlier)
    if earlier.phase not in steps_jobs.OF_OURS:
        return earlier
    if earlier.phase == "packing" and earlier.is_packed:
        # Packed and measured; only the archive has to be fetched.
        return earlier if _is_there(client, earlier.payload, earlier) else None
    if earlier.job_id is None:
        job_id = steps_jobs.found(client, earlier)
        if job_id is None:
            needed = earlier.phase in ("unpacking", "placing")
            return earlier if not needed or _is_there(client, earlier.payload, earlier) else None
        earlier = earlier.waits_for(earlier.phase, job_id=job_id, job_name=earlier.job_name)
    return _by_job(client, earlier)


def _by_job(client: FirecrestClient, earlier: AnyTransfer) -> AnyTransfer | None:
    job = _job(client, earlier)
    if job is None:
        # Not shown yet, perhaps; the waiting will tell.
        return earlier if time.time() < earlier.submitted_at + limits.JOB_VISIBLE_WITHIN else None
    if not job.is_final:
        return earlier
    if not job.succeeded:
        return steps_jobs.of_holder(client, earlier, job)
    return earlier if _is_there(client, job_frame.path_in(earlier.work, job_frame.REPORT), earlier) else None


def _by_staging(client: FirecrestClient, earlier: AnyTransfer) -> AnyTransfer | None:
    if earlier.direction == "download":
        # Whether the object can still be had is looked at when it is fetched; if not, it is staged once more.
        return earlier if _is_there(client, earlier.payload, earlier) else None
    if earlier.job_id is not None:
        job = _job(client, earlier)
        return earlier if job is not None and (job.succeeded or not job.is_final) else None
    try:
        task = client.task(str(earlier.task_id))
    except NotFoundError:
        return None
    return earlier if task.succeeded or not task.is_final else None


def _job(client: FirecrestClient, transfer: StepwiseTransfer) -> Job | None:
    try:
        return client.get_job(str(transfer.job_id), system=transfer.system)
    except NotFoundError:
        return None


def _is_there(client: FirecrestClient, path: str, transfer: StepwiseTransfer) -> bool:
    try:
        client.stat(path, system=transfer.system)
    except NotFoundError:
        return False
    return True


def _end_the_servers(client: FirecrestClient, work: str, system: str) -> None:
    """End the server's jobs that move the bytes; FirecREST v1 cannot end its tasks."""
    if client.api.generation == 2:
        orphans.cancel_movers(client, paths.basename(work), system)


def _said(transfer: StepwiseTransfer) -> str:
    job = f"job {transfer.job_id}" if transfer.job_id else "the job"
    said = {
        "comparing": f"{job} measures the tree on the system",
        "packing": f"{job} packs the tree",
        "sending": "the bytes are on their way",
        "staging": "the bytes are in the object store, or on their way there",
        "unpacking": f"{job} unpacks the archive",
        "placing": f"{job} gives the file its name",
        "publishing": "the tree was about to get its name",
        "done": "it is there",
    }
    return said[transfer.phase or "sending"]
