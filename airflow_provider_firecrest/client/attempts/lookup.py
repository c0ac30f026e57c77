"""Looking for the jobs of an attempt on the system, and deciding which one counts.

Flows, so they serve both drivers and both API generations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import arrays, states
from ..errors import FirecrestError, NotFirecrestError, NotFoundError, TooLargeError
from ..flow import Flow
from ..models import Job
from .fence import FENCED_EXIT_CODE, claim_path
from .marker import Attempt, mark_of

if TYPE_CHECKING:
    from ..detect import Api

WINDOWS = ("7d", "24h", "1h")
"""How far back ended jobs are looked for: a retry may come days after its worker died. The shorter ones where
a list is too large."""

_JUST_NOW = "1h"


@dataclass(frozen=True)
class Found:
    """What the search brought.

    :ivar attempt: the attempt to go on with: of this generation, after those whose jobs ran and failed.
    :ivar jobs: its jobs, oldest first.
    :ivar older: active jobs of earlier generations.
    :ivar failed: jobs of this generation that ran and failed.
    """

    attempt: Attempt
    jobs: tuple[Job, ...] = ()
    older: tuple[Job, ...] = ()
    failed: tuple[Job, ...] = ()


def find(
    api: Api, attempt: Attempt, *, not_before: float | None = None, system: str | None = None
) -> Flow[Found]:
    """Look for jobs of an attempt and of those before it, by one list of the user's jobs.

    :param api: the flows of the connection's generation.
    :param attempt: the attempt at ordinal 0.
    :param not_before: seconds since the epoch; a job that ended earlier belongs to an earlier life of the
        same task instance (a run that was deleted and made again) and is no result of this one.
    :param system: system name; default: the connection's.
    :returns: the jobs, and the attempt that they make the current one.
    :endpoint: GET /compute/{system}/jobs
    """
    marked = _by_mark((yield from _all_jobs(api, system)))
    if not marked:
        return Found(attempt)
    failed: list[Job] = []
    current = attempt
    jobs: tuple[Job, ...] = ()
    for each in attempt.siblings():
        current, jobs = each, _merged(marked.get(each.mark, ()))
        effective = [job for job in jobs if not is_fenced(job)]
        if not effective or not all(is_past(job, not_before) for job in effective):
            break
        failed += effective
    older = (job for each in attempt.older() for job in _merged(marked.get(each.mark, ())))
    return Found(current, jobs, tuple(job for job in older if not job.is_final), tuple(failed))


def is_past(job: Job, not_before: float | None) -> bool:
    """Return whether a job is no result any more: it failed, or ended before this life of the task began.

    :param job: a job of the attempt.
    :param not_before: seconds since the epoch, or None.
    """
    if job.outcome is states.Outcome.FAILED:
        return True
    return not_before is not None and job.is_final and (job.end_time or not_before) < not_before


def find_exactly(api: Api, attempt: Attempt, name: str, *, system: str | None = None) -> Flow[Found]:
    """Look for the jobs of one attempt that were submitted just now.

    :param api: the flows of the connection's generation.
    :param attempt: the attempt.
    :param name: the marked name they were submitted under.
    :param system: system name; default: the connection's.
    :endpoint: GET /compute/{system}/jobs?name=
    """
    marked = _by_mark((yield from api.jobs(name=name, time_window=_JUST_NOW, system=system)))
    return Found(attempt, _merged(marked.get(attempt.mark, ())))


def decide(
    api: Api, found: Found, *, working_dir: str | None, system: str | None = None
) -> Flow[tuple[Job | None, list[Job]]]:
    """Choose the job that counts among those of one attempt, and name the duplicates that have to go.

    The holder of the fence's claim counts. Where there is no claim (yet), one that runs, since it is about
    to claim: of two identical jobs the younger can start first. Then one that succeeded, one that waits, one
    that failed; of several the oldest. A job that the fence sent away is no result.

    :param api: the flows of the connection's generation.
    :param found: what :func:`find` returned.
    :param working_dir: the directory the jobs start in, where the claim is; None when that is not known.
    :param system: system name; default: the connection's.
    :returns: the job, or None; and the others that are still active.
    :endpoint: GET .../ops/head (the claim)
    """
    jobs = [job for job in found.jobs if not is_fenced(job)]
    if not jobs:
        return None, []
    holder: str | None = None
    if len(jobs) > 1 and working_dir:
        holder = yield from claim_holder(api, claim_path(working_dir, found.attempt), system=system)
    ours = next((job for job in jobs if job.job_id == holder), None) or min(jobs, key=_promise)
    return ours, [job for job in jobs if job is not ours and not job.is_final]


def _promise(job: Job) -> int:
    outcome = states.outcome(job.state)
    if outcome is states.Outcome.ACTIVE:
        return 2 if states.normalise(job.state) == "PENDING" else 0
    return 1 if outcome is states.Outcome.SUCCEEDED else 3


def claim_holder(api: Api, path: str, *, system: str | None = None) -> Flow[str | None]:
    """Return the id of the job that holds a claim, or None when there is none or it cannot be read.

    :param api: the flows of the connection's generation.
    :param path: the claim (:func:`~.fence.claim_path`).
    :param system: system name; default: the connection's.
    :raises NotFirecrestError: the connection leads to a web page.
    :endpoint: GET .../ops/head
    """
    try:
        text = yield from api.head(path, lines=1, system=system)
    except NotFirecrestError:
        # No script is sent to an address that is somebody else's.
        raise
    except FirecrestError:
        return None
    return text.strip() or None


def cancel_older(api: Api, found: Found, *, system: str | None = None) -> Flow[list[Job]]:
    """Cancel the active jobs of earlier generations; the one about to be submitted must not meet them.

    :param api: the flows of the connection's generation.
    :param found: what :func:`find` returned.
    :param system: system name; default: the connection's.
    :returns: the jobs that were told to end.
    :raises FirecrestError: one could not be cancelled.
    :endpoint: DELETE /compute/{system}/jobs/{job_id}
    """
    told: list[Job] = []
    for job in found.older:
        try:
            yield from api.cancel_job(job.job_id, system=system)
        except NotFoundError:
            continue
        told.append(job)
    return told


def is_fenced(job: Job) -> bool:
    """Return whether a job was sent away by the fence: it did nothing, so it neither succeeded nor failed."""
    if job.elements:
        ended = [each for each in job.elements if states.is_final(each.state)]
        return bool(ended) and all(_was_sent_away(each.state, each.exit_code) for each in ended)
    return _was_sent_away(job.state, job.exit_code)


def _was_sent_away(state: str, exit_code: int | None) -> bool:
    return states.normalise(state) == "FAILED" and exit_code == FENCED_EXIT_CODE


def _all_jobs(api: Api, system: str | None) -> Flow[list[Job]]:
    for window in WINDOWS[:-1]:
        try:
            return (yield from api.jobs(time_window=window, system=system))
        except TooLargeError:
            continue
    return (yield from api.jobs(time_window=WINDOWS[-1], system=system))


def _by_mark(rows: Iterable[Job]) -> dict[str, list[Job]]:
    marked: dict[str, list[Job]] = {}
    for row in rows:
        mark = mark_of(row.name)
        if mark is not None:
            marked.setdefault(mark, []).append(row)
    return marked


def _merged(rows: Iterable[Job]) -> tuple[Job, ...]:
    """Return the jobs that the rows of one name make up, oldest first.

    Elements of an array that the queue lists under raw ids cannot be told from further jobs, unless
    accounting has the array.
    """
    rows = list(rows)
    of_arrays = {base for row in rows if (base := arrays.base_id(row.job_id)) != row.job_id}
    ids = of_arrays or {row.job_id for row in rows}
    merged = (arrays.merge(job_id, rows) for job_id in ids)
    return tuple(sorted((job for job in merged if job is not None), key=_age))


def _age(job: Job) -> tuple[int, str]:
    return (int(job.job_id), "") if job.job_id.isdigit() else (0, job.job_id)
