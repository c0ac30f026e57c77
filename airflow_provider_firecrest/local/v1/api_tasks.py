"""``/tasks``: one task, or a list of them.

Knows: who may see which task. Must not know: what tasks do.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from airflow_provider_firecrest.local.v1.access import authenticate
from airflow_provider_firecrest.local.v1.context import v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error
from airflow_provider_firecrest.local.v1.values import query_values


def tasks_router() -> APIRouter:
    """Routes under ``/tasks``; needs ``app.state.v1``."""
    router = APIRouter()
    router.get("/tasks")(get_tasks)
    router.get("/tasks/")(get_tasks)
    router.get("/tasks/{task_id}")(get_task)
    return router


def get_tasks(request: Request) -> dict[str, Any]:
    """Several tasks, or all of the user's. Unknown and foreign ones are left out without a word."""
    user = authenticate(request)
    wanted = query_values(request, "Failed to retrieve tasks information").optional("tasks")
    tasks = v1_of(request).tasks.of_user(user)
    if wanted is not None:
        ids = wanted.split(",")
        tasks = [task for task in tasks if task.id in ids]
    return {"tasks": {task.id: task.in_list() for task in tasks}}


def get_task(request: Request, task_id: str) -> dict[str, Any]:
    """One task. It belongs to the unix user: another client of the same user sees it, too."""
    user = authenticate(request)
    task = v1_of(request).tasks.get(task_id)
    if task is None:
        raise V1Error({"error": f"Task {task_id} does not exist"}, status=404)
    if task.user != user:
        raise V1Error({"description": "Operation not permitted. Invalid task owner."}, status=403)
    return {"task": task.single()}
