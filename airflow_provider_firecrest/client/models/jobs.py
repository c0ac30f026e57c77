"""Slurm jobs, as the scheduler and its accounting tell of them. Arrays are merged in ``arrays``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import states
from .reading import integer, text

# PBS has one letter for "finished", however it went; the exit code tells (Slurm sends whole words).
_PBS_FINISHED = ("F", "X")


@dataclass(frozen=True)
class JobStep:
    """One step of a job (`sacct` rows like ``1.batch``, ``1.0``). A failed step does not fail its job."""

    step_id: str
    name: str
    state: str
    exit_code: int | None = None
    signal: int | None = None
    elapsed: int | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> JobStep:
        status, time = row.get("status") or {}, row.get("time") or {}
        return cls(
            step_id=str(row.get("id", "")),
            name=str(row.get("name", "")),
            state=str(status.get("state", "")),
            exit_code=integer(status.get("exitCode")),
            signal=integer(status.get("interruptSignal")),
            elapsed=integer(time.get("elapsed")),
        )


@dataclass(frozen=True)
class JobElement:
    """One element of a job array."""

    task_index: int
    job_id: str
    state: str
    exit_code: int | None = None
    signal: int | None = None
    elapsed: int | None = None
    nodes: str | None = None


@dataclass(frozen=True)
class Job:
    """One Slurm job; an array is one `Job` with its elements.

    :ivar job_id: the id that the submit returned.
    :ivar state: Slurm's word for a single job; for an array the state that decides (active before failed
        before succeeded).
    :ivar state_reason: Slurm's reason (`Dependency`, `BeginTime`, ...), None when there is none.
    :ivar exit_code: of the batch script; meaningless for CANCELLED and TIMEOUT (0 there). Of the first failed
        element for arrays.
    :ivar signal: the signal that ended it, 0 for none.
    :ivar submit_time: never sent by v2 as such; None.
    :ivar start_time: seconds since the epoch; None while pending (the scheduler's estimate is left out).
    :ivar elapsed: seconds run so far; the longest element's for arrays.
    :ivar time_limit: seconds.
    :ivar elements: one per array element known so far; empty for a plain job.
    :ivar waiting: number of array elements that have not started.
    """

    job_id: str
    name: str
    state: str
    state_reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    user: str | None = None
    account: str | None = None
    partition: str | None = None
    nodes: str | None = None
    allocated_nodes: int | None = None
    working_dir: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    elapsed: int | None = None
    time_limit: int | None = None
    steps: tuple[JobStep, ...] = ()
    elements: tuple[JobElement, ...] = ()
    waiting: int = 0

    @property
    def outcome(self) -> states.Outcome:
        return states.outcome(self.state)

    @property
    def is_final(self) -> bool:
        return self.outcome is not states.Outcome.ACTIVE

    @property
    def succeeded(self) -> bool:
        return self.outcome is states.Outcome.SUCCEEDED

    @property
    def is_array(self) -> bool:
        return bool(self.elements) or self.waiting > 0

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> Job:
        """Read one row of `GET /compute/{system}/jobs`; ``arrays.merge`` joins the rows of an array."""
        status, time = row.get("status") or {}, row.get("time") or {}
        state = status.get("state")
        state = " ".join(state) if isinstance(state, list) else str(state or "")
        if state in _PBS_FINISHED:
            state = "COMPLETED" if integer(status.get("exitCode")) == 0 else "FAILED"
        pending = states.normalise(state) == "PENDING"
        final = states.is_final(state)
        reason = text(status.get("stateReason"))
        return cls(
            job_id=str(row.get("jobId", "")),
            name=str(row.get("name") or ""),
            state=state,
            state_reason=None if reason in (None, "None", "") else reason,
            exit_code=integer(status.get("exitCode")),
            signal=integer(status.get("interruptSignal")),
            user=text(row.get("user")),
            account=text(row.get("account")),
            partition=text(row.get("partition")) or None,
            nodes=None if row.get("nodes") in (None, "", "None assigned") else str(row["nodes"]),
            allocated_nodes=integer(row.get("allocationNodes")),
            working_dir=text(row.get("workingDirectory")) or None,
            # squeue gives estimates in the future for what has not happened yet.
            start_time=None if pending else integer(time.get("start")),
            end_time=integer(time.get("end")) if final else None,
            elapsed=integer(time.get("elapsed")),
            time_limit=integer(time.get("limit")),
            steps=tuple(JobStep.from_v2(step) for step in row.get("tasks") or ()),
        )


@dataclass(frozen=True)
class JobMetadata:
    """What the scheduler remembers of a job's script and streams (about five minutes after its end on older
    Slurm).
    """

    job_id: str
    script: str | None = field(default=None, repr=False)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None

    @classmethod
    def from_v2(cls, row: Mapping[str, Any]) -> JobMetadata:
        return cls(
            job_id=str(row.get("jobId", "")),
            script=text(row.get("script")),
            stdin=text(row.get("standardInput")),
            stdout=text(row.get("standardOutput")),
            stderr=text(row.get("standardError")),
        )
