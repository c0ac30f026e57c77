"""One pass over the queue: who starts now, who waits, and for what.

Knows: CPUs, partitions, the order of jobs. Must not know: how jobs are submitted, threads, locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from airflow_provider_firecrest.local.slurm import queue
from airflow_provider_firecrest.local.slurm.config import SchedulerConfig
from airflow_provider_firecrest.local.slurm.records import State, Task
from airflow_provider_firecrest.local.slurm.registry import Registry
from airflow_provider_firecrest.local.slurm.runner import Runner


class Dispatcher:
    """Starts what can start. The caller holds the scheduler's lock.

    Args:
        config: size of the cluster.
        registry: gives array elements their numbers.
        runner: starts tasks, and ends those over their time.
        lookup: tasks of a job id, for dependencies.
    """

    def __init__(
        self, config: SchedulerConfig, registry: Registry, runner: Runner, lookup: queue.Lookup
    ) -> None:
        self._config = config
        self._registry = registry
        self._runner = runner
        self._lookup = lookup

    def run(self, active: Sequence[Task], now: float) -> float:
        """One pass over everything that has not ended; returns when the next is due if nothing changes."""
        wake_at = self._runner.enforce_limits(active, now)
        occupying = [task.submission for task in active if task.occupying]
        free = self._config.cpus - sum(job.cpus for job in occupying)
        running = Counter(job.job_id for job in occupying)
        full_partitions: set[str] = set()
        for task in active:
            partition, cpus = task.submission.partition, task.submission.cpus
            if task.state is not State.PENDING or task.occupying:
                continue
            if task.reason == "Priority" and not task.held and partition in full_partitions:
                continue  # nothing has changed for it, and there may be a thousand like it
            if self._must_wait(task, active, now, running[task.submission.job_id]):
                wake_at = min(wake_at, self._wakes_at(task, now))
            elif partition in full_partitions:
                task.wait_for("Priority")
            elif cpus > free:
                # First come, first served within a partition: nobody overtakes the job that waits for CPUs.
                full_partitions.add(partition)
                task.wait_for("Resources")
            else:
                free -= cpus
                running[task.submission.job_id] += 1
                self._registry.number(task)
                self._runner.start(task, now)
        return wake_at

    @staticmethod
    def _wakes_at(task: Task, now: float) -> float:
        """When to look again: at the begin time; at once when a task was cancelled, for its dependants."""
        if task.ended:
            return now
        return task.not_before if task.reason == "BeginTime" else float("inf")

    def _must_wait(self, task: Task, active: Sequence[Task], now: float, running: int) -> bool:
        reason = queue.waiting_reason(task, now, self._config, self._lookup, active, running)
        if reason not in queue.NOT_ELIGIBLE and task.eligible_time is None:
            task.eligible_time = now
        if reason is None:
            return False
        if reason == "DependencyNeverSatisfied":
            task.wait_for("Dependency")
            if task.submission.kill_on_invalid_dependency:
                # No user is named: the controller itself cancels the job.
                task.state, task.end_time = State.CANCELLED, now
        task.wait_for(reason)
        return True
