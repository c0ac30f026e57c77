"""Workers that move files are killed between two lines, on a real Airflow: the retry goes on from there.

One run of one DAG holds all of it; each test looks at one of its tasks.
"""

from __future__ import annotations

import re

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.filework import PARTS, FileWork, begin, content

pytestmark = pytest.mark.e2e

CRASH_AT = {
    "upload": "during_parts",
    "upload_v1": "before_defer",
    "upload_directory": "after_post",
    "download": "during_ranges",
    "copy": "after_post",
    "move_v1": "after_post",
}


@pytest.fixture(scope="module")
def work(
    airflow: LocalAirflow, cluster: LocalFirecrest, tmp_path_factory: pytest.TempPathFactory
) -> FileWork:
    """A run in which the worker of every task has died once."""
    work = begin(airflow, cluster, "crashing_files", tmp_path_factory.mktemp("crashing"), CRASH_AT)
    airflow.wait_run(work.dag_id, work.run_id, timeout=180)
    return work


@pytest.fixture(params=CRASH_AT)
def task_id(work: FileWork, request: pytest.FixtureRequest) -> str:
    """A task that has died where it should."""
    name = str(request.param)
    assert work.died(name), work.log(name)
    return name


def test_a_task_whose_worker_died_succeeds_in_a_retry_and_nothing_waits_for_anybody(
    work: FileWork, task_id: str
) -> None:
    task = work.task(task_id)
    assert (task["state"], task["try_number"] > 1) == ("success", True), work.log(task_id)
    assert set(work.states(task_id)) <= {"COMPLETED"}


def test_an_upload_sends_only_the_parts_that_the_killed_worker_had_not_sent(work: FileWork) -> None:
    # given what the retry says that it has found
    going_on = re.search(rf"(\d) of {PARTS} parts are sent", work.log("upload"))
    assert going_on, work.log("upload")

    # then the object store has received the others since, for one upload, which one job has written
    died = work.died("upload") or 0.0
    puts = [each for each in work.requests("PUT", "/upload.dat") if each["time"] > died]
    assert len(puts) == PARTS - int(going_on[1]) < PARTS
    assert len(work.requests("POST", "/upload.dat")) == 1
    assert work.states("upload") == ["COMPLETED"]
    assert work.is_moved("upload")


def test_an_upload_over_v1_does_not_send_its_form_again(work: FileWork) -> None:
    assert len(work.requests("POST", "/xfer-external/upload")) == 1
    assert work.is_moved("upload_v1")


def test_a_directory_is_unpacked_by_the_job_whose_id_was_never_noted(work: FileWork) -> None:
    assert work.states("upload_directory") == ["COMPLETED"]
    assert "was submitted by an earlier try" in work.log("upload_directory")
    assert work.is_moved("upload_directory")


def test_a_download_is_not_staged_twice(work: FileWork) -> None:
    assert work.states("download") == ["COMPLETED"]
    assert work.is_moved("download")


@pytest.mark.parametrize(
    ("name", "left"), [("copy", ["copy.dat", "result.dat"]), ("move_v1", ["result.dat"])]
)
def test_files_on_the_cluster_are_handled_by_the_job_whose_id_was_never_noted(
    work: FileWork, name: str, left: list[str]
) -> None:
    assert work.states(name) == ["COMPLETED"]
    assert work.names(name) == left
    assert (work.there / name / "result.dat").read_bytes() == content(name)
    # and that is told
    [job] = work.cluster.jobs(mentioning=f"{work.there / name}/")
    assert work.result(name)["job_id"] == job["id"]
    assert re.search(rf"[Jj]ob {job['id']} of an earlier try", work.log(name))
