"""What ``/compute/acct`` (sacct) and ``/compute/jobs`` (squeue) tell about jobs.

Knows: v1's rows, and what is wrong with them. Must not know: HTTP.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local.slurm.records import Submission
from airflow_provider_firecrest.local.slurm.registry import Registry
from airflow_provider_firecrest.local.slurm.runner import Runner
from airflow_provider_firecrest.local.slurm.views import Filter, Row, sacct, squeue
from airflow_provider_firecrest.local.v1.context import V1
from airflow_provider_firecrest.local.v1.submitting import job_files
from airflow_provider_firecrest.local.v1.tasks import TaskFailed

_DAY = 86400
_TAIL_BYTES = 1000
_JOB_ID = re.compile(r"\d+(_\d+)?")
_NO_FILES = {
    "job_data_err": "",
    "job_data_out": "",
    "job_file": "",
    "job_file_err": "",
    "job_file_out": "",
    "job_info_extra": "Job files information is not available when `userJobs` is False",
}


def acct_rows(v1: V1, user: str, jobs: str | None, since: str | None, until: str | None) -> list[Any]:
    """sacct's rows: of the jobs named, whosever they are; else of the user's jobs of a time window.

    Raises:
        TaskFailed: sacct refuses.
    """
    if jobs is None:
        start, end = _window(since, until)
        rows = [row for row in sacct(v1.local.scheduler, Filter(user=user, since=start)) if _before(row, end)]
    else:
        rows = [row for job_id in jobs.split(",") for row in _rows_of(v1, job_id)]
    known = {job.job_id: job for job in _submissions(v1)}
    visible = _visible(v1)
    return [_acct_row(row, known[_number(row)]) for row in rows if _number(row) in visible]


def _rows_of(v1: V1, job_id: str) -> list[Row]:
    if not job_id[:1].isdecimal():
        raise TaskFailed(f"sacct: fatal: Bad job/step specified: {job_id}")
    if _JOB_ID.fullmatch(job_id) is None:
        base = re.split(r"\D", job_id, maxsplit=1)[0]
        raise TaskFailed(f"sacct: fatal: Bad job array element specified: {base}")
    return sacct(v1.local.scheduler, Filter(job_id=job_id))


def _window(since: str | None, until: str | None) -> tuple[float, float]:
    """The window sacct is asked for. Only plain dates are passed on; anything else is dropped in silence."""
    now = datetime.now()
    start, end = _plain_date(since), _plain_date(until)
    first = start or datetime(now.year, now.month, now.day)
    if first > (end or now):
        text = f"requested is after end time ({(end or now).isoformat(timespec='seconds')})."
        raise TaskFailed(f"sacct: error: Start time ({first.isoformat()}) {text}")
    return first.timestamp(), end.timestamp() if end else now.timestamp()


def _plain_date(text: str | None) -> datetime | None:
    if text is None or re.fullmatch(r"\d{4}-\d\d-\d\d", text) is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day)


def _before(row: Row, end: float) -> bool:
    return row.start is None or row.start <= end


def _submissions(v1: V1) -> list[Submission]:
    def all_of_them(registry: Registry, _runner: Runner) -> list[Submission]:
        return list({task.submission.job_id: task.submission for task in registry}.values())

    jobs: list[Submission] = v1.local.scheduler.read(all_of_them)
    return jobs


def _visible(v1: V1) -> set[int]:
    """Ids of the jobs accounting has heard of by now: it learns of a new one late."""
    lag, now = v1.settings.acct_lag, time.time()

    def old_enough(registry: Registry, _runner: Runner) -> set[int]:
        return {
            task.submission.job_id
            for task in registry
            if now - task.submission.submit_time >= lag * (3 if task.eligible_time is None else 1)
        }

    ids: set[int] = v1.local.scheduler.read(old_enough)
    return ids


def _number(row: Row) -> int:
    return int(row.display_id.partition("_")[0])


def _acct_row(row: Row, job: Submission) -> dict[str, str]:
    elapsed = _days_and_clock(row.elapsed)
    waiting = row.state == "PENDING"
    end = "Unknown" if row.end is None else _moment(row.end)
    return {
        "cpu_time": _days_and_clock(row.elapsed * job.cpus),
        "elapsed_time": elapsed,
        "exit_code": f"{row.exit_code or 0}:{row.signal or 0}",
        "jobid": row.display_id,
        "name": row.name.replace("|", "_"),
        "nodelist": row.nodes,
        "nodes": str(job.nodes),
        "partition": row.partition,
        # Cancelled before it began: "None", not "Unknown".
        "start_time": _moment(row.start) if row.start is not None else "Unknown" if waiting else "None",
        "state": row.state,
        "termination_time": end,
        # Two names that promise something else than they hold.
        "time": elapsed,
        "time_left": end,
        "user": row.user,
    }


def squeue_rows(v1: V1, user: str, jobs: str | None, *, user_jobs: bool) -> list[dict[str, str]]:
    """squeue's rows, in its order; with files for one's own jobs.

    Raises:
        TaskFailed: a single job is asked for which the controller does not know any more.
    """
    wanted = None if jobs is None else jobs.split(",")
    if wanted is not None and len(wanted) == 1 and _forgotten(v1, wanted[0], user):
        raise TaskFailed("slurm_load_jobs error: Invalid job id specified")
    rows = squeue(v1.local.scheduler, Filter(user=user if user_jobs else None))
    if wanted is not None:
        rows = [row for row in rows if _asked_for(row, wanted)]
    rows.sort(key=lambda row: (row.state != "PENDING", -(row.priority or 0), _number(row)))
    return [_squeue_row(v1, row, user_jobs=user_jobs) for row in rows]


def _asked_for(row: Row, wanted: Iterable[str]) -> bool:
    base = row.display_id.partition("_")[0]
    return any(job_id in (row.display_id, row.id, base) for job_id in wanted)


def _forgotten(v1: V1, job_id: str, user: str) -> bool:
    return "Invalid job id" in job_files(v1, job_id.partition("_[")[0], user)["job_info_extra"]


def _squeue_row(v1: V1, row: Row, *, user_jobs: bool) -> dict[str, str]:
    waiting = row.state == "PENDING"
    left = "UNLIMITED" if row.limit is None else _clock(max(row.limit - row.elapsed, 0))
    return {
        **(_files(v1, row) if user_jobs else _NO_FILES),
        "jobid": row.display_id,
        "name": row.name,
        "nodelist": f"({row.reason})" if waiting else row.nodes,
        "nodes": str(row.node_count),
        "partition": row.partition,
        # The server has these two the wrong way round.
        "start_time": _clock(row.elapsed),
        "time": "N/A" if row.start is None else _moment(row.start),
        "state": row.state,
        "time_left": left,
        "user": row.user,
    }


def _files(v1: V1, row: Row) -> dict[str, str]:
    if "[" in row.display_id:
        # scontrol does not know such an id; the server asks again for a while before it gives up.
        time.sleep(v1.settings.array_info_delay)
        return job_files(v1, "none", row.user)
    files = job_files(v1, row.display_id, row.user)
    if "job_data_out" in files:
        # A job that came another way has none: sbatch read it from its standard input.
        files["job_file"] = v1.scripts.get(str(_number(row)), "(null)")
        files["job_data_out"] = _end_of(files["job_file_out"])
        files["job_data_err"] = _end_of(files["job_file_err"])
    return files


def _end_of(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            file.seek(max(Path(path).stat().st_size - _TAIL_BYTES, 0))
            return file.read().decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return ""


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).isoformat(timespec="seconds")


def _days_and_clock(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def _clock(seconds: int) -> str:
    """As squeue prints durations: ``0:05``, ``1:00:00``, ``1-00:00:00``."""
    if seconds >= _DAY:
        return _days_and_clock(seconds)
    text = str(timedelta(seconds=seconds))
    return text if seconds >= 3600 else text.removeprefix("0:").removeprefix("0")
