"""All jobs of the cluster, and how they are found.

Knows: ids: a job's own, an array's, an element's ``87_3`` and its own number (raw id). Must not know:
scheduling.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_firecrest.local.slurm.records import Submission, Task


class Registry:
    """Every task there ever was. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self) -> None:
        self._jobs: dict[int, list[Task]] = {}
        self._by_raw_id: dict[int, Task] = {}
        self._next_id = 1
        self._accepted = 0

    def __iter__(self) -> Iterator[Task]:
        for tasks in self._jobs.values():
            yield from tasks

    def next_id(self) -> int:
        """A job number nobody has had."""
        number = self._next_id
        self._next_id += 1
        return number

    def next_priority(self) -> int:
        """Slurm's basic priority: the older, the higher, from just below 2**32 down."""
        self._accepted += 1
        return 4294901760 - self._accepted

    def add(self, submission: Submission) -> list[Task]:
        """Make the tasks of a job; those of an array get their own numbers when they start."""
        if submission.array is None:
            task = Task(submission, raw_id=submission.job_id, not_before=submission.begin)
            self._by_raw_id[submission.job_id] = task
            tasks = [task]
        else:
            tasks = [Task(submission, index=i, not_before=submission.begin) for i in submission.array.indices]
        self._jobs[submission.job_id] = tasks
        return tasks

    def number(self, task: Task) -> None:
        """Give an array element its own job number: the last one to start keeps the array's."""
        if task.raw_id is not None:
            return
        job_id = task.submission.job_id
        others = (other for other in self._jobs[job_id] if other is not task)
        last = all(other.raw_id is not None or other.ended for other in others)
        task.raw_id = job_id if last and job_id not in self._by_raw_id else self.next_id()
        self._by_raw_id[task.raw_id] = task

    def job(self, job_id: str) -> list[Task]:
        """Tasks of a job or an array; one task for ``87_3`` or an element's own number."""
        base, underscore, index = job_id.partition("_")
        if not base.isdecimal() or (underscore and not index.isdecimal()):
            return []
        if underscore:
            return [task for task in self._jobs.get(int(base), []) if task.index == int(index)]
        if int(base) in self._jobs:
            return list(self._jobs[int(base)])
        task = self._by_raw_id.get(int(base))
        return [task] if task is not None else []
