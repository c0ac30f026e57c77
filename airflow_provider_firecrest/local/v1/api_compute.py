"""``/compute``: submit, look, cancel. Every answer is a task.

Knows: request shapes, and what is refused before there is a task. Must not know: how jobs run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from airflow_provider_firecrest.local.api_compute import without_commands
from airflow_provider_firecrest.local.faults import BATCH_ACTIONS
from airflow_provider_firecrest.local.slurm import ScancelError
from airflow_provider_firecrest.local.v1 import cluster
from airflow_provider_firecrest.local.v1.access import Reach, authenticate, machine_of, reach
from airflow_provider_firecrest.local.v1.accounting import acct_rows, squeue_rows
from airflow_provider_firecrest.local.v1.commands import absolute
from airflow_provider_firecrest.local.v1.context import V1, v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error, refused
from airflow_provider_firecrest.local.v1.pages import page
from airflow_provider_firecrest.local.v1.path_check import BadPath, readable_file
from airflow_provider_firecrest.local.v1.running import created, start
from airflow_provider_firecrest.local.v1.submitting import Batch, export_text, store_script, submit
from airflow_provider_firecrest.local.v1.tasks import TaskFailed
from airflow_provider_firecrest.local.v1.values import (
    Values,
    form_values,
    query_values,
    refuse_large,
    stored_name,
)

_UNAVAILABLE = "Failed to retrieve jobs information"
_UNKNOWN = "Machine does not exists"
_NOT_SUBMITTED = "Failed to submit job"
_FILE_REFUSED = "Failed to submit job file"
_NO_JOB = "Failed to retrieve job information"
_NO_ACCOUNTING = "Failed to retrieve account information"
# What the data of a task says that submits a file of the cluster, until it is done: an address nobody needs.
_PATH_TASK_DATA = "http://127.0.0.1:5003"
_JOB_ID = re.compile(r"\d+(_\d+|_\[[\d,%:-]+\])?")


def compute_router() -> APIRouter:
    """Routes under ``/compute``; needs ``app.state.v1``."""
    router = APIRouter(prefix="/compute")
    router.post("/jobs/upload")(post_job_upload)
    router.post("/jobs/path")(post_job_path)
    router.get("/jobs")(get_jobs)
    router.get("/jobs/{job_id}")(get_job)
    router.delete("/jobs/{job_id}")(delete_job)
    router.get("/acct")(get_acct)
    router.get("/nodes")(get_nodes)
    router.get("/nodes/{name}")(get_node)
    router.get("/partitions")(get_partitions)
    router.get("/reservations")(get_reservations)
    return router


class _Caller(NamedTuple):
    """A request that was let in: the machine answers, and knows the user."""

    request: Request
    v1: V1
    user: str
    machine: str

    def answer(self, work: Callable[[], Any] | None) -> JSONResponse:
        """Create a task for ``work``; for None one that never ends."""
        task = self.v1.tasks.create(self.user, "compute", self.machine)
        if work is not None:
            start(self.request, task, work)
        return created(task, status=200)


def _let_in(request: Request) -> _Caller:
    user = authenticate(request)
    unknown = refused(_UNAVAILABLE, _UNKNOWN, {"X-Machine-Does-Not-Exists": _UNKNOWN})
    v1, machine = v1_of(request), machine_of(request, unknown=unknown)
    reached = reach(v1, machine, user)
    if reached is Reach.NO_HOST:
        raise refused(_UNAVAILABLE, headers={"X-Machine-Not-Available": Reach.NO_HOST.value})
    if reached is not Reach.OPEN:
        # No header: an outage looks like a mistake of the client's.
        raise refused(_UNAVAILABLE)
    return _Caller(request, v1, user, machine)


async def post_job_upload(request: Request) -> JSONResponse:
    """``sbatch`` of the uploaded script."""
    _, v1, user, machine = _let_in(request)
    limit = v1.local.config.max_ops_file_size
    text = f"Failed to upload batch script. The file is over {limit // 1024 // 1024} MB"
    await refuse_large(request, limit, text)
    values = await form_values(request, "Invalid account")
    account = values.optional("account")
    name, script = await _script_of(values.file)
    env = values.texts.get("env")
    export = _export(env, f"Invalid JSON in 'env' variable ({env})")
    task = v1.tasks.create(user, "compute", machine)

    idle = v1.local.faults.take(BATCH_ACTIONS, request.method, request.url.path) is not None

    def work() -> dict[str, str]:
        stored = store_script(v1, user, task.id, name, without_commands(script) if idle else script)
        return submit(v1, user, replace(stored, account=account, export=export))

    start(request, task, work)
    return created(task)


async def _script_of(file: UploadFile | None) -> tuple[str, str]:
    if file is None:
        raise refused(_FILE_REFUSED, "No batch file part")
    content = await file.read()
    if not content:
        raise refused(_FILE_REFUSED, "Batch file is empty")
    try:
        return cluster.safe_name(stored_name(file)), content.decode()
    except UnicodeDecodeError:
        raise V1Error(None, status=500) from None


def _export(env: str | None, complaint: str) -> str | None:
    try:
        return export_text(env)
    except ValueError:
        raise V1Error({"description": _NOT_SUBMITTED, "error": complaint}, status=404) from None


async def post_job_path(request: Request) -> JSONResponse:
    """``sbatch`` of a script on the cluster; the job runs beside it."""
    _, v1, user, machine = _let_in(request)
    values = await form_values(request, _NOT_SUBMITTED)
    path = values.required("targetPath")
    values.description = "Invalid account"
    account = values.optional("account")
    full = await run_in_threadpool(_checked_script, v1, user, path)
    export = _export(values.texts.get("env"), "Invalid JSON environment provided")
    task = v1.tasks.create(user, "compute", machine, data=_PATH_TASK_DATA)

    def work() -> dict[str, str]:
        script = Path(full).read_bytes().decode("utf-8", "surrogateescape")
        directory = str(Path(absolute(v1, user, path)).parent)
        return submit(v1, user, Batch(script, path, directory, account, export))

    start(request, task, work)
    return created(task)


def _checked_script(v1: V1, user: str, path: str) -> str:
    try:
        return readable_file(v1, user, path)
    except BadPath as error:
        raise refused(_NOT_SUBMITTED, headers=error.headers) from None


async def get_jobs(request: Request) -> JSONResponse:
    """``squeue``: one's own active jobs; with ``userJobs=false`` everybody's."""
    caller = _let_in(request)
    v1, user = caller.v1, caller.user
    values = query_values(request, _NO_JOB)
    jobs = _job_list(values)
    own = (values.texts.get("userJobs") or "true").lower() != "false"

    def work() -> dict[str, Any]:
        rows = page(squeue_rows(v1, user, jobs, user_jobs=own), values.texts)
        return {str(number): row for number, row in enumerate(rows)}

    return caller.answer(work)


def _job_list(values: Values) -> str | None:
    jobs = values.optional("jobs")
    if jobs is None:
        return None
    ids = jobs.split(",")
    if not all(ids):
        raise refused(_NO_JOB, "Jobs list wrong format")
    for job_id in ids:
        _check_id(job_id)
    return jobs


def _check_id(job_id: str) -> None:
    if _JOB_ID.fullmatch(job_id) is None:
        raise refused(_NO_JOB, f"{job_id} is not a valid job ID")


async def get_job(request: Request, job_id: str) -> JSONResponse:
    """``squeue`` for one job: the worker dies of an exception, and the task stays at 100 for ever."""
    caller = _let_in(request)
    _check_id(job_id)
    return caller.answer(None)


async def delete_job(request: Request, job_id: str) -> JSONResponse:
    """``scancel``; of several jobs the last one first."""
    caller = _let_in(request)
    v1, user = caller.v1, caller.user

    def work() -> str:
        for one in reversed(job_id.split(",")):
            _cancel(v1, one, user)
        return "".join(f"scancel: Terminating job {one}" for one in reversed(job_id.split(",")))

    return caller.answer(work)


def _cancel(v1: V1, job_id: str, user: str) -> None:
    try:
        v1.local.scheduler.cancel(job_id, user=user)
    except ScancelError as error:
        text = error.stderr.replace("\n", "")
        if "denied" in text:
            text = "User does not have permission to cancel job"
        raise TaskFailed(text) from None


async def get_acct(request: Request) -> JSONResponse:
    """``sacct -X``: jobs of any age and state, without their steps."""
    caller = _let_in(request)
    v1, user = caller.v1, caller.user
    values = query_values(request, _NO_ACCOUNTING)
    jobs = values.optional("jobs")
    since, until = values.optional("starttime"), values.optional("endtime")

    def work() -> Any:
        rows = list(page(acct_rows(v1, user, jobs, since, until), values.texts))
        # No job is an object, not a list.
        return rows or {}

    return caller.answer(work)


async def get_nodes(request: Request) -> JSONResponse:
    """``scontrol show node``; ``nodes`` limits it to some."""
    caller = _let_in(request)
    wanted = query_values(request, "Failed to retrieve nodes information").optional("nodes")
    return caller.answer(partial(cluster.nodes, caller.v1.local.scheduler, wanted))


async def get_node(request: Request, name: str) -> JSONResponse:
    """One node."""
    caller = _let_in(request)
    return caller.answer(partial(cluster.nodes, caller.v1.local.scheduler, name))


async def get_partitions(request: Request) -> JSONResponse:
    """``scontrol show partition``, hidden ones included; ``partitions`` limits it to some."""
    caller = _let_in(request)
    wanted = query_values(request, "Failed to retrieve partitions information").optional("partitions")
    return caller.answer(partial(cluster.partitions, caller.v1.local.scheduler, wanted))


async def get_reservations(request: Request) -> JSONResponse:
    """``scontrol show reservations``; ``reservations`` limits it to some."""
    caller = _let_in(request)
    wanted = query_values(request, "Failed to retrieve reservations information").optional("reservations")
    return caller.answer(partial(cluster.reservations, caller.v1.local.scheduler, wanted))
