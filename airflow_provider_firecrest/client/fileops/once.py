"""Submitting one job once: when the answer is lost, the job is looked for; it is never submitted again.

The server has no idempotency key. What identifies a job is its name, and where that is not ours to give, the
paths in its script, as long as the scheduler shows that; and that it was not there before.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator

from .. import arrays, paths
from ..attempts.marker import mark_of
from ..detect import Api
from ..errors import AmbiguousError, FirecrestError, Retry
from ..flow import Flow, Request, Response
from ..models import Job, TransferJob
from ..sync_client import FirecrestClient
from .operation import FileOperation, Intent, StartedOperation

logger = logging.getLogger("airflow_provider_firecrest.transfers")

ADOPT_WITHIN = 60.0
"""Seconds in which a job whose submit was not answered must show up."""

SERVERS_NAMES = {
    "mv": "MoveFiles",
    "cp": "CopyFiles",
    "rm": "DeleteFiles",
    "compress": "CompressFiles",
    "extract": "CompressFiles",
}
"""What FirecREST v2 calls its jobs in Slurm."""

_WINDOWS = (("1h", 3000.0), ("24h", 82_800.0), ("7d", float("inf")))
"""How far back ended jobs are listed, and the age of a submit in seconds up to which that is enough."""


def submit_once(
    client: FirecrestClient, intent: Intent, submit: Callable[[], StartedOperation]
) -> StartedOperation:
    """Submit a job; when the answer is lost, find the job that it made.

    :param client: the client.
    :param intent: what the job does, and what it is recognised by.
    :param submit: sends the request.
    :raises AmbiguousError: the answer was lost, and it cannot be said whether there is a job.
    """
    try:
        return submit()
    except AmbiguousError as error:
        what = intent.operation
        logger.warning("%s: %s Looking for its job by the name %r.", what, error.message, intent.name)
        job_id = _find(client, intent, error)
        logger.info("Found it: job %s.", job_id)
        return adopted(client, intent, job_id)


def log_name(kind: str, name: str) -> str:
    """Return the name of the log of a batch job of ours; it can be told from a name with a mark.

    :param kind: what the job does.
    :param name: the job's name.
    """
    return f".firecrest-{kind}-{mark_of(name) or uuid.uuid4().hex}.log"


def adopted(client: FirecrestClient, intent: Intent, job_id: str) -> StartedOperation:
    """Return what the submit would have returned, had it been answered.

    :param client: the client.
    :param intent: what was submitted.
    :param job_id: the job that was found.
    """
    operation, asked_at = intent.operation, intent.asked_at
    if operation.way == "script":
        return StartedOperation(operation, job_id, intent.output_log, "", asked_at)
    try:
        job = client.run(logs_of_job(client.api, job_id, operation.system))
    except (FirecrestError, ValueError) as error:
        logger.warning("The logs of job %s cannot be found: %s", job_id, error)
        return StartedOperation(operation, job_id, "", "", asked_at)
    return StartedOperation(operation, job_id, job.output_log, job.error_log, asked_at)


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


def ids_before(client: FirecrestClient, name: str, system: str) -> tuple[str, ...] | None:
    """Return the ids of the jobs of a name, or None when they cannot be listed now."""
    try:
        with FirecrestClient(client.settings.with_changes(retry_budget=2.0)) as hasty:
            rows = hasty.jobs(name=name, time_window=_WINDOWS[0][0], system=system)
    except FirecrestError as error:
        if error.retry is Retry.NO and not error.status:
            raise
        logger.info("The jobs named %r cannot be listed now: %s", name, error.message)
        return None
    return tuple(sorted({arrays.base_id(row.job_id) for row in rows}))


def jobs_of(client: FirecrestClient, intent: Intent, *, within: float) -> set[str]:
    """Look for the job of a submit, again and again until it shows up.

    :param client: the client.
    :param intent: what was to be submitted.
    :param within: seconds to look; 0 looks once.
    :returns: ids; more than one when it cannot be told which it is.
    :raises FirecrestError: the jobs could not be listed to the end.
    :endpoint: GET /compute/{system}/jobs?name=, GET .../jobs/{job_id}/metadata
    """
    deadline, pause = time.monotonic() + within, 1.0
    while True:
        failure: FirecrestError | None = None
        try:
            found = _seen(client, intent)
        except FirecrestError as error:
            logger.warning("The jobs cannot be listed now: %s", error.message)
            found, failure = set(), error
        if found:
            return found
        left = deadline - time.monotonic()
        if left <= 0:
            if failure is not None:
                raise failure
            return set()
        time.sleep(min(pause, left))
        pause = min(pause * 2, 10.0)


def active_like(
    client: FirecrestClient, kind: str, source: str, target: str | None, system: str
) -> Iterator[Job]:
    """Yield the active jobs of FirecREST v2's own that do the same as an operation, by their scripts.

    :endpoint: GET /compute/{system}/jobs?name=, GET .../jobs/{job_id}/metadata
    """
    if client.api.generation != 2 or kind not in SERVERS_NAMES:
        return
    for job in client.jobs(name=SERVERS_NAMES[kind], time_window="1h", system=system):
        if not job.is_final and _does(client, job.job_id, [source, target or ""], system):
            yield job


def _seen(client: FirecrestClient, intent: Intent) -> set[str]:
    age = max(0.0, time.time() - intent.asked_at)
    window = next(name for name, enough in _WINDOWS if age < enough)
    operation = intent.operation
    rows = client.jobs(name=intent.name, time_window=window, system=operation.system)
    new = {arrays.base_id(row.job_id) for row in rows} - set(intent.before or ())
    if mark_of(intent.name) is not None:
        return new
    wanted = [operation.source, operation.target]
    told = {job_id: _does(client, job_id, wanted, operation.system) for job_id in new}
    sure = {job_id for job_id, does in told.items() if does}
    # The scheduler forgets a script minutes after its job's end.
    return sure or {job_id for job_id, does in told.items() if does is None}


def _find(client: FirecrestClient, intent: Intent, lost: AmbiguousError) -> str:
    if intent.before is None:
        raise _undecided(intent, lost, "and the jobs of this name could not be listed before it")
    try:
        found = jobs_of(client, intent, within=ADOPT_WITHIN)
    except FirecrestError:
        found = set()
    if len(found) == 1:
        return found.pop()
    if found:
        several = ", ".join(sorted(found))
        raise _undecided(intent, lost, f"and there are several new jobs like it: {several}")
    raise _undecided(intent, lost, f"and no new job like it showed up within {ADOPT_WITHIN:.0f} s")


def _does(client: FirecrestClient, job_id: str, wanted: list[str], system: str) -> bool | None:
    """Whether a job's script names the operation's paths; None when the scheduler does not show it."""
    try:
        text = client.job_metadata(job_id, system=system).script
    except FirecrestError:
        return None
    return all(_is_named(path.rstrip("/"), text) for path in wanted if path) if text else None


def _is_named(path: str, text: str) -> bool:
    # Archivers are given directory and name.
    apart = _stands(paths.parent(path), text) and _stands(paths.basename(path), text)
    return _stands(path, text) or apart


def _stands(path: str, text: str) -> bool:
    return re.search(rf"(?<![^\s'\"=]){re.escape(path)}/?(?![^\s'\";)])", text) is not None


def _undecided(intent: Intent, lost: AmbiguousError, why: str) -> AmbiguousError:
    operation: FileOperation = intent.operation
    return AmbiguousError(
        f"{operation}: it is not known whether a job was submitted; the answer was lost, {why}."
        f" Nothing was submitted again. Look for a job named {intent.name!r} on {operation.system} (squeue,"
        f" sacct); if there is none, clear this task. The lost answer: {lost.message}",
        method=lost.method,
        path=lost.path,
        status=lost.status,
        server_message=lost.server_message,
    )
