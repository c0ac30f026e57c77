"""Job arrays and heterogeneous jobs: many rows, one job.

Knows how Slurm names array rows: `sacct` says ``87_0`` and ``87_[2-5%2]``, `squeue` adds rows with raw ids
(``92``, ``87``)
of the same elements, with no exit code; after the end only ``87_0`` ... remain and no row bears the submitted
id. The
components of a heterogeneous job are ``90+0``, ``90+1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from . import states
from .models import Job, JobElement

_ELEMENT = re.compile(r"^(\d+)[_+](\d+)$")
_WAITING = re.compile(r"^(\d+)_\[([^\]]+)\]$")


def base_id(job_id: str) -> str:
    """Return the id a row belongs to: ``87`` for ``87``, ``87_0``, ``87_[2-5%2]`` and ``87+1``."""
    return re.split(r"[_+]", job_id, maxsplit=1)[0]


def count_indices(expression: str) -> int:
    """Return how many elements an array expression names: 4 for ``2-5%2``, 3 for ``0-4:2``."""
    count = 0
    for part in expression.split("%", 1)[0].split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?(?::(\d+))?\s*", part)
        if match:
            first, last, step = match.group(1), match.group(2) or match.group(1), match.group(3) or "1"
            count += (int(last) - int(first)) // max(int(step), 1) + 1
    return count


def merge(job_id: str, rows: Iterable[Job], *, only_this_job: bool = False) -> Job | None:
    """Join all rows an answer holds about ``job_id`` into one job.

    :param job_id: the id that the submit returned.
    :param rows: rows of one job or of a list.
    :param only_this_job: the rows come from a question about this id alone, so rows with other plain ids are
        its own elements
        seen by the queue. In a list they cannot be told from other jobs.
    :returns: the job, or None when no row belongs to it.
    """
    rows = list(rows)
    elements = [(int(match.group(2)), row) for row in rows if (match := _of(job_id, _ELEMENT, row))]
    waiting = [(count_indices(match.group(2)), row) for row in rows if (match := _of(job_id, _WAITING, row))]
    plain = [row for row in rows if row.job_id == job_id]
    if not elements and not waiting:
        return _of_one_id(plain)
    queued = [row for row in rows if row.job_id.isdigit()] if only_this_job else plain
    # A row of the queue can only keep the array alive: accounting lags behind at the edges.
    alive = [row for row in queued if not row.is_final]
    return _join(job_id, elements, waiting, alive)


def _of_one_id(rows: list[Job]) -> Job | None:
    """Pick the row that speaks when accounting and queue have one each.

    Accounting may still show the first end of a requeued job, so a row that goes on wins; but not one that
    only cleans up (COMPLETING).
    """
    going_on = [row for row in rows if not row.is_final and states.normalise(row.state) != "COMPLETING"]
    # The accounting row (it has an exit code) knows more than the queue's.
    return max(going_on or rows, key=lambda row: row.exit_code is not None, default=None)


def _of(job_id: str, pattern: re.Pattern[str], row: Job) -> re.Match[str] | None:
    match = pattern.match(row.job_id)
    return match if match and match.group(1) == job_id else None


def _join(
    job_id: str, elements: list[tuple[int, Job]], waiting: list[tuple[int, Job]], alive: list[Job]
) -> Job:
    started = [row for _, row in elements]
    deciding = _deciding([*started, *(row for _, row in waiting), *alive])
    nodes = sorted({row.nodes for row in started if row.nodes})
    return replace(
        deciding,
        job_id=job_id,
        start_time=min((row.start_time for row in started if row.start_time is not None), default=None),
        end_time=max((row.end_time for row in started if row.end_time is not None), default=None)
        if deciding.is_final
        else None,
        elapsed=max((row.elapsed for row in started if row.elapsed is not None), default=None),
        nodes=",".join(nodes) or None,
        allocated_nodes=sum(row.allocated_nodes or 0 for row in started) or None,
        steps=(),
        elements=tuple(
            JobElement(index, row.job_id, row.state, row.exit_code, row.signal, row.elapsed, row.nodes)
            for index, row in sorted(elements, key=lambda pair: pair[0])
        ),
        waiting=sum(count for count, row in waiting if not row.is_final),
    )


def _deciding(candidates: list[Job]) -> Job:
    """Pick the row whose state speaks for the whole: running, then other active ones, then the first failed,
    then any.
    """
    rank = {states.Outcome.ACTIVE: 1, states.Outcome.FAILED: 2, states.Outcome.SUCCEEDED: 3}
    return min(
        candidates, key=lambda row: 0 if states.normalise(row.state) == "RUNNING" else rank[row.outcome]
    )
