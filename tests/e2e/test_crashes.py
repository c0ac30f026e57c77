"""The worker's process is killed between two lines, on a real Airflow: the job runs once, its result arrives.

The witnesses are the scheduler's own list and a file to which each run of the job adds a line.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.witnesses import effects, jobs_of, wait_until

pytestmark = pytest.mark.e2e


def start(airflow: LocalAirflow, dag_id: str, workspace: Path, crash_at: str = "") -> str:
    return airflow.trigger_dag(dag_id, {"workspace": str(workspace), "crash_at": crash_at})


@pytest.mark.parametrize(
    ("dag_id", "point"),
    [
        ("crashing", "before_submit"),
        ("crashing", "after_post"),
        ("crashing", "after_store"),
        ("crashing", "before_defer"),
        ("crashing", "in_execute_complete"),
        ("crashing_blocking", "after_post"),
    ],
)
def test_a_worker_that_dies_leads_to_a_retry_with_the_same_job(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, tmp_path: Path, dag_id: str, point: str
) -> None:
    # given a worker that dies here, once; the job may end at once where that comes after its end
    once = tmp_path / "died"
    if point == "in_execute_complete":
        (workspace / "go").touch()

    # when the task runs
    run_id = start(airflow, dag_id, workspace, f"{point}:{once}")
    wait_until(once.exists, "the worker dies", timeout=60)
    wait_until(lambda: len(effects(workspace)) == 1, "the job runs", timeout=60)
    (workspace / "go").touch()

    # then it succeeds in a later try, with the one job there ever was (Airflow may count a deferral as a try)
    assert airflow.wait_run(dag_id, run_id, timeout=120) == "success"
    assert airflow.task_instance(dag_id, run_id, "submit")["try_number"] > 1
    [job] = jobs_of(cluster, workspace)
    assert (job["state"], effects(workspace)) == ("COMPLETED", [job["id"]])
    assert airflow.xcom(dag_id, run_id, "submit")["job_id"] == job["id"]


def test_no_crash_without_the_variable(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    (workspace / "go").touch()
    run_id = start(airflow, "crashing", workspace)
    assert airflow.wait_run("crashing", run_id, timeout=90) == "success"
    assert airflow.task_instance("crashing", run_id, "submit")["try_number"] == 1
    assert len(jobs_of(cluster, workspace)) == 1
