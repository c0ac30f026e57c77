"""The many rows of a job array are one job, which is over when no row of it goes on."""

from __future__ import annotations

import itertools

import pytest

from airflow_provider_firecrest.client import arrays
from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.client.states import Outcome

from .recorded import load


def rows_of(name: str) -> list[Job]:
    return [Job.from_v2(row) for row in load(name)["response"]["json"]["jobs"]]


def merged(job_id: str, name: str, *, only_this_job: bool = True) -> Job:
    job = arrays.merge(job_id, rows_of(name), only_this_job=only_this_job)
    assert job is not None
    return job


def test_a_running_array_is_one_running_job_with_its_elements() -> None:
    job = merged("87", "job_array_mixed")

    assert (job.job_id, job.name, job.state) == ("87", "arr2", "RUNNING")
    assert [(each.task_index, each.job_id, each.state) for each in job.elements] == [
        (0, "87_0", "RUNNING"),
        (1, "87_1", "RUNNING"),
    ]
    assert job.waiting == 4
    assert job.is_array
    assert job.end_time is None


def test_the_queues_raw_ids_do_not_become_elements_of_their_own() -> None:
    job = merged("87", "job_array_mixed")

    assert {"92", "93"}.isdisjoint(each.job_id for each in job.elements)
    assert job.allocated_nodes == 2


def test_an_array_with_failed_elements_goes_on_while_others_run() -> None:
    job = merged("87", "job_array_after")

    assert job.outcome is Outcome.ACTIVE
    assert [each.state for each in job.elements] == [
        "COMPLETED",
        "FAILED",
        "FAILED",
        "FAILED",
        "RUNNING",
        "RUNNING",
    ]
    assert [each.exit_code for each in job.elements] == [0, 1, 2, 3, 0, 0]


def test_a_finished_array_has_no_row_of_its_own_and_is_found_all_the_same() -> None:
    rows = rows_of("job_array_cancelled")
    assert "87" not in {row.job_id for row in rows}

    job = merged("87", "job_array_cancelled")

    assert job.outcome is Outcome.FAILED
    assert (job.state, job.exit_code) == ("FAILED", 1)
    assert [each.state for each in job.elements[4:]] == ["CANCELLED by 2001"] * 2
    assert (job.start_time, job.end_time, job.elapsed) == (1795153156, 1795153183, 10)
    assert job.waiting == 0


def test_an_array_just_submitted_is_pending() -> None:
    job = merged("87", "job_array_0ms_after_submit")

    assert (job.state, job.is_final) == ("PENDING", False)


def test_an_array_in_a_list_goes_on_while_the_queue_shows_its_waiting_part() -> None:
    job = merged("87", "jobs_list_with_array_mixed", only_this_job=False)

    assert not job.is_final
    assert [each.task_index for each in job.elements] == [0, 1]


def test_rows_of_other_jobs_in_a_list_are_left_out() -> None:
    rows = rows_of("jobs_list_with_array_mixed") + rows_of("job_completed") + rows_of("job_failed_exit3")

    assert arrays.merge("37", rows) == rows_of("job_completed")[0]
    assert arrays.merge("62", rows) == rows_of("job_failed_exit3")[0]
    assert arrays.merge("8", rows) is None
    assert arrays.merge("870", rows) is None


def test_the_cli_view_of_the_same_moment_agrees_on_what_waits_and_what_runs() -> None:
    queue = [line.split("|") for line in load("array_cli_view")["squeue_and_sacct"]]
    waiting = {name for _, name, state in queue if state == "PENDING" and name.startswith("87_")}
    running = {name for raw, name, state in queue if state == "RUNNING" and "_" in name and raw.isdigit()}

    job = merged("87", "job_array_mixed")

    assert job.waiting == len(waiting)
    assert {each.job_id for each in job.elements} == running


@pytest.mark.parametrize(
    ("expression", "count"),
    [("2-5%2", 4), ("0-4:2", 3), ("7", 1), ("1,3,7", 3), ("0-9,20,30-31", 13), ("0-9:5%1", 2), ("5-5", 1)],
)
def test_waiting_elements_are_counted(expression: str, count: int) -> None:
    assert arrays.count_indices(expression) == count


@pytest.mark.parametrize("job_id", ["87", "87_0", "87_[2-5%2]", "87+1"])
def test_every_form_of_an_id_leads_to_the_submitted_one(job_id: str) -> None:
    assert arrays.base_id(job_id) == "87"


def test_a_heterogeneous_job_is_one_job_with_its_components() -> None:
    rows = [Job("90+0", "het", "COMPLETED", exit_code=0), Job("90+1", "het", "RUNNING")]

    job = arrays.merge("90", rows, only_this_job=True)

    assert job is not None
    assert (job.job_id, job.state, len(job.elements)) == ("90", "RUNNING", 2)


def test_of_two_rows_with_one_id_the_one_from_accounting_speaks() -> None:
    queue, accounting = Job("5", "j", "COMPLETING"), Job("5", "j", "COMPLETED", exit_code=0)

    for rows in ([queue, accounting], [accounting, queue]):
        job = arrays.merge("5", rows)
        assert job is not None
        assert (job.state, job.exit_code) == ("COMPLETED", 0)


def test_a_requeued_job_is_not_over_because_accounting_still_has_its_first_run() -> None:
    accounting, queue = Job("5", "j", "NODE_FAIL", exit_code=0), Job("5", "j", "PENDING")

    for rows in ([queue, accounting], [accounting, queue]):
        job = arrays.merge("5", rows)
        assert job is not None
        assert job.state == "PENDING"


ELEMENT_STATES = ("COMPLETED", "FAILED", "CANCELLED by 2001", "RUNNING", "PENDING", "SUSPENDED", "COMPLETING")
REST_STATES = (None, "PENDING", "CANCELLED by 2001")
QUEUE_STATES = (None, "RUNNING", "PENDING")


def test_no_array_is_over_while_any_of_its_rows_goes_on() -> None:
    """Every combination of two elements, the waiting rest, the array's own row and a raw id in the queue."""
    combinations = itertools.product(ELEMENT_STATES, ELEMENT_STATES, REST_STATES, QUEUE_STATES, QUEUE_STATES)
    seen = set()
    for first, second, rest, own, raw in combinations:
        found = [("87_0", first), ("87_1", second), ("87_[2-9%2]", rest), ("87", own), ("93", raw)]
        rows = [Job(job_id, "arr", state) for job_id, state in found if state is not None]

        job = arrays.merge("87", rows, only_this_job=True)

        assert job is not None
        going_on = any(row.outcome is Outcome.ACTIVE for row in rows)
        failed = any(row.outcome is Outcome.FAILED for row in rows)
        expected = Outcome.ACTIVE if going_on else Outcome.FAILED if failed else Outcome.SUCCEEDED
        assert job.outcome is expected, rows
        seen.add(job.outcome)
        assert job.waiting == (8 if rest == "PENDING" else 0)
    assert seen == set(Outcome)
