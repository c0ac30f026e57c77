"""Submitting one job once: when the answer is lost, the job is looked for; it is never submitted again.

The server has no idempotency key. What identifies a job is its name, and where the scheduler shows the
script, the paths in it; and that it was not there before.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable
from typing import TypeVar

from .. import arrays
from ..detect import Api
from ..errors import AmbiguousError, FirecrestError, Retry
from ..flow import Flow, Request, Response
from ..models import TransferJob
from ..sync_client import FirecrestClient
from .operation import FileOperation

logger = logging.getLogger("airflow_provider_firecrest.transfers")

T = TypeVar("T")

ADOPT_WITHIN = 60.0
"""Seconds in which a job whose submit was not answered must show up."""

_WINDOW = "1h"


def submit_once(
    client: FirecrestClient,
    operation: FileOperation,
    name: str,
    submit: Callable[[], T],
    adopt: Callable[[str], T],
) -> T:
    """Submit a job; when the answer is lost, find the job that it made.

    :param client: the client.
    :param operation: what the job does.
    :param name: the job's name.
    :param submit: sends the request.
    :param adopt: makes of a job's id what ``submit`` would have returned.
    :raises AmbiguousError: the answer was lost, and it cannot be said whether there is a job.
    """
    before = _ids_before(client, name, operation.system)
    try:
        return submit()
    except AmbiguousError as error:
        logger.warning("%s: %s Looking for its job by the name %r.", operation, error.message, name)
        job_id = _find(client, operation, name, before, error)
        logger.info("Found it: job %s.", job_id)
        return adopt(job_id)


def logs_of_job(api: Api, job_id: str, system: str) -> Flow[TransferJob]:
    """Return one of the server's file jobs, with the paths of its logs.

    :param api: the client's ``api``.
    :param job_id: id of the job.
    :param system: system name.
    :endpoint: v2: GET /compute/{system}/jobs/{id}/metadata; v1: GET /tasks, since its queue forgets a job at
        its end
    """
    if api.generation == 2:
        found = yield from api.job_metadata(job_id, system=system)
        return TransferJob(job_id, system, "", found.stdout or "", found.stderr or "")
    response: Response = yield Request("GET", "/tasks")
    # Other tasks' data hold credentials: nothing of this is ever logged.
    for row in dict(response.json().get("tasks") or {}).values():
        data = row.get("data")
        if isinstance(data, dict) and str(data.get("jobid")) == job_id and "job_file_out" in data:
            return TransferJob(
                job_id, system, "", str(data["job_file_out"]), str(data.get("job_file_err") or "")
            )
    return TransferJob(job_id, system, "", "", "")


def _ids_before(client: FirecrestClient, name: str, system: str) -> set[str] | None:
    """Return the ids of the jobs of that name, or None when they cannot be listed now."""
    try:
        with FirecrestClient(client.settings.with_changes(retry_budget=2.0)) as hasty:
            return _ids(hasty, name, system)
    except FirecrestError as error:
        if error.retry is Retry.NO and not error.status:
            raise
        logger.info("The jobs named %r cannot be listed now: %s", name, error.message)
        return None


def _ids(client: FirecrestClient, name: str, system: str) -> set[str]:
    rows = client.jobs(name=name, time_window=_WINDOW, system=system)
    return {arrays.base_id(row.job_id) for row in rows}


def _find(
    client: FirecrestClient,
    operation: FileOperation,
    name: str,
    before: set[str] | None,
    lost: AmbiguousError,
) -> str:
    if before is None:
        raise _undecided(operation, name, lost, "and the jobs of this name could not be listed before it")
    deadline, pause, seen = time.monotonic() + ADOPT_WITHIN, 1.0, set[str]()
    while True:
        try:
            seen = {
                job_id
                for job_id in _ids(client, name, operation.system) - before
                if _may_do(client, job_id, operation)
            }
        except FirecrestError as error:
            logger.warning("The jobs cannot be listed now: %s", error.message)
        if len(seen) == 1:
            return seen.pop()
        if seen:
            several = ", ".join(sorted(seen))
            raise _undecided(operation, name, lost, f"and there are several new jobs like it: {several}")
        left = deadline - time.monotonic()
        if left <= 0:
            why = f"and no new job like it showed up within {ADOPT_WITHIN:.0f} s"
            raise _undecided(operation, name, lost, why)
        time.sleep(min(pause, left))
        pause = min(pause * 2, 10.0)


def _may_do(client: FirecrestClient, job_id: str, operation: FileOperation) -> bool:
    """Whether a job's script, as far as the scheduler shows it, names the operation's paths."""
    try:
        text = client.job_metadata(job_id, system=operation.system).script
    except FirecrestError:
        return True
    wanted = [operation.source, *([operation.target] if operation.target else [])]
    return not text or all(path in text or shlex.quote(path) in text for path in _names(wanted))


def _names(wanted: list[str]) -> list[str]:
    # The scripts write some paths as directory and name.
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in wanted]


def _undecided(operation: FileOperation, name: str, lost: AmbiguousError, why: str) -> AmbiguousError:
    return AmbiguousError(
        f"{operation}: it is not known whether a job was submitted; the answer was lost, {why}."
        f" Nothing was submitted again. Look for a job named {name!r} on {operation.system} (squeue, sacct);"
        f" if there is none, clear this task. The lost answer: {lost.message}",
        method=lost.method,
        path=lost.path,
        status=lost.status,
        server_message=lost.server_message,
    )
