"""What the scheduler remembers about a job: what was submitted, and how each of its tasks fares.

Knows: data. Must not know: when anything happens; the scheduler writes these records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airflow_provider_firecrest.local.slurm.arrays import ArraySpec
from airflow_provider_firecrest.local.slurm.dependencies import Dependency


class State(StrEnum):
    """Job states, in Slurm's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMEOUT, State.NODE_FAIL})

# Reasons accounting keeps after a job has started; the others are shown as "None" from then on.
_KEPT_REASONS_TEXT = """
    Dependency BeginTime JobHeldUser JobArrayTaskLimit PartitionNodeLimit PartitionConfig PartitionTimeLimit
"""
_KEPT_REASONS = frozenset(_KEPT_REASONS_TEXT.split())


@dataclass(frozen=True)
class Submission:
    """One accepted ``sbatch``. ``time_limit`` in seconds (None: unlimited); file names are still patterns;
    ``room`` in bytes is what fits into a file that the job writes (None: unlimited).
    """

    job_id: int
    name: str
    user: str
    account: str
    partition: str
    working_dir: str
    script: str
    env: dict[str, str]
    home: str
    priority: int
    submit_time: float
    time_limit: int | None
    nodes: int = 1
    ntasks: int = 1
    cpus_per_task: int = 1
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    array: ArraySpec | None = None
    dependency: Dependency | None = None
    begin: float = 0.0
    requeue: bool = True
    kill_on_invalid_dependency: bool = False
    append: bool = False
    comment: str = ""
    room: int | None = None

    @property
    def cpus(self) -> int:
        """CPUs one task of the job occupies."""
        return max(self.ntasks * self.cpus_per_task, self.nodes)


@dataclass
class Step:
    """One job step. ``state`` as accounting shows it."""

    name: str
    start: float
    end: float | None = None
    state: str = "RUNNING"
    exit_code: int = 0
    signal: int = 0


@dataclass
class Task:
    """One job, or one element of an array: the thing that waits, runs and ends."""

    submission: Submission
    index: int | None = None
    raw_id: int | None = None
    state: State = State.PENDING
    reason: str = "None"
    last_reason: str = "None"
    held: bool = False
    not_before: float = 0.0
    eligible_time: float | None = None
    start_time: float | None = None
    end_time: float | None = None
    exit_code: int = 0
    signal: int = 0
    cancelled_by: int | None = None
    restarts: int = 0
    pid: int | None = None
    pids: list[int] = field(default_factory=list)
    batch: Step | None = None
    steps: list[Step] = field(default_factory=list)
    deadline: float = math.inf
    kill_at: float = math.inf
    occupying: bool = False
    requeueing: bool = False
    suspended_at: float | None = None
    suspended_seconds: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether the state is final (processes may still be dying: see ``occupying``)."""
        return self.state in ENDED

    @property
    def display_id(self) -> str:
        """The id accounting shows: ``87`` or ``87_3``."""
        if self.index is None:
            return str(self.submission.job_id)
        return f"{self.submission.job_id}_{self.index}"

    @property
    def key(self) -> str:
        """Name of this run towards the node daemon."""
        return f"{self.raw_id}.{self.restarts}"

    @property
    def state_text(self) -> str:
        """The state as sacct prints it: a cancellation carries the user's number."""
        if self.state is State.CANCELLED and self.cancelled_by is not None:
            return f"CANCELLED by {self.cancelled_by}"
        return str(self.state)

    def wait_for(self, reason: str) -> None:
        """Note why the task is still pending."""
        self.reason = reason
        if reason in _KEPT_REASONS:
            self.last_reason = reason

    def suspended(self, now: float) -> float:
        """Seconds spent suspended so far."""
        return self.suspended_seconds + (now - self.suspended_at if self.suspended_at is not None else 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for tests: the scheduler's own view, independent of every API."""
        return {
            "id": str(self.raw_id if self.raw_id is not None else self.display_id),
            "display_id": self.display_id,
            "array_id": str(self.submission.job_id) if self.index is not None else None,
            "task_index": self.index,
            "name": self.submission.name,
            "user": self.submission.user,
            "state": str(self.state),
            "reason": self.reason,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "cancelled_by": self.cancelled_by,
            "submit_time": self.submission.submit_time,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "pids": list(self.pids),
            "processes_left": self.occupying,
            "restarts": self.restarts,
            "working_dir": self.submission.working_dir,
        }
