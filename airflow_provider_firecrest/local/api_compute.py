"""FirecREST v2 ``/compute``: jobs of the local scheduler in the words of the real server.

Knows: request and answer shapes, and how the server merges what squeue and sacct say. Must not know: how jobs
run.
"""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.concurrency import run_in_threadpool

from airflow_provider_firecrest.local.access import System, User
from airflow_provider_firecrest.local.errors import ApiError, slurm_failure
from airflow_provider_firecrest.local.faults import BATCH_ACTIONS
from airflow_provider_firecrest.local.shell import TIMED_OUT
from airflow_provider_firecrest.local.slurm import (
    SbatchError,
    ScancelError,
    Scheduler,
    ScontrolError,
    SrunError,
)
from airflow_provider_firecrest.local.slurm.views import Filter, Row, StepRow, metadata, sacct, squeue
from airflow_provider_firecrest.local.state import state_of

_FAILED = "Error executing Slurm command."
_NOT_FOUND = "Job not found."
# The separator of squeue's and sacct's output: a field that holds it makes the server misread the line.
_SEPARATOR = "|"

JobId = Annotated[str, PathParameter(pattern="^[a-zA-Z0-9]+$", description="Job id")]


class JobsTimeWindow(StrEnum):
    """How far back a list of jobs goes."""

    one_hour = "1h"
    eight_hours = "8h"
    one_day = "24h"
    three_days = "3d"
    one_week = "7d"


_SECONDS = {"1h": 3600, "8h": 8 * 3600, "24h": 86400, "3d": 3 * 86400, "7d": 7 * 86400}


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class JobDescriptionModel(_Body):
    """What to run. Names are camelCase, or the same in snake_case; unknown fields are ignored."""

    name: str | None = None
    account: str | None = None
    reservation: str | None = None
    partition: str | None = None
    working_directory: str
    standard_input: str | None = None
    standard_output: str | None = None
    standard_error: str | None = None
    env: dict[str, str] | list[str] = Field(default={"F7T_version": "v2.0.0"})
    constraints: str | None = None
    script: str | None = None
    script_path: str | None = None


class PostJobSubmitRequest(_Body):
    """Body of a submission."""

    job: JobDescriptionModel


class PostJobAttachRequest(_Body):
    """Body of an attach."""

    command: str | None = None


def compute_router() -> APIRouter:
    """Routes under ``/compute/{system_name}``; needs ``app.state.firecrest`` and ``request.state.user``."""
    router = APIRouter(prefix="/compute/{system_name}", tags=["compute"])
    router.post("/jobs", status_code=201)(post_job_submit)
    router.get("/jobs")(get_jobs)
    router.get("/jobs/{job_id}")(get_job)
    router.get("/jobs/{job_id}/metadata")(get_job_metadata)
    router.put("/jobs/{job_id}/attach", status_code=204, response_model=None)(attach)
    router.delete("/jobs/{job_id}", status_code=204, response_model=None)(delete_job_cancel)
    return router


async def post_job_submit(
    request: Request, user: User, system: System, body: PostJobSubmitRequest
) -> dict[str, str]:
    """``sbatch``; the script is in the body or in a file of the cluster, which wins when both are given."""
    job = body.job
    state = state_of(request)
    if isinstance(job.env, list):
        raise _unforeseen("'list' object has no attribute 'items'")
    if not job.script and not job.script_path:
        # sbatch reads the script from its standard input, which nobody ever closes.
        await asyncio.sleep(state.config.ops_timeout)
        raise ApiError(408, TIMED_OUT)
    idle = state.faults.take(BATCH_ACTIONS, request.method, request.url.path) is not None
    return {"jobId": await run_in_threadpool(_submit, state.scheduler, job, user, idle)}


def _submit(scheduler: Scheduler, job: JobDescriptionModel, user: str, idle: bool) -> str:
    assert isinstance(job.env, dict)
    try:
        script = _script_file(job.script_path) if job.script_path else job.script or ""
        return scheduler.submit(
            without_commands(script) if idle else script,
            user=user,
            working_dir=job.working_directory,
            name=job.name,
            account=job.account,
            partition=job.partition,
            reservation=job.reservation,
            constraints=job.constraints,
            env=job.env,
            stdin=job.standard_input,
            stdout=job.standard_output,
            stderr=job.standard_error,
            default_name=Path(job.script_path).name if job.script_path else "sbatch",
        )
    except SbatchError as error:
        raise slurm_failure(error) from error


def without_commands(script: str) -> str:
    """What is left of a script that does nothing: its comments, directives among them (a fault)."""
    return "".join(line for line in script.splitlines(keepends=True) if line.startswith("#"))


def _script_file(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SbatchError(f"sbatch: error: Unable to open file {path}\n") from error


def get_jobs(
    request: Request,
    user: User,
    system: System,
    allusers: bool = False,
    account: str | None = None,
    name: Annotated[str | None, Query(max_length=235)] = None,
    time_window: JobsTimeWindow = JobsTimeWindow.one_day,
) -> dict[str, Any]:
    """All jobs of a time window: squeue and sacct, merged."""
    scheduler = state_of(request).scheduler
    owner = None if allusers else user
    queued = squeue(scheduler, Filter(user=owner, account=account, name=name))
    since = time.time() - _SECONDS[time_window]
    past = sacct(scheduler, Filter(user=owner, account=account, name=name, since=since))
    return {"jobs": [_job(row, scheduler) for row in _merged(past, queued)]}


def get_job(request: Request, user: User, system: System, job_id: JobId) -> dict[str, Any]:
    """One job, or all rows of one array. Anybody may ask about anybody's job."""
    scheduler = state_of(request).scheduler
    if not job_id.isdecimal():
        text = f"sacct: fatal: Bad job/step specified: {job_id}\n"
        raise ApiError(500, _FAILED, caused_by=[_unexpected(1, text)])
    if int(job_id) == 0:
        raise ApiError(500, _FAILED)
    wanted = Filter(job_id=str(int(job_id)))
    rows = _merged(sacct(scheduler, wanted), squeue(scheduler, wanted))
    if not rows:
        raise ApiError(404, _NOT_FOUND)
    return {"jobs": [_job(row, scheduler) for row in rows]}


def get_job_metadata(request: Request, user: User, system: System, job_id: JobId) -> dict[str, Any]:
    """``scontrol show job`` and ``write batch_script``: only while the controller remembers the job."""
    try:
        found = metadata(state_of(request).scheduler, job_id, user)
    except ScontrolError:
        raise ApiError(404, _NOT_FOUND) from None
    job = {
        "jobId": found.job_id,
        "script": found.script,
        "standardInput": found.stdin,
        "standardOutput": found.stdout,
        "standardError": found.stderr,
    }
    return {"jobs": [job]}


def attach(request: Request, user: User, system: System, job_id: JobId, body: PostJobAttachRequest) -> None:
    """``srun --overlap``: one more step of a running job, within the command time limit."""
    state = state_of(request)
    if body.command is None:
        raise _unforeseen("sequence item 3: expected str instance, NoneType found")
    try:
        state.scheduler.attach(job_id, body.command, user=user, timeout=state.config.ops_timeout)
    except SrunError as error:
        raise slurm_failure(error) from error
    except TimeoutError:
        raise ApiError(408, TIMED_OUT) from None


def delete_job_cancel(request: Request, user: User, system: System, job_id: JobId) -> None:
    """``scancel``. Every refusal is a 500 with scancel's words, never a 404."""
    try:
        state_of(request).scheduler.cancel(job_id, user=user)
    except ScancelError as error:
        raise slurm_failure(error) from error


def _unforeseen(text: str) -> ApiError:
    """What the real server shows of an exception in a case it forgot."""
    return ApiError(500, str((text,)), anonymous=True)


def _unexpected(exit_status: int, text: str) -> str:
    return f"Unexpected Slurm command response. exit_status:{exit_status} std_err:{text}"


def _merged(past: list[Row], queued: list[Row]) -> list[Row]:
    """The server's merge: sacct's rows, and those of squeue with ids sacct did not print.

    Of a pending job squeue's row is taken. Array elements have other ids there, so they appear twice.

    Raises:
        ApiError: 500: a row the server cannot read has steps, and these belong to no row then.
    """
    if any(_unreadable(row) and row.steps for row in past):
        raise ApiError(500, _FAILED)
    rows = {row.id: row for row in past if not _unreadable(row)}
    for row in queued:
        if not _unreadable(row) and (row.id not in rows or row.state == "PENDING"):
            rows[row.id] = row
    return list(rows.values())


def _unreadable(row: Row) -> bool:
    return _SEPARATOR in row.name or _SEPARATOR in row.working_dir


def _job(row: Row, scheduler: Scheduler) -> dict[str, Any]:
    return {
        "jobId": row.id,
        "name": row.name,
        "status": _status(row, row.reason),
        "tasks": [_task(step) for step in row.steps],
        "time": _time(row, row.limit),
        "account": row.account,
        "allocationNodes": row.node_count,
        "cluster": scheduler.config.cluster,
        "group": row.user,
        "nodes": row.nodes,
        "partition": row.partition,
        "killRequestUser": None,
        "user": row.user,
        "workingDirectory": row.working_dir,
        "priority": row.priority,
    }


def _task(step: StepRow) -> dict[str, Any]:
    return {"id": step.id, "name": step.name, "status": _status(step, None), "time": _time(step, None)}


def _status(row: Row | StepRow, reason: str | None) -> dict[str, Any]:
    return {
        "state": row.state,
        "stateReason": reason,
        "exitCode": row.exit_code,
        "interruptSignal": row.signal,
    }


def _time(row: Row | StepRow, limit: int | None) -> dict[str, Any]:
    return {
        "elapsed": row.elapsed,
        "start": row.start,
        "end": row.end,
        "suspended": row.suspended,
        "limit": limit,
    }
