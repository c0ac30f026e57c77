"""Puts into words why a job failed: state, reason, exit code and the end of its standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import states
from .errors import FirecrestError
from .flow import Flow
from .models import Job

if TYPE_CHECKING:
    from .detect import Api

TAIL_LINES = 50
TAIL_BYTES = 16_384

_EXPLANATIONS = {
    "BOOT_FAIL": "a node did not boot",
    "CANCELLED": "it was cancelled",
    "DEADLINE": "its --deadline passed",
    "NODE_FAIL": "a node failed",
    "OUT_OF_MEMORY": "it needed more memory than it asked for (--mem)",
    "PREEMPTED": "a job of higher priority took its place",
    "TIMEOUT": "it reached its time limit (--time)",
}
_SLURM_INTERNAL_SIGNAL = 53
_SAY_NOTHING = ("none", "nonzeroexitcode")
# Accounting keeps why a job had to wait, and shows it as the reason of its end where there is no other.
_WHY_IT_WAITED = (
    "begintime",
    "dependency",
    "jobarraytasklimit",
    "jobheldadmin",
    "jobhelduser",
    "licenses",
    "priority",
    "reservation",
    "resources",
)


def summary(job: Job) -> str:
    """Return one sentence on how a job ended.

    :param job: a job in its final state.
    """
    state = states.normalise(job.state)
    text = f"Job {job.job_id} ({job.name}) ended {job.state}"
    if state in _EXPLANATIONS:
        text += f": {_EXPLANATIONS[state]}"
        if state == "TIMEOUT" and job.time_limit:
            text += f" of {job.time_limit} s"
    elif job.signal and job.signal != _SLURM_INTERNAL_SIGNAL:
        text += f" by signal {job.signal}"
        if job.signal == 9:
            text += " (often: out of memory)"
    elif job.exit_code is not None and not job.signal:
        text += f" with exit code {job.exit_code}"
    if job.elements:
        failed = [each for each in job.elements if states.outcome(each.state) is states.Outcome.FAILED]
        text += f"; {len(failed)} of {len(job.elements)} array elements failed"
        text += " (" + ", ".join(f"{each.task_index}: {each.state}" for each in failed[:10])
        text += ", ...)" if len(failed) > 10 else ")"
    reason = (job.state_reason or "none").lower()
    if reason not in _SAY_NOTHING and (state == "CANCELLED" or reason not in _WHY_IT_WAITED):
        text += f"; Slurm's reason: {job.state_reason}"
    if job.elapsed is not None:
        text += f", after {job.elapsed} s"
    if job.nodes:
        text += f" on {job.nodes}"
    if job.signal == _SLURM_INTERNAL_SIGNAL:
        where = f" {job.working_dir}" if job.working_dir else ""
        text += (
            f". It never ran: its working directory{where}, or the directory of its output file, is missing"
            " or not writable, or its input file is missing"
        )
    return text + "."


def tail_flow(api: Api, path: str, *, lines: int = TAIL_LINES, system: str | None = None) -> Flow[str]:
    """Read the end of a log without ever failing: a missing log must not hide the failure it would explain.

    :param api: the API's flows.
    :param path: absolute path.
    :param lines: how many lines.
    :param system: system name; default: the connection's.
    :returns: the text, or a remark in brackets why there is none.
    """
    try:
        text = yield from api.tail(path, size=TAIL_BYTES, system=system)
    except FirecrestError as error:
        return f"(cannot be read: {error.server_message or error.message})"
    kept = text.splitlines()[-lines:]
    return "\n".join(kept) if kept else "(empty)"


def failure_report(job: Job, stderr_path: str | None, stderr_tail: str | None) -> str:
    """Return what a task's exception should say about a failed job.

    :param job: the job in its final state.
    :param stderr_path: where its standard error is.
    :param stderr_tail: the end of it.
    """
    text = summary(job)
    if stderr_path and stderr_tail is not None:
        text += f"\nThe end of {stderr_path}:\n{stderr_tail}"
    return text
