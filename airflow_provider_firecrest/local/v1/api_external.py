"""``/storage/xfer-external``: files from and to outside, through the object store.

Knows: request shapes, and what is refused before there is a task. Must not know: how files are staged.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from airflow_provider_firecrest.local.v1.access import authenticate, machine_of
from airflow_provider_firecrest.local.v1.context import V1, v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error, refused
from airflow_provider_firecrest.local.v1.path_check import (
    BadPath,
    check_machine,
    readable_file,
    writable_target,
)
from airflow_provider_firecrest.local.v1.running import created, held_at_start
from airflow_provider_firecrest.local.v1.staging import follow_download, follow_upload, new_upload
from airflow_provider_firecrest.local.v1.values import form_values

_UNKNOWN = "Machine does not exists"
_UPLOAD_FAILED = "Failed to upload file"
_DOWNLOAD_FAILED = "Failed to download file"


def external_router() -> APIRouter:
    """Routes under ``/storage/xfer-external``; needs ``app.state.v1``."""
    router = APIRouter(prefix="/storage/xfer-external")
    router.post("/upload")(post_upload)
    router.post("/download")(post_download)
    router.post("/invalidate")(post_invalidate)
    return router


def _let_in(request: Request, description: str) -> tuple[V1, str, str]:
    user = authenticate(request)
    unknown = refused(description, _UNKNOWN, {"X-Machine-Does-Not-Exists": _UNKNOWN})
    return v1_of(request), user, machine_of(request, unknown=unknown)


async def post_upload(request: Request) -> JSONResponse:
    """Start an upload: the task will hold a form to post the file to."""
    v1, user, machine = _let_in(request, _UPLOAD_FAILED)
    values = await form_values(request, _UPLOAD_FAILED)
    target_path, source = values.required("targetPath"), values.required("sourcePath")

    def check() -> str:
        check_machine(v1, machine, user)
        return writable_target(v1, user, target_path, source.rpartition("/")[2])

    try:
        target = await run_in_threadpool(check)
    except BadPath as error:
        raise refused(_UPLOAD_FAILED, "'targetPath' directory not allowed", error.headers) from None
    upload = new_upload(v1, user, machine, source, target)
    if not held_at_start(request, upload.task):
        v1.spawn(follow_upload(v1, upload))
    return created(upload.task)


async def post_download(request: Request) -> JSONResponse:
    """Start a download: the task will hold a URL to get the file from."""
    v1, user, machine = _let_in(request, _DOWNLOAD_FAILED)
    source = (await form_values(request, _DOWNLOAD_FAILED)).required("sourcePath")

    def check() -> str:
        check_machine(v1, machine, user)
        return readable_file(v1, user, source)

    try:
        path = await run_in_threadpool(check)
    except BadPath as error:
        raise refused("sourcePath error", headers=error.headers) from None
    task = v1.tasks.create(user, "storage", machine)
    if not held_at_start(request, task):
        v1.spawn(follow_download(v1, task, source, path))
    return created(task)


def post_invalidate(request: Request) -> JSONResponse:
    """Take a URL back, they say: the task forgets it, but it goes on working until it expires."""
    user = authenticate(request)
    task_id = request.headers.get("x-task-id")
    if task_id is None:
        raise V1Error({"error": "Header X-Task-Id missing"})
    task = v1_of(request).tasks.get(task_id)
    if task is None or task.user != user:
        raise V1Error({"error": "Invalid X-Task-Id"})
    task.invalidate()
    return JSONResponse({"success": "URL invalidated successfully"}, status_code=201)
