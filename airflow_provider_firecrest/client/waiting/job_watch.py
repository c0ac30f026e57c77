"""What a waiting task makes of the answers about its jobs: news, an end, or "unknown".

Pure: no I/O, no Airflow. Must not take "unknown" for "ended": a job can be missing from every answer just
after its submit, while the accounting is away, or for a moment between two states.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import limits
from ..job_json import job_as_dict
from ..models import Job, JobElement
from ..states import is_final
from .answered_time import AnsweredTime

LOST_AFTER = 600.0
"""Seconds for which every answer must have said "unknown" before a job counts as lost."""

LOST_ANSWERS = 5
"""Number of answers that must have said so: an outage of ten minutes with two answers proves nothing."""


class JobWatch:
    """Follows one or many jobs.

    :param job_ids: the ids that submits returned.
    :param submitted_at: seconds since the epoch of the submit, or None when that was long ago.
    :param unseen_for: seconds of "unknown" after which a job counts as lost that this watch has never seen;
        default: :data:`LOST_AFTER`. Less where a wrong id is likelier than a watch that was restarted.
    """

    def __init__(
        self,
        job_ids: Iterable[str],
        *,
        submitted_at: float | None = None,
        unseen_for: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.job_ids = [str(each) for each in job_ids]
        self.jobs: dict[str, Job] = {}
        self._clock = clock
        self._time = AnsweredTime(clock)
        self._hidden_until = 0.0 if submitted_at is None else submitted_at + limits.JOB_VISIBLE_WITHIN
        self._unseen_for = unseen_for
        self._unknown: dict[str, tuple[float, int]] = {}

    def observe(self, answer: Mapping[str, Job]) -> list[str]:
        """Take in one answer.

        :returns: one line per change worth telling the user.
        """
        self._time.answered()
        return [line for job_id in self.job_ids if (line := self._observe_one(job_id, answer.get(job_id)))]

    def unanswered(self) -> None:
        """Take note of a question that failed; the time until the next answer is no absence."""
        self._time.unanswered()

    @property
    def pending(self) -> list[str]:
        """Ids that are neither final nor lost."""
        lost = set(self.lost)
        return [each for each in self.job_ids if each not in lost and not self._final(each)]

    @property
    def lost(self) -> list[str]:
        """Ids that every answer has called unknown for :data:`LOST_AFTER` seconds."""
        return [
            job_id
            for job_id, (since, answers) in self._unknown.items()
            if answers >= LOST_ANSWERS and self._time.now - since >= self._patience_with(job_id)
        ]

    @property
    def done(self) -> bool:
        """True when there is nothing to wait for any more."""
        return not self.pending

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return what is known of the jobs as plain JSON, in the order of their ids."""
        return [job_as_dict(self.jobs[each]) for each in self.job_ids if each in self.jobs]

    def _final(self, job_id: str) -> bool:
        return job_id in self.jobs and self.jobs[job_id].is_final

    def _patience_with(self, job_id: str) -> float:
        never_seen = job_id not in self.jobs
        return self._unseen_for if never_seen and self._unseen_for is not None else LOST_AFTER

    def _observe_one(self, job_id: str, job: Job | None) -> str | None:
        if job is None:
            # The minute after the submit does not count.
            hidden_for = max(0.0, self._hidden_until - self._clock())
            since, answers = self._unknown.get(job_id, (self._time.now + hidden_for, 0))
            self._unknown[job_id] = (since, answers + 1)
            return None
        self._unknown.pop(job_id, None)
        before = self.jobs.get(job_id)
        self.jobs[job_id] = job
        line = describe(job)
        return line if before is None or describe(before) != line else None


def describe(job: Job) -> str:
    """Return one line on a job's state, without anything that changes all the time."""
    text = f"Job {job.job_id} ({job.name}): {job.state}"
    if job.state_reason and not job.is_final:
        text += f" ({job.state_reason})"
    if job.is_array:
        ended = sum(_ended(each) for each in job.elements)
        text += f", {ended} of {len(job.elements) + job.waiting} elements ended"
    if job.nodes and not job.is_array:
        text += f" on {job.nodes}"
    return text


def _ended(element: JobElement) -> bool:
    return is_final(element.state)
