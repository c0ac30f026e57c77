"""``/storage/xfer-internal``: transfers between file systems, as jobs.

Knows: request shapes. Must not know: what the jobs do (`transfer_scripts`).

The job runs on one machine of the site's, whatever machine the request names. The task is done when the job
is submitted.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.v1.access import authenticate, machine_of
from airflow_provider_firecrest.local.v1.commands import CommandFailed, inside
from airflow_provider_firecrest.local.v1.context import V1, v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error, refused
from airflow_provider_firecrest.local.v1.running import created, start
from airflow_provider_firecrest.local.v1.submitting import store_script, submit
from airflow_provider_firecrest.local.v1.transfer_scripts import COMMANDS, TransferJob, closed_command
from airflow_provider_firecrest.local.v1.values import Values, form_values

_UNKNOWN = "Machine does not exists"
_SCRIPT_NAME = "sbatch-job.sh"
_DEFAULT_TIME = "02:00:00"
# minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds
_TIME = re.compile(r"\d+|\d+:\d{1,2}|\d+:\d{1,2}:\d{1,2}|\d+-\d{1,2}(:\d{1,2}){0,2}")


def internal_router() -> APIRouter:
    """Routes under ``/storage/xfer-internal``; needs ``app.state.v1``."""
    router = APIRouter(prefix="/storage/xfer-internal")
    for operation in COMMANDS:
        router.add_api_route(f"/{operation}", _endpoint(operation), methods=["POST"])
    return router


def _endpoint(operation: str) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def post(request: Request) -> JSONResponse:
        user = authenticate(request)
        headers = {"X-Machine-Does-Not-Exists": _UNKNOWN}
        machine_of(request, unknown=refused("Failed operation", _UNKNOWN, headers))
        values = await form_values(request, f"Error on {operation} operation")
        return _submitted(request, user, operation, _job(v1_of(request), user, operation, values))

    return post


def _job(v1: V1, user: str, operation: str, values: Values) -> TransferJob:
    command = COMMANDS[operation](values)
    closed = [path for path in _paths(values) if not _is_open(v1, user, path)]
    time = values.optional("time") or _DEFAULT_TIME
    if _TIME.fullmatch(time) is None:
        raise V1Error({"error": "Not supported time format"})
    account = values.optional("account")
    if account is None and v1.settings.account_from_group:
        account = v1.local.config.group
    return TransferJob(
        name=values.optional("jobName") or f"{operation}-job",
        command=closed_command(operation, closed[0]) if closed else command,
        time=time,
        account=account,
        after=values.optional("stageOutJobId"),
    )


def _paths(values: Values) -> list[str]:
    return [path for name in ("sourcePath", "targetPath") if (path := values.optional(name)) is not None]


def _is_open(v1: V1, user: str, path: str) -> bool:
    try:
        inside(v1, user, path)
    except CommandFailed:
        return False
    return True


def _submitted(request: Request, user: str, operation: str, job: TransferJob) -> JSONResponse:
    v1 = v1_of(request)
    fault = v1.local.faults.take(("file_job_does_nothing",), request.method, request.url.path)
    script = job.script(idle=fault is not None)
    task = v1.tasks.create(user, "compute", v1.jobs_machine)

    def work() -> dict[str, str]:
        return submit(v1, user, store_script(v1, user, task.id, _SCRIPT_NAME, script))

    start(request, task, work)
    return created(task, with_url=False)
