"""What users do to tasks that move files while their jobs wait in the queue, on a real Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.filework import FileWork, begin, content, occupied
from tests.e2e.waiting import wait_for_log
from tests.e2e.witnesses import wait_until

pytestmark = pytest.mark.e2e
TASKS = ("upload", "upload_directory", "copy")


@pytest.fixture
def free(cluster: LocalFirecrest) -> Iterator[Callable[[], object]]:
    """Frees the cluster, on which nothing else can run before."""
    with occupied(cluster) as free:
        yield free


@pytest.fixture
def waiting(
    free: Callable[[], object],
    airflow: LocalAirflow,
    cluster: LocalFirecrest,
    tmp_path_factory: pytest.TempPathFactory,
) -> FileWork:
    """A run whose tasks are all deferred, each to a job that is in the queue, and are watched there."""
    here: Path = tmp_path_factory.mktemp("waiting")
    work = begin(airflow, cluster, "waiting_files", here, dict.fromkeys(TASKS, ""))
    for task_id in TASKS:
        airflow.wait_task(work.dag_id, work.run_id, task_id, states=frozenset({"deferred"}))
        wait_for_log(airflow, work.dag_id, work.run_id, task_id, ": PENDING")
    assert all_are(work, ["PENDING"])
    return work


def test_a_run_that_is_cleared_while_its_jobs_wait_ends_them_and_moves_everything_with_new_ones(
    waiting: FileWork, airflow: LocalAirflow, free: Callable[[], object]
) -> None:
    # when a user clears the run
    airflow.clear_run(waiting.dag_id, waiting.run_id)

    # then the old jobs are cancelled, and new ones wait, which nobody cancels
    wait_until(lambda: all_are(waiting, ["CANCELLED", "PENDING"]), "new jobs in place of the old ones")
    free()
    assert airflow.wait_run(waiting.dag_id, waiting.run_id, timeout=120) == "success"
    assert all_are(waiting, ["CANCELLED", "COMPLETED"])
    # and everything is where it belongs, with nothing beside it
    assert waiting.is_moved("upload")
    assert waiting.is_moved("upload_directory")
    assert waiting.names("copy") == ["copy.dat", "result.dat"]
    assert (waiting.there / "copy" / "result.dat").read_bytes() == content("copy")


def test_a_run_that_is_marked_as_failed_while_its_jobs_wait_leaves_nothing_on_the_cluster(
    waiting: FileWork, airflow: LocalAirflow
) -> None:
    airflow.mark_run(waiting.dag_id, waiting.run_id, "failed")

    wait_until(lambda: all_are(waiting, ["CANCELLED"]), "the jobs are cancelled")
    wait_until(lambda: not list((waiting.there / "upload_directory").iterdir()), "its directory is removed")
    assert waiting.names("upload") == ["upload.dat"]
    assert waiting.names("copy") == ["copy.dat"]


def all_are(work: FileWork, states: list[str]) -> bool:
    return all(work.states(task_id) == states for task_id in TASKS)
