"""Running a task's work beside the request that asked for it, faults included.

Knows: how work becomes a status. Must not know: what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.faults import TASK_ACTIONS, Fault
from airflow_provider_firecrest.local.v1.context import V1, v1_of
from airflow_provider_firecrest.local.v1.pages import EndlessPage
from airflow_provider_firecrest.local.v1.tasks import DONE, FAILED, Task, TaskFailed

_AT_START = tuple(action for action in TASK_ACTIONS if action != "staging_fails")
_OUTAGE = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
_WARNING = "sbatch: Warning: can't run 1 processes on 2 nodes, setting nnodes to 1"


def start(request: Request, task: Task, work: Callable[[], Any]) -> None:
    """Do ``work`` in a thread: its result ends the task with 200, a `TaskFailed` with 400."""
    v1 = v1_of(request)
    fault = v1.local.faults.take(_AT_START, request.method, request.url.path)
    v1.spawn(_run(v1, task, work, fault))


def held_at_start(request: Request, task: Task) -> bool:
    """Whether a fault keeps a staging task from going on; it ends with 400 if the fault says so."""
    fault = v1_of(request).local.faults.take(
        ("task_hangs_at_100", "task_400"), request.method, request.url.path
    )
    if fault is not None and fault.action == "task_400":
        task.set(FAILED, str(fault.body or _OUTAGE))
    return fault is not None


async def _run(v1: V1, task: Task, work: Callable[[], Any], fault: Fault | None) -> None:
    await asyncio.sleep(v1.settings.task_delay)
    action = "" if fault is None else fault.action
    text = "" if fault is None else str(fault.body or "")
    if action == "task_hangs_at_100":
        return
    try:
        if action == "task_400":
            raise TaskFailed(text or _OUTAGE)
        data = await asyncio.to_thread(work)
        if action == "task_hangs_after_acting":
            return
        if action == "task_400_although_submitted":
            raise TaskFailed(text or _WARNING)
    except EndlessPage:
        return
    except TaskFailed as error:
        task.set(FAILED, str(error))
        return
    task.set(DONE, data)


def created(task: Task, *, status: int = 201, with_url: bool = True) -> JSONResponse:
    """The answer that names the task."""
    body = {"success": "Task created", "task_id": task.id}
    if with_url:
        body["task_url"] = f"/tasks/{task.id}"
    return JSONResponse(body, status_code=status)
