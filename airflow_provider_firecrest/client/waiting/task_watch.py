"""What a waiting Airflow task makes of the answers about FirecREST v1's tasks: news, an end, or "unknown".

Pure but for the question itself, which is a flow for both drivers. Keeps only statuses: the data of a task
can hold upload forms and URLs, which are credentials, so they are dropped as soon as an answer is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConfigurationError, NotFoundError, PermissionDeniedError, redact
from ..flow import Flow
from ..models import tasks
from .answered_time import AnsweredTime

UNKNOWN_FOR = 60.0
"""Seconds for which every answer must have said "unknown" or "not yours" before that is believed."""

UNKNOWN_ANSWERS = 3

INVALIDATED = "302"
"""A download that somebody said is not needed any more: it does not become anything else."""

RETRIED = "115"
"""The server failed to copy an upload and tries again at each of its intervals, without saying why."""

RETRIED_FOR = 1800.0
"""Seconds of such attempts after which a transfer counts as failed: a full quota does not go away by
itself."""

_MAX_WORDS = 2000


@dataclass(frozen=True)
class Seen:
    """What may be told and stored of a task: nothing of its data but the id of a job it submitted."""

    task_id: str
    status: str
    meaning: str
    reason: str | None = None
    job_id: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in tasks.FINAL or self.status == INVALIDATED

    @property
    def succeeded(self) -> bool:
        return self.status in tasks.SUCCEEDED

    def __str__(self) -> str:
        text = f"Task {self.task_id}: {self.status} ({self.meaning})"
        return f"{text}. It says: {self.reason}" if self.reason else text

    @classmethod
    def of(cls, task: tasks.Task) -> Seen:
        """Keep what is no secret."""
        data = task.data if task.status == "200" and isinstance(task.data, dict) else {}
        return cls(
            task_id=task.task_id,
            status=task.status,
            meaning=task.meaning,
            reason=redact(task.reason)[:_MAX_WORDS] if task.reason else None,
            job_id=str(data["jobid"]) if data.get("jobid") else None,
        )


@dataclass(frozen=True)
class TaskAnswer:
    """One answer: what is known of each task, and why of the others nothing is."""

    seen: Mapping[str, Seen]
    unknown: Mapping[str, str]


def tasks_flow(api: Any, task_ids: Iterable[str]) -> Flow[TaskAnswer]:
    """Ask for tasks: all at once, and one by one for those that the list does not show, to hear why.

    :param api: the client's ``api``.
    :param task_ids: ids.
    :raises ConfigurationError: the connection leads to FirecREST v2, which has no tasks.
    :endpoint: GET /tasks?tasks=a,b, GET /tasks/{task_id}
    """
    if api.generation != 1:
        raise ConfigurationError(
            "The connection leads to FirecREST v2, which has no tasks; wait for the job with"
            " FirecrestJobSensor."
        )
    wanted = list(task_ids)
    found: dict[str, Seen] = {}
    unknown: dict[str, str] = {}
    if len(wanted) > 1:
        listed = yield from api.tasks(wanted)
        found = {key: Seen.of(task) for key, task in listed.items() if key in wanted}
    for each in wanted:
        if each in found:
            continue
        try:
            found[each] = Seen.of((yield from api.task(each)))
        except NotFoundError:
            unknown[each] = "FirecREST does not know it, or has forgotten it (after a day or a month)"
        except PermissionDeniedError:
            unknown[each] = "it is another user's"
    return TaskAnswer(found, unknown)


class TaskWatch:
    """Follows one or many tasks.

    :param task_ids: ids.
    :param stuck_after: seconds without a change of status after which a task counts as stuck: v1 leaves tasks
        hanging for ever when one of its services was restarted. None waits on.
    :param patient: False believes the first answer that says "unknown".
    """

    def __init__(
        self,
        task_ids: Iterable[str],
        *,
        stuck_after: float | None = None,
        patient: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.task_ids = [str(each) for each in task_ids]
        self.seen: dict[str, Seen] = {}
        self._stuck_after = stuck_after
        self._patient = patient
        self._time = AnsweredTime(clock)
        self._changed: dict[str, float] = {}
        self._retried_since: dict[str, float] = {}
        self._unknown: dict[str, tuple[float, int, str]] = {}

    def observe(self, answer: TaskAnswer) -> list[str]:
        """Take in one answer.

        :returns: one line per change worth telling the user.
        """
        self._time.answered()
        news = []
        for task_id in self.task_ids:
            seen = answer.seen.get(task_id)
            if seen is None:
                since, answers, _ = self._unknown.get(task_id, (self._time.now, 0, ""))
                self._unknown[task_id] = (since, answers + 1, answer.unknown.get(task_id, "unknown"))
            elif self._changed_to(task_id, seen):
                news.append(f"{seen}.")
        return news

    def unanswered(self) -> None:
        """Take note of a question that failed: an outage makes no task stuck or unknown."""
        self._time.unanswered()

    def _changed_to(self, task_id: str, seen: Seen) -> bool:
        self._unknown.pop(task_id, None)
        if seen.status == RETRIED:
            self._retried_since.setdefault(task_id, self._time.now)
        before = self.seen.get(task_id)
        self.seen[task_id] = seen
        if before is not None and before.status == seen.status:
            return False
        self._changed[task_id] = self._time.now
        return True

    @property
    def pending(self) -> list[str]:
        """Ids that are not over."""
        return [each for each in self.task_ids if each not in self.seen or not self.seen[each].is_over]

    @property
    def failed(self) -> list[Seen]:
        """Tasks that are over and have not succeeded."""
        return [each for each in self.seen.values() if each.is_over and not each.succeeded]

    @property
    def problem(self) -> str | None:
        """Why waiting on is pointless, or None: a task that is not there for us, or one that hangs."""
        now = self._time.now
        for task_id, (since, answers, why) in self._unknown.items():
            long = now - since >= UNKNOWN_FOR and answers >= UNKNOWN_ANSWERS
            if long or not self._patient:
                return f"Task {task_id} cannot be followed: {why}."
        if self._stuck_after is None:
            return None
        for task_id in self.pending:
            if (seen := self.seen.get(task_id)) and (stuck := self._stuck(seen, now)):
                return stuck
        return None

    def _stuck(self, seen: Seen, now: float) -> str | None:
        retried = now - self._retried_since.get(seen.task_id, now)
        if retried >= RETRIED_FOR:
            return (
                f"Task {seen.task_id}: FirecREST has tried for {retried / 60:.0f} minutes to copy the file to"
                " the system, and does not say why it fails. Look at the quota and the target's directory."
            )
        quiet = now - self._changed[seen.task_id]
        if self._stuck_after is not None and quiet >= self._stuck_after:
            return (
                f"{seen} for {quiet / 60:.0f} minutes; FirecREST v1 leaves tasks hanging when one of its"
                " services was restarted."
            )
        return None

    @property
    def done(self) -> bool:
        """True when all are over."""
        return not self.pending

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return what is known of the tasks as plain JSON without secrets, in the order of their ids."""
        return [asdict(self.seen[each]) for each in self.task_ids if each in self.seen]


def seen_from_dict(fields: Mapping[str, Any]) -> Seen:
    """Return what :meth:`TaskWatch.as_dicts` wrote down; fields of other versions are ignored."""
    return Seen(**{key: value for key, value in fields.items() if key in Seen.__dataclass_fields__})
