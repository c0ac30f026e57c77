"""Rows of accounting and of the queue, as recorded: each has habits of its own, and both are joined."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.client.v1 import rows

from .recorded_v1 import last_task, load


def accounted(name: str) -> dict[str, Job]:
    return {job.job_id: job for job in rows.accounting(last_task(name)["data"])}


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_the_queues_swapped_fields_are_put_right() -> None:
    [job] = rows.queue(last_task("squeue-running-task")["data"])

    assert (job.job_id, job.name, job.state, job.user) == ("481", "rig1-shape", "RUNNING", "fireuser")
    assert job.start_time == epoch("2026-11-20T06:01:17")
    assert job.elapsed == 5
    assert job.time_limit == 3600
    assert (job.nodes, job.allocated_nodes, job.partition) == ("nid001", 1, "part01")
    assert job.end_time is None


def test_the_streams_of_a_running_job_are_found() -> None:
    directory = "/home/fireuser/firecrest/8eb9a5c05bf02221eeb2935eff69ae73"

    found = rows.queue_files(last_task("squeue-running-task")["data"])

    assert found == {"481": (f"{directory}/slurm-481.out", f"{directory}/slurm-481.out")}


@pytest.mark.parametrize(
    ("job_id", "state", "exit_code", "signal", "final"),
    [
        ("20", "TIMEOUT", 0, 0, True),
        ("21", "COMPLETED", 0, 0, True),
        ("22", "FAILED", 7, 0, True),
        ("23", "FAILED", 0, 9, True),
        ("29", "CANCELLED by 2001", 0, 0, True),
    ],
)
def test_accounting_says_how_a_job_ended(
    job_id: str, state: str, exit_code: int, signal: int, final: bool
) -> None:
    job = accounted("acct-states-task")[job_id]

    assert (job.state, job.exit_code, job.signal, job.is_final) == (state, exit_code, signal, final)
    assert job.succeeded is (state == "COMPLETED")


def test_a_job_that_never_started_has_no_start_and_no_node() -> None:
    job = accounted("acct-states-task")["30"]

    assert (job.start_time, job.nodes) == (None, None)
    assert job.end_time == epoch("2026-11-20T05:36:56")


def test_a_running_job_has_no_end_yet() -> None:
    [job] = rows.accounting(load("acct-running-row")["task"]["data"])

    assert (job.state, job.end_time) == ("RUNNING", None)
    assert job.start_time == epoch("2026-11-20T06:01:17")


def test_a_pending_job_is_not_taken_for_a_started_one() -> None:
    [[_, absent], [_, listed], *_] = load("acct-held-and-begin-jobs")["acct_rows"]

    assert rows.accounting(absent) == []
    for job in rows.accounting(listed):
        assert (job.state, job.start_time, job.allocated_nodes) == ("PENDING", None, None)


@pytest.mark.parametrize("nothing", [{}, [], None, "Queued", 5, [None], {"0": {}}])
def test_no_rows_in_whichever_form_are_no_jobs(nothing: Any) -> None:
    assert rows.accounting(nothing) == []
    assert rows.queue(nothing) == []


def test_a_waiting_jobs_reason_stands_where_its_nodes_would() -> None:
    waiting = load("array-job-acct-squeue-rows")["rows"][1]["squeue"]["0"]

    [job] = rows.queue({"0": waiting})

    assert (job.state, job.state_reason, job.nodes) == ("PENDING", "JobArrayTaskLimit", None)
    assert job.start_time is None


def views_of_the_array() -> list[tuple[list[Job], list[Job]]]:
    return [
        (rows.accounting(each["acct"]), rows.queue(each["squeue"]))
        for each in load("array-job-acct-squeue-rows")["rows"]
    ]


def test_the_two_views_of_an_array_make_one_row_for_each_element() -> None:
    for in_accounting, in_queue in views_of_the_array():
        merged = rows.merge(in_accounting, in_queue)
        ids = [job.job_id for job in merged]

        assert len(ids) == len(set(ids))
        assert sum("[" in each for each in ids) <= 1, "one row for all that has not started"


def test_the_queue_knows_sooner_and_accounting_knows_the_end() -> None:
    in_accounting, in_queue = views_of_the_array()[1]

    merged = {job.job_id: job.state for job in rows.merge(in_accounting, in_queue)}

    assert merged == {"36_1": "COMPLETED", "36_2": "RUNNING", "36_[3-5%1]": "PENDING"}


def test_what_accounting_calls_ended_the_queue_does_not_bring_back() -> None:
    ended = [Job("7", "n", "COMPLETED", exit_code=0)]

    assert rows.merge(ended, [Job("7", "n", "COMPLETING")]) == ended


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:05", 5),
        ("59:55", 3595),
        ("1:00:00", 3600),
        ("1-02:03:04", 93784),
        ("00:00:03", 3),
        ("N/A", None),
        ("UNLIMITED", None),
        ("", None),
        (None, None),
    ],
)
def test_durations(text: str | None, expected: int | None) -> None:
    assert rows.seconds(text) == expected


@pytest.mark.parametrize("text", ["Unknown", "None", "N/A", "", None])
def test_times_that_are_none(text: str | None) -> None:
    assert rows.epoch(text) is None
