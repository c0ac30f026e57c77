"""What a job operator gives back, and what it says when a job failed.

Results are small plain JSON with stable keys: Airflow cannot read back a class of a third party from an XCom.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypedDict

from ..client import script
from ..client.job_json import few_elements
from ..client.models import Job

if TYPE_CHECKING:
    from ..client import FirecrestClient


class JobResult(TypedDict):
    """Result of ``FirecrestSubmitJobOperator``; times in seconds since the epoch, durations in seconds.

    ``node_hours`` is None for arrays. ``stdout`` and ``stderr`` hold ``%a`` for arrays, one file per element.
    ``elements`` holds at most 1000 elements of an array, those that did not succeed first of all.
    """

    job_id: str
    job_name: str
    system: str | None
    state: str | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    elapsed: int | None
    time_limit: int | None
    start_time: int | None
    end_time: int | None
    nodes: str | None
    allocated_nodes: int | None
    node_hours: float | None
    account: str | None
    partition: str | None
    working_dir: str | None
    stdout: str | None
    stderr: str | None
    elements: list[dict[str, Any]]


def job_result(job: Job, note: dict[str, Any]) -> JobResult:
    """Return the result for a job.

    :param job: the job as last seen.
    :param note: what the operator wrote down at the submit: ``job_name``, ``system``, ``working_dir``,
        ``stdout``, ``stderr``.
    """
    hours = None
    if job.elapsed is not None and job.allocated_nodes is not None and not job.is_array:
        hours = round(job.elapsed * job.allocated_nodes / 3600, 4)
    return JobResult(
        job_id=job.job_id,
        job_name=job.name or note.get("job_name") or "",
        system=note.get("system"),
        state=job.state or None,
        reason=job.state_reason,
        exit_code=job.exit_code,
        signal=job.signal,
        elapsed=job.elapsed,
        time_limit=job.time_limit,
        start_time=job.start_time,
        end_time=job.end_time,
        nodes=job.nodes,
        allocated_nodes=job.allocated_nodes,
        node_hours=hours,
        account=job.account,
        partition=job.partition,
        working_dir=job.working_dir or note.get("working_dir"),
        stdout=_path(note.get("stdout"), job),
        stderr=_path(note.get("stderr"), job),
        elements=[asdict(each) for each in few_elements(job.elements)],
    )


def submitted_result(job_id: str, note: dict[str, Any]) -> JobResult:
    """Return the result for a job that is not waited for: what only the end tells is None."""
    return job_result(Job(job_id=job_id, name=note.get("job_name") or "", state=""), note)


def log_output(client: FirecrestClient, job: Job, note: dict[str, Any], log: Any) -> None:
    """Put the end of the job's standard output into the task's log; never fails."""
    path = _output_of(job, note.get("stdout"))
    if path is None:
        return
    text = _tail(client, path, note)
    log.info("The end of %s on %s:\n%s", path, note.get("system"), text)


def failure_text(client: FirecrestClient, job: Job, note: dict[str, Any]) -> str:
    """Return what the task's exception says: state, exit code, reason and the end of standard error."""
    from ..client.diagnosis import failure_report

    path = _output_of(job, note.get("stderr"))
    return failure_report(job, path, None if path is None else _tail(client, path, note))


def _tail(client: FirecrestClient, path: str, note: dict[str, Any]) -> str:
    from ..client.diagnosis import tail_flow
    from ..client.errors import FirecrestError

    try:
        return client.run(tail_flow(client.api, path, system=note.get("system")))
    except FirecrestError as error:
        # Which API it is may have to be asked for first; no log is worth a job's result.
        return f"(cannot be read: {error.message})"


def _path(pattern: str | None, job: Job) -> str | None:
    return (
        None
        if pattern is None
        else script.expand(pattern, job_id=job.job_id, name=job.name, user=job.user or "")
    )


def _output_of(job: Job, pattern: str | None) -> str | None:
    """Return the file that tells most:

    a plain job's, or that of an array's first failed (else first) element.
    """
    if pattern is None:
        return None
    if not job.elements:
        return _path(pattern, job)
    from ..client.states import Outcome, outcome

    failed = [each for each in job.elements if outcome(each.state) is Outcome.FAILED]
    element = (failed or list(job.elements))[0]
    raw_id = element.job_id if element.job_id.isdigit() else None
    return script.expand(
        pattern,
        job_id=job.job_id,
        name=job.name,
        user=job.user or "",
        task_index=element.task_index,
        element_id=raw_id,
    )
