"""Answers that say something else of jobs than the scheduler knows.

Knows: where job rows stand in the answers of v1 and v2. Must not know: how the answers come about, so that
the rest of the server stays honest.

Slurm's databases lag: a new job is not listed yet, an ended one still runs. Newer servers have states that
nobody has heard of.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_firecrest.local.broken_wire import collected
from airflow_provider_firecrest.local.faults import LIES, Fault, FaultSwitch

_V2_JOBS = re.compile(r"/v2/compute/[^/]+/jobs(/[^/]+)?")
_V1_TASKS = re.compile(r"/v1/tasks(/[^/]*)?")
_NOT_FOUND = {"errorType": "error", "message": "Job not found.", "data": None, "causedBy": None}

Row = dict[str, Any]
JobList = Callable[[], list[Row]]


class Liar:
    """Changes what answers say of jobs, as the fault switch wants it.

    Args:
        app: the honest application.
        faults: the rules.
        job_list: the scheduler's own list, which knows when jobs began and ended.
    """

    def __init__(self, app: ASGIApp, faults: FaultSwitch, job_list: JobList) -> None:
        self._app = app
        self._faults = faults
        self._job_list = job_list

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._lie(scope)
        if fault is None:
            await self._app(scope, receive, send)
            return
        start, body = await collected(self._app, scope, receive)
        if start["status"] == 200:
            start, body = self._changed(scope["path"], start, body, fault)
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def _lie(self, scope: Scope) -> Fault | None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        path = scope["path"]
        if not (_V2_JOBS.fullmatch(path) or _V1_TASKS.fullmatch(path)):
            return None
        return self._faults.take(LIES, "GET", path)

    def _changed(self, path: str, start: Message, body: bytes, fault: Fault) -> tuple[Message, bytes]:
        known = {_number(job): job for job in self._job_list()}
        answer = json.loads(body)
        if _V1_TASKS.fullmatch(path):
            tasks = [answer["task"]] if "task" in answer else list(answer["tasks"].values())
            for task in tasks:
                task["data"] = _v1_rows(task["data"], lambda row: _retold(row, known, fault))
            return _again(start, 200, answer)
        rows = [_retold(row, known, fault) for row in answer["jobs"]]
        answer["jobs"] = [row for row in rows if row is not None]
        if not answer["jobs"] and not path.endswith("/jobs"):
            return _again(start, 404, _NOT_FOUND)
        return _again(start, 200, answer)


def _v1_rows(data: Any, retold: Callable[[Row], Row | None]) -> Any:
    """The rows of acct (a list) or squeue (a dict by number); any other data as they are."""
    if isinstance(data, list) and all(_is_row(each) for each in data):
        return [row for each in data if (row := retold(each)) is not None]
    if isinstance(data, dict) and data and all(_is_row(each) for each in data.values()):
        left = [row for each in data.values() if (row := retold(each)) is not None]
        return {str(number): row for number, row in enumerate(left)}
    return data


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and "jobid" in value and "state" in value


def _retold(row: Row, known: dict[str, Row], fault: Fault) -> Row | None:
    """The row as the fault has it, or None where it leaves it out."""
    number = re.split(r"\D", str(row.get("jobId", row.get("jobid"))), maxsplit=1)[0]
    job = known.get(number, {})
    if fault.action == "hide_job":
        return None if _within(job.get("submit_time"), fault.delay_s) else row
    if fault.action == "unknown_state":
        return _with_state(row, str(fault.body or "MIGRATING"))
    ended = job.get("end_time")
    return _with_state(row, "RUNNING") if ended is not None and _within(ended, fault.delay_s) else row


def _within(moment: float | None, seconds: float) -> bool:
    return seconds == 0 or (moment is not None and time.time() - moment < seconds)


def _with_state(row: Row, state: str) -> Row:
    if "state" in row:
        return {**row, "state": state}
    return {**row, "status": {**row["status"], "state": state}}


def _number(job: Row) -> str:
    return str(job["array_id"] or job["id"])


def _again(start: Message, status: int, answer: Any) -> tuple[Message, bytes]:
    body = json.dumps(answer).encode()
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    return {**start, "status": status, "headers": headers}, body
