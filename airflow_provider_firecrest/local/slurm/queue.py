"""Why a pending task does not start yet.

Knows: the rules of waiting (hold, begin, dependencies, array limit, partition limits). Must not know:
processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_provider_firecrest.local.slurm.config import SchedulerConfig
from airflow_provider_firecrest.local.slurm.dependencies import Condition, Verdict
from airflow_provider_firecrest.local.slurm.records import State, Task

# A task waiting for one of these is not "eligible": accounting lists only eligible tasks in a time window.
NOT_ELIGIBLE = frozenset(
    {"JobHeldUser", "BeginTime", "Dependency", "DependencyNeverSatisfied", "JobArrayTaskLimit"}
)

Lookup = Callable[[str], Sequence[Task]]


def waiting_reason(
    task: Task, now: float, config: SchedulerConfig, lookup: Lookup, active: Sequence[Task], running: int
) -> str | None:
    """Why the task must wait whatever CPUs are free; None when only CPUs are needed.

    Args:
        lookup: tasks of a job id; empty when nobody remembers such a job.
        active: tasks that have not ended.
        running: how many elements of the task's array run now.
    """
    if task.held:
        return "JobHeldUser"
    if now < task.not_before:
        return "BeginTime"
    verdict = dependency_verdict(task, lookup, active)
    if verdict is not Verdict.YES:
        return "Dependency" if verdict is Verdict.NOT_YET else "DependencyNeverSatisfied"
    return _limit_reason(task, config, running)


def _limit_reason(task: Task, config: SchedulerConfig, running: int) -> str | None:
    submission = task.submission
    partition = config.partition(submission.partition)
    max_time = partition.max_time if partition else None
    if max_time is not None and (submission.time_limit is None or submission.time_limit > max_time):
        return "PartitionTimeLimit"
    if submission.nodes > len(config.nodes):
        return "PartitionNodeLimit"
    if submission.cpus > config.cpus:
        return "PartitionConfig"
    if submission.array and submission.array.limit and running >= submission.array.limit:
        return "JobArrayTaskLimit"
    return None


def dependency_verdict(task: Task, lookup: Lookup, active: Sequence[Task]) -> Verdict:
    """How the task's ``--dependency`` stands."""
    if task.submission.dependency is None:
        return Verdict.YES
    return task.submission.dependency.verdict(lambda condition: _judge(condition, task, lookup, active))


def _judge(condition: Condition, task: Task, lookup: Lookup, active: Sequence[Task]) -> Verdict:
    if condition.kind == "singleton":
        return _singleton(task, active)
    others = lookup(condition.job_id)
    if condition.kind == "aftercorr":
        others = [other for other in others if other.index == task.index] or others
    if not others:
        # Measured: a job id the controller does not know counts as satisfied, not as an error.
        return Verdict.YES
    return _JUDGES[condition.kind](others)


def _singleton(task: Task, active: Sequence[Task]) -> Verdict:
    mine = task.submission
    for other in active:
        theirs = other.submission
        if theirs.job_id < mine.job_id and (theirs.name, theirs.user) == (mine.name, mine.user):
            return Verdict.NOT_YET
    return Verdict.YES


def _gone(task: Task) -> bool:
    """Ended, its processes too: until then Slurm calls it COMPLETING and dependants wait."""
    return task.ended and not task.occupying


def _after(others: Sequence[Task]) -> Verdict:
    begun = all(other.start_time is not None or other.ended for other in others)
    return Verdict.YES if begun else Verdict.NOT_YET


def _after_any(others: Sequence[Task]) -> Verdict:
    return Verdict.YES if all(_gone(other) for other in others) else Verdict.NOT_YET


def _after_ok(others: Sequence[Task]) -> Verdict:
    if any(other.ended and other.state is not State.COMPLETED for other in others):
        return Verdict.NEVER
    return _after_any(others)


def _after_not_ok(others: Sequence[Task]) -> Verdict:
    if _after_any(others) is Verdict.NOT_YET:
        return Verdict.NOT_YET
    return Verdict.YES if any(other.state is not State.COMPLETED for other in others) else Verdict.NEVER


_JUDGES: dict[str, Callable[[Sequence[Task]], Verdict]] = {
    "after": _after,
    "afterany": _after_any,
    "afterok": _after_ok,
    "afternotok": _after_not_ok,
    "aftercorr": _after_ok,
    "afterburstbuffer": _after_any,
}
