"""What a user reads when a job failed: state, reason, exit code, and the end of its standard error."""

from __future__ import annotations

import pytest

from airflow_provider_firecrest.client import arrays, diagnosis
from airflow_provider_firecrest.client.models import Job

from .recorded import api, load, ok, play, response


def job(name: str) -> Job:
    rows = [Job.from_v2(row) for row in load(name)["response"]["json"]["jobs"]]
    found = arrays.merge(load(name)["request"]["path"].rpartition("/")[2], rows, only_this_job=True)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("job_failed_exit3", ["Job 62 (fail3) ended FAILED", "exit code 3", "on nid001"]),
        ("job_timeout", ["TIMEOUT", "time limit", "60 s"]),
        ("job_cancelled_running", ["CANCELLED by 2001", "was cancelled"]),
        ("job_sigkill", ["signal 9", "memory"]),
        ("job_oom", ["signal 9", "memory"]),
        ("job_sigterm", ["signal 15"]),
        (
            "job_workdir_missing",
            ["on nid001. It never ran: its working directory", "or its input file is missing."],
        ),
        ("job_dep_kill_invalid", ["CANCELLED", "Dependency"]),
        ("job_array_cancelled", ["5 of 6 array elements failed", "1: FAILED", "4: CANCELLED by 2001"]),
    ],
)
def test_the_end_of_a_recorded_job_is_put_into_words(name: str, words: list[str]) -> None:
    text = diagnosis.summary(job(name))

    for each in words:
        assert each in text
    assert "None" not in text
    assert text.endswith(".")


def test_cancelled_and_timed_out_jobs_are_not_told_by_their_exit_code_of_0() -> None:
    for name in ("job_timeout", "job_cancelled_running"):
        assert "exit code" not in diagnosis.summary(job(name))


@pytest.mark.parametrize("reason", ["JobArrayTaskLimit", "Priority", "Resources", "Dependency"])
def test_why_a_job_had_to_wait_is_not_why_it_failed(reason: str) -> None:
    text = diagnosis.summary(Job("1", "n", "FAILED", exit_code=1, state_reason=reason))
    assert reason not in text


def test_hundreds_of_failed_elements_are_not_all_listed() -> None:
    from airflow_provider_firecrest.client.models import JobElement

    elements = tuple(JobElement(index, f"1_{index}", "FAILED") for index in range(500))

    text = diagnosis.summary(Job("1", "n", "FAILED", exit_code=1, elements=elements))

    assert "500 of 500" in text
    assert len(text) < 500


def test_the_last_lines_of_a_log_are_returned() -> None:
    text = "".join(f"line {number}\n" for number in range(100))

    played = play(diagnosis.tail_flow(api(), "/scratch/e.log", lines=3), [ok({"output": {"content": text}})])

    assert played.result == "line 97\nline 98\nline 99"
    assert played.request.query() == {"path": "/scratch/e.log", "bytes": str(diagnosis.TAIL_BYTES)}


def test_an_empty_log_is_said_to_be_empty() -> None:
    assert play(diagnosis.tail_flow(api(), "/e"), [ok({"output": {"content": ""}})]).result == "(empty)"


@pytest.mark.parametrize(
    "name",
    ["ops_tail_missing", "ops_stat_noperm", "ops_tail_dir", "down_ssh_after_healthcheck_ls", "auth_expired"],
)
def test_a_log_that_cannot_be_read_does_not_hide_the_failure(name: str) -> None:
    played = play(diagnosis.tail_flow(api(), "/scratch/e.log"), [response(name)])

    assert played.error is None
    assert played.value().startswith("(cannot be read: ")


def test_a_path_that_cannot_be_asked_for_does_not_hide_the_failure_either() -> None:
    played = play(diagnosis.tail_flow(api(), "/scratch/it's.log"), [])

    assert played.value().startswith("(cannot be read: ")


def test_the_report_ends_with_the_log() -> None:
    report = diagnosis.failure_report(job("job_failed_exit3"), "/scratch/e.log", "boom\n")

    assert report.startswith("Job 62 (fail3) ended FAILED")
    assert report.endswith("The end of /scratch/e.log:\nboom\n")
    assert "The end of" not in diagnosis.failure_report(job("job_failed_exit3"), None, None)
