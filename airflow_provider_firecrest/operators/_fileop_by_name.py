"""File jobs of earlier tries of which nothing is known but their names: no memory, or none that survived.

Knows how such a job is ended, and when one that succeeded stands in the way of another. Their plans are
lost, and with them what stood on the file system before, which a proof needs: so one that runs cannot be
gone on with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..client import paths
from ..client.attempts import Attempt, by_the_systems_clock, find
from ..client.errors import ConflictError, FirecrestError, NotFoundError, UnavailableError
from ..client.fileops import active_like, complains, log_name, looks_copied, looks_done
from ..client.fileops.looks import quietly_remove
from ..client.models import Job
from ..client.states import Outcome
from ..client.waiting.cancel import cancel_and_verify

if TYPE_CHECKING:
    from ..client import FirecrestClient

_MOST_JOBS = 64
"""Jobs of one generation that are looked through, one list for each that did not fail."""


@dataclass(frozen=True)
class Wanted:
    """What a task is to do, as its author said it: all there is where no plan was kept.

    :ivar name: beginning of the job's name.
    """

    kind: str
    source: str
    target: str | None
    system: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.source}" + (f" {self.target}" if self.target else "")


def end_unknown(
    client: FirecrestClient,
    wanted: Wanted,
    attempt: Attempt,
    *,
    unmarked: bool,
    not_before: float | None,
    log: Any,
) -> Attempt:
    """End the jobs of earlier tries, those before a clear too; return the first attempt without a job.

    :param attempt: the attempt at ordinal 0.
    :param unmarked: end active jobs without a mark, too, that do the same: FirecREST v2's own.
    :param not_before: seconds since the epoch; jobs that ended earlier belong to an earlier life of the task
        instance.
    :raises ConflictError: one has succeeded, and its work is there, or a copy that may be its work.
    :raises UnavailableError: the jobs cannot be listed, or one does not end: a retry looks again.
    """
    own, older, attempt = _marked(client, wanted, attempt, not_before)
    succeeded = [job for job in own if job.outcome is Outcome.SUCCEEDED]
    for job in (job for job in own if not job.is_final):
        ended = end_job(client, job.job_id, wanted.system, log, output_log=_log_of(client, job, wanted))
        succeeded += [ended] if ended is not None and ended.succeeded else []
    seen = {job.job_id for job in own}
    paths_of = (wanted.kind, wanted.source, wanted.target, wanted.system)
    for job in (*older, *(active_like(client, *paths_of) if unmarked else ())):
        if job.job_id not in seen:
            end_job(client, job.job_id, wanted.system, log, output_log=_log_of(client, job, wanted))
    for job in own:
        if job.is_final and job.working_dir:
            log_of = paths.join(job.working_dir, log_name(wanted.kind, job.name))
            quietly_remove(client, log_of, wanted.system)
    # FirecREST's own file jobs end COMPLETED when they failed.
    if succeeded and not complains(client, succeeded[-1].job_id, wanted.system):
        _look_at_work(client, wanted, succeeded[-1], log)
    if unmarked and wanted.kind == "cp" and client.api.generation == 2:
        _look_for_a_copy(client, wanted)
    return attempt


def end_job(
    client: FirecrestClient, job_id: str, system: str, log: Any, *, output_log: str = ""
) -> Job | None:
    """Cancel a job of an earlier try and wait for its end; one that is over already is fine.

    :param output_log: path of its log where that is ours; it is removed.
    :returns: the job as last seen, or None.
    :raises UnavailableError: it does not end; a new one must not meet it.
    """
    log.info("Job %s is of an earlier try of this task: cancelling it.", job_id)
    try:
        done = client.run(cancel_and_verify(client.api, job_id, system=system))
    except NotFoundError:
        log.info("%s does not know job %s any more.", system, job_id)
        return None
    log.info("%s", done)
    if not done.verified:
        raise UnavailableError(f"{done} It is of an earlier try of this task. Nothing was started beside it.")
    if output_log:
        quietly_remove(client, output_log, system)
    return done.job


def _marked(
    client: FirecrestClient, wanted: Wanted, attempt: Attempt, not_before: float | None
) -> tuple[list[Job], tuple[Job, ...], Attempt]:
    """Return this generation's jobs that have not failed, active ones of those before, and the free attempt.

    The search stops at a job that has not failed; one that did nothing can look so, and have followers.
    """
    own: list[Job] = []
    for _ in range(_MOST_JOBS):
        since = by_the_systems_clock(client, not_before)
        found = client.run(find(client.api, attempt, not_before=since, system=wanted.system))
        if not found.jobs:
            break
        own += found.jobs
        attempt = found.attempt.next()
    return own, found.older, found.attempt if not found.jobs else attempt


def _log_of(client: FirecrestClient, job: Job, wanted: Wanted) -> str:
    """Return the path of a job's log if it is one that a batch job of ours writes and nobody else needs."""
    try:
        path = client.job_metadata(job.job_id, system=wanted.system).stdout or ""
    except FirecrestError:
        return ""
    name = paths.basename(path)
    return path if name.startswith(f".firecrest-{wanted.kind}-") and name.endswith(".log") else ""


def _look_at_work(client: FirecrestClient, wanted: Wanted, job: Job, log: Any) -> None:
    if looks_done(client, wanted.kind, wanted.source, wanted.target, wanted.system):
        raise ConflictError(
            f"{wanted}: job {job.job_id} ({job.name}) of an earlier try of this task ended {job.state}, and"
            f" its work seems to be done on {wanted.system}; what would prove it was lost with the worker."
            " Nothing was submitted again. Mark the task as success, or clear it to do it again."
        )
    log.info("Job %s of an earlier try ended %s, but its work is not there.", job.job_id, job.state)


def _look_for_a_copy(client: FirecrestClient, wanted: Wanted) -> None:
    """Do not copy a directory into what may be its copy, made by a job of FirecREST v2's that has no mark."""
    if looks_copied(client, wanted.source, str(wanted.target), wanted.system):
        raise ConflictError(
            f"{wanted}: {wanted.target} on {wanted.system} holds nothing but what {wanted.source} holds: an"
            " earlier try of this task may have copied it. Nothing was submitted again. Mark the task as"
            f" success, or remove {wanted.target} and clear the task."
        )
