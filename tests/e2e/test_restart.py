"""A waiting task outlives the process that waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.waiting import wait_for_job, wait_for_log

pytestmark = pytest.mark.e2e
DAG_ID = "long_job_deferrable"


def test_a_killed_and_restarted_triggerer_goes_on_waiting_for_the_same_job(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    # given a task that the triggerer waits for
    before = {job["id"] for job in cluster.jobs()}
    run_id = airflow.trigger_dag(DAG_ID, {"workspace": str(workspace)})
    airflow.wait_task(DAG_ID, run_id, "submit", states=frozenset({"deferred"}))
    job_id = str(airflow.xcom(DAG_ID, run_id, "submit", key="firecrest_job")["job_id"])
    name = next(str(job["name"]) for job in cluster.jobs() if job["id"] == job_id)
    wait_for_log(airflow, DAG_ID, run_id, "submit", f"Job {job_id} ({name}): RUNNING")

    # when the triggerer dies without a word and comes back
    airflow.kill_component("triggerer")
    airflow.restart_component("triggerer")

    # then the job still runs
    assert wait_for_job(cluster, "long-deferrable", "RUNNING")["id"] == job_id

    # when the job ends, then the task has its result, and there never was another job
    (workspace / "go").touch()
    assert airflow.wait_run(DAG_ID, run_id, timeout=120) == "success"
    assert airflow.xcom(DAG_ID, run_id, "submit")["job_id"] == job_id
    assert {job["id"] for job in cluster.jobs()} - before == {job_id}
