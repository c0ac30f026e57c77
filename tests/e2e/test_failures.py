"""What a user sees when a job fails, is killed, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.waiting import plain, wait_for_job, wait_for_log

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("mode", ["deferrable", "blocking"])
def test_a_failed_job_fails_the_task_and_its_log_says_why(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, mode: str
) -> None:
    # given a job that writes to stderr and exits with 3
    dag_id = f"failing_job_{mode}"

    # when it runs
    run_id = airflow.trigger_dag(dag_id, {"workspace": str(workspace)})

    # then the task failed, as the job did at the scheduler
    assert airflow.wait_run(dag_id, run_id, timeout=90) == "failed"
    job = wait_for_job(cluster, f"failing-{mode}", "FAILED")
    # and its log holds the job's id, state, exit code and the end of stderr
    log = airflow.task_log(dag_id, run_id, "submit")
    for expected in (str(job["id"]), "FAILED", "exit code 3", "the input has no column named pressure"):
        assert expected in log


@pytest.mark.parametrize("mode", ["deferrable", "blocking"])
def test_marking_a_waiting_task_as_failed_cancels_its_job(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, mode: str
) -> None:
    # given a task that waits for a running job; in the second before the triggerer has taken up a task,
    # Airflow tells nobody that it was killed
    dag_id = f"long_job_{mode}"
    run_id = airflow.trigger_dag(dag_id, {"workspace": str(workspace)})
    job = wait_for_job(cluster, f"long-{mode}", "RUNNING")
    waiting = "deferred" if mode == "deferrable" else "running"
    airflow.wait_task(dag_id, run_id, "submit", states=frozenset({waiting}))
    wait_for_log(airflow, dag_id, run_id, "submit", f"Job {job['id']} ({job['name']}): RUNNING")

    # when a user marks the task as failed
    airflow.mark_task(dag_id, run_id, "submit", "failed")

    # then the scheduler has cancelled the job, the only one of that name
    wait_for_job(cluster, f"long-{mode}", "CANCELLED")
    assert [job["state"].split()[0] for job in cluster.jobs() if plain(job) == f"long-{mode}"] == [
        "CANCELLED"
    ]
    assert airflow.wait_run(dag_id, run_id, timeout=60) == "failed"


def test_an_unknown_partition_fails_the_task_at_once_with_the_schedulers_words(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    # given a task that may be retried three times, and a partition that does not exist
    before = len(cluster.jobs())

    # when it runs
    run_id = airflow.trigger_dag("unknown_partition", {"workspace": str(workspace)})

    # then it failed in the first try and nothing was submitted
    assert airflow.wait_run("unknown_partition", run_id, timeout=90) == "failed"
    assert airflow.task_instance("unknown_partition", run_id, "submit")["try_number"] == 1
    assert len(cluster.jobs()) == before
    assert "invalid partition specified: nowhere" in airflow.task_log("unknown_partition", run_id, "submit")
