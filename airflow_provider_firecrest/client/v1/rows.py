"""Reads v1's job rows: `acct` (sacct -X) and `jobs` (squeue), each with its own habits.

Knows that squeue's answer has `start_time` and `time` swapped, that times carry no zone, and that `acct`
writes the end into `time_left`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from .. import arrays
from ..models import Job

_DURATION = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?")
_NO_NODES = ("", "None assigned", "None", "(None)")


def accounting(data: Any) -> list[Job]:
    """Return the jobs of an `acct` answer, which is a list, or ``{}`` when there are none."""
    return [_accounted(row) for row in _rows(data)]


def queue(data: Any) -> list[Job]:
    """Return the jobs of a `jobs` answer, which is a dict by running number."""
    return [_queued(row) for row in _rows(data)]


def queue_files(data: Any) -> dict[str, tuple[str, str]]:
    """Return the paths of standard output and error by job id, as far as a `jobs` answer knows them."""
    found = {}
    for row in _rows(data):
        out, err = str(row.get("job_file_out") or ""), str(row.get("job_file_err") or "")
        if out.startswith("/"):
            found[str(row.get("jobid"))] = (out, err or out)
    return found


def merge(accounted: Iterable[Job], queued: Iterable[Job]) -> list[Job]:
    """Join both views: accounting knows more, the queue knows sooner.

    A row of the queue stands where accounting has none of that id yet, or calls it PENDING still.
    """
    rows = {row.job_id: row for row in accounted}
    queued = list(queued)
    # Of an array's not yet started rest, each view has a row of its own; the queue's is the newer one.
    newer = {arrays.base_id(row.job_id) for row in queued if "[" in row.job_id}
    rows = {key: row for key, row in rows.items() if "[" not in key or arrays.base_id(key) not in newer}
    for row in queued:
        known = rows.get(row.job_id)
        if known is None or known.state.startswith("PENDING"):
            rows[row.job_id] = row
    return list(rows.values())


def seconds(duration: str | None) -> int | None:
    """Return the seconds in ``1-02:03:04``, ``02:03:04`` or ``03:04``; None for anything else."""
    match = _DURATION.fullmatch((duration or "").strip())
    if not match:
        return None
    days, hours, minutes, rest = (int(each or 0) for each in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def epoch(text: str | None) -> int | None:
    """Return a time without zone, taken as UTC, in seconds since the epoch;

    None for ``Unknown`` and its like.
    """
    try:
        return int(datetime.fromisoformat((text or "").strip()).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _rows(data: Any) -> list[Mapping[str, Any]]:
    rows = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    return [row for row in rows if isinstance(row, Mapping) and row.get("jobid")]


def _accounted(row: Mapping[str, Any]) -> Job:
    code, _, signal = str(row.get("exit_code") or "").partition(":")
    nodes = str(row.get("nodelist") or "")
    state = str(row.get("state") or "")
    pending = state.startswith("PENDING")
    return Job(
        job_id=str(row["jobid"]),
        name=str(row.get("name") or ""),
        state=state,
        exit_code=int(code) if code.isdigit() else None,
        signal=int(signal) if signal.isdigit() else None,
        user=row.get("user"),
        partition=row.get("partition") or None,
        nodes=None if nodes in _NO_NODES else nodes,
        allocated_nodes=None if pending else _whole(row.get("nodes")),
        start_time=None if pending else epoch(row.get("start_time")),
        end_time=epoch(row.get("termination_time") or row.get("time_left")),
        elapsed=seconds(row.get("elapsed_time")),
    )


def _queued(row: Mapping[str, Any]) -> Job:
    nodes = str(row.get("nodelist") or "")
    reason = re.fullmatch(r"\((.*)\)", nodes)
    pending = str(row.get("state") or "").startswith("PENDING")
    elapsed = seconds(row.get("start_time"))
    left = seconds(row.get("time_left"))
    return Job(
        job_id=str(row["jobid"]),
        name=str(row.get("name") or ""),
        state=str(row.get("state") or ""),
        state_reason=reason.group(1) if reason and reason.group(1) != "None" else None,
        user=row.get("user"),
        partition=row.get("partition") or None,
        nodes=None if reason or nodes in _NO_NODES else nodes,
        allocated_nodes=None if pending else _whole(row.get("nodes")),
        start_time=None if pending else epoch(row.get("time")),
        elapsed=elapsed,
        time_limit=None if elapsed is None or left is None else elapsed + left,
    )


def _whole(value: Any) -> int | None:
    return int(value) if str(value or "").isdigit() else None
