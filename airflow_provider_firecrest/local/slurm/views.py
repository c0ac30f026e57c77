"""What squeue, sacct and scontrol show of the same jobs, each in its own way.

Knows: which jobs each command lists, and what it prints for them. Must not know: who
merges the lists.

The differences are the point. squeue numbers array elements by their own ids and shows estimates of start and
end; sacct shows ``87_0`` and one ``87_[2-5%2]`` for elements without a record of their own, has steps, and in
a time window lists only jobs that were eligible to run at some moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from airflow_provider_firecrest.local.slurm.arrays import format_indices
from airflow_provider_firecrest.local.slurm.config import SchedulerConfig
from airflow_provider_firecrest.local.slurm.errors import ScontrolError
from airflow_provider_firecrest.local.slurm.filenames import NO_INDEX, FileNameValues
from airflow_provider_firecrest.local.slurm.launch import file_names, node_list
from airflow_provider_firecrest.local.slurm.records import State, Step, Task
from airflow_provider_firecrest.local.slurm.registry import Registry
from airflow_provider_firecrest.local.slurm.runner import Runner
from airflow_provider_firecrest.local.slurm.scheduler import Scheduler


@dataclass(frozen=True)
class StepRow:
    """One step in sacct. ``elapsed`` and ``suspended`` in seconds, moments in seconds since the epoch."""

    id: str
    name: str
    state: str
    exit_code: int
    signal: int
    elapsed: int
    start: int
    end: int | None
    suspended: int


@dataclass(frozen=True)
class Row:
    """One line of squeue or sacct; what a command does not print is None."""

    id: str
    name: str
    state: str
    reason: str
    exit_code: int | None
    signal: int | None
    elapsed: int
    start: int | None
    end: int | None
    suspended: int | None
    limit: int | None
    account: str
    node_count: int
    nodes: str
    partition: str
    user: str
    working_dir: str
    priority: int | None
    steps: list[StepRow] = field(default_factory=list)
    # The id as accounting and squeue's default format print it: ``87_0``, ``87_[2-5%2]``.
    display_id: str = ""


@dataclass(frozen=True)
class Filter:
    """Which jobs to list.

    Args:
        job_id: only this one (a job's, an array's, or an element's own number).
        user: only this user's; None for all.
        account: only those charged to one of these (comma-separated).
        name: only those with one of these names (comma-separated: a name with a comma is never found).
        since: only what ended after that moment or has not ended.
    """

    job_id: str | None = None
    user: str | None = None
    account: str | None = None
    name: str | None = None
    since: float | None = None

    def allows(self, task: Task) -> bool:
        """Whether the task's job is asked for."""
        job = task.submission
        return (
            (self.user is None or job.user == self.user)
            and (self.account is None or job.account in self.account.split(","))
            and (self.name is None or job.name in self.name.split(","))
        )


@dataclass(frozen=True)
class Metadata:
    """What ``scontrol show job`` and ``scontrol write batch_script`` tell."""

    job_id: str
    script: str
    stdin: str
    stdout: str
    stderr: str


def sacct(scheduler: Scheduler, wanted: Filter) -> list[Row]:
    """Accounting: all jobs, ended ones included."""
    now = time.time()

    def rows(registry: Registry, runner: Runner) -> list[Row]:
        tasks = [task for task in _tasks(registry, wanted) if _in_window(task, wanted.since)]
        return [_sacct_row(group, runner, scheduler.config, now) for group in _records(tasks)]

    return _ask(scheduler, rows)


def squeue(scheduler: Scheduler, wanted: Filter) -> list[Row]:
    """The queue: what is pending, running, or completing."""
    now = time.time()

    def rows(registry: Registry, _runner: Runner) -> list[Row]:
        live = [task for task in _tasks(registry, wanted) if not task.ended or task.occupying]
        free_at = min((_latest_end(task) for task in registry if task.occupying), default=math.inf)
        return [_squeue_row(group, scheduler.config, now, free_at) for group in _records(live)]

    return _ask(scheduler, rows)


def metadata(scheduler: Scheduler, job_id: str, user: str) -> Metadata:
    """A job's script and file names.

    Raises:
        ScontrolError: the controller does not know the job, or has forgotten it.
    """
    oldest = time.time() - scheduler.config.min_job_age

    def find(registry: Registry, _runner: Runner) -> Task | None:
        known = (task for task in registry.job(job_id) if not task.ended or (task.end_time or 0) >= oldest)
        return next(known, None)

    task = scheduler.read(find)
    if task is None:
        raise ScontrolError("slurm_load_jobs error: Invalid job id specified\n")
    job = task.submission
    # The record of an array itself is no element: its index is Slurm's "no value", useless in a file name.
    is_array = str(job.job_id) == job_id and job.array is not None
    index = NO_INDEX if is_array or task.index is None else task.index
    values = FileNameValues(job_id, str(job.job_id), index, job.name, job.user, scheduler.config.nodes[0])
    return Metadata(job_id, job.script if job.user == user else "", *file_names(job, values))


def cpus_in_use(scheduler: Scheduler) -> int:
    """CPUs occupied now."""

    def count(registry: Registry, _runner: Runner) -> int:
        return sum(task.submission.cpus for task in registry if task.occupying)

    return int(scheduler.read(count))


def _ask(scheduler: Scheduler, question: Callable[[Registry, Runner], list[Row]]) -> list[Row]:
    rows: list[Row] = scheduler.read(question)
    return rows


def _tasks(registry: Registry, wanted: Filter) -> list[Task]:
    tasks: Iterable[Task] = registry if wanted.job_id is None else registry.job(wanted.job_id)
    return [task for task in tasks if wanted.allows(task)]


def _in_window(task: Task, since: float | None) -> bool:
    if since is None:
        return True
    if task.eligible_time is None:
        return False
    return task.end_time is None or task.end_time >= since


def _records(tasks: list[Task]) -> list[list[Task]]:
    """One group per line: array elements that never got a number of their own share one, per state."""
    groups: dict[tuple[int, int | None, str], list[Task]] = {}
    for task in tasks:
        own = task.index if task.raw_id is not None else -1
        state = "" if task.raw_id is not None else task.state_text
        groups.setdefault((task.submission.job_id, own, state), []).append(task)
    return list(groups.values())


def _sacct_id(group: list[Task]) -> str:
    first = group[0]
    if first.raw_id is not None or first.submission.array is None:
        return first.display_id
    if len(group) == 1 and first.submission.array.limit is None:
        return first.display_id
    indices = [task.index for task in group if task.index is not None]
    return f"{first.submission.job_id}_[{format_indices(indices, first.submission.array.limit)}]"


def _sacct_row(group: list[Task], runner: Runner, config: SchedulerConfig, now: float) -> Row:
    task, job = group[0], group[0].submission
    row_id = _sacct_id(group)
    allocated = task.batch is not None
    start = None if task.start_time is None else int(task.start_time)
    return Row(
        id=row_id,
        name=job.name,
        state=task.state_text,
        reason=task.reason if task.state is State.PENDING else task.last_reason,
        exit_code=task.exit_code,
        signal=task.signal,
        elapsed=_elapsed(task.start_time, task.end_time, now, task.suspended(now)),
        start=start,
        end=None if task.end_time is None else int(task.end_time),
        suspended=int(task.suspended(now)),
        limit=job.time_limit,
        account=job.account,
        node_count=job.nodes if allocated else 0,
        nodes=node_list(config.nodes[: job.nodes]) if allocated else "None assigned",
        partition=job.partition,
        user=job.user,
        working_dir=job.working_dir,
        priority=_priority(task),
        steps=_step_rows(row_id, task, runner, now),
        display_id=row_id,
    )


def _step_rows(row_id: str, task: Task, runner: Runner, now: float) -> list[StepRow]:
    if task.batch is None:
        return []
    steps = [(f"{row_id}.batch", task.batch)]
    steps += [(f"{row_id}.{number}", step) for number, step in enumerate(runner.steps(task))]
    return [_step_row(step_id, step, task, now) for step_id, step in steps]


def _step_row(step_id: str, step: Step, task: Task, now: float) -> StepRow:
    suspended = task.suspended(now)
    running = step.state == "RUNNING"
    return StepRow(
        id=step_id,
        name=step.name,
        state=str(task.state) if running and task.state is State.SUSPENDED else step.state,
        exit_code=step.exit_code,
        signal=step.signal,
        elapsed=_elapsed(step.start, step.end, now, suspended if running else 0.0),
        start=int(step.start),
        end=None if step.end is None else int(step.end),
        suspended=int(suspended),
    )


def _squeue_row(group: list[Task], config: SchedulerConfig, now: float, free_at: float) -> Row:
    task, job = group[0], group[0].submission
    started = task.state is not State.PENDING
    start, end = _moments(task, free_at)
    return Row(
        id=str(task.raw_id if task.raw_id is not None else job.job_id),
        name=job.name,
        state="COMPLETING" if task.ended else str(task.state),
        reason=task.reason,
        exit_code=None,
        signal=None,
        elapsed=_elapsed(task.start_time, task.end_time, now, task.suspended(now)) if started else 0,
        start=start,
        end=end,
        suspended=None,
        limit=job.time_limit,
        account=job.account,
        node_count=job.nodes,
        nodes=node_list(config.nodes[: job.nodes]) if started else "",
        partition=job.partition,
        user=job.user,
        working_dir=job.working_dir,
        priority=_priority(task),
        display_id=_sacct_id(group),
    )


def _moments(task: Task, free_at: float) -> tuple[int | None, int | None]:
    """Start and end as squeue has them: of a running job the latest end, of a pending one estimates."""
    if task.state is State.PENDING:
        start = {"BeginTime": task.not_before, "Resources": free_at, "Priority": free_at}.get(
            task.reason, math.inf
        )
        end = start + (math.inf if task.submission.time_limit is None else task.submission.time_limit)
    else:
        start = math.inf if task.start_time is None else task.start_time
        end = task.end_time if task.end_time is not None else _latest_end(task)
    return (None if start == math.inf else int(start), None if end == math.inf else int(end))


def _latest_end(task: Task) -> float:
    limit = task.submission.time_limit
    return math.inf if limit is None or task.start_time is None else task.start_time + limit


def _priority(task: Task) -> int:
    return 0 if task.held else task.submission.priority


def _elapsed(start: float | None, end: float | None, now: float, suspended: float) -> int:
    if start is None:
        return 0
    return max(int(now if end is None else end) - int(start) - int(suspended), 0)
