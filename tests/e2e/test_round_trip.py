"""One DAG on a real Airflow: upload, job, download, in both ways of waiting and over either FirecREST."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.waiting import wait_for_job

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(("mode", "waiting_state"), [("deferrable", "deferred"), ("blocking", "running")])
def test_the_bytes_go_there_and_come_back_and_only_a_blocking_task_holds_a_slot_meanwhile(
    airflow: LocalAirflow,
    cluster: LocalFirecrest,
    workspace: Path,
    tmp_path: Path,
    mode: str,
    waiting_state: str,
    api: str,
) -> None:
    # given a file too large for the direct calls, and a job that waits for a sign
    source, target = tmp_path / "input.bin", tmp_path / "output.bin"
    content = os.urandom(6 * 1024 * 1024 + 1)
    source.write_bytes(content)
    dag_id = f"round_trip_{mode}_{api}"
    conf = {"source": str(source), "workspace": str(workspace), "target": str(target)}

    # when the DAG has come to the running job
    run_id = airflow.trigger_dag(dag_id, conf)
    wait_for_job(cluster, f"double-{mode}-{api}", "RUNNING")
    ti = airflow.wait_task(dag_id, run_id, "submit", states=frozenset({waiting_state}))

    # then the pool's slots say who holds one: nobody, or the blocking task
    pool = airflow.wait_pool(lambda pool: pool["running_slots"] == (0 if mode == "deferrable" else 1))
    assert pool["occupied_slots"] == (0 if mode == "deferrable" else 1)
    assert pool["deferred_slots"] == (1 if mode == "deferrable" else 0)
    assert ti["state"] == waiting_state

    # when the job may go on
    (workspace / "go").touch()

    # then the run succeeds and what came back is twice what went there
    assert airflow.wait_run(dag_id, run_id, timeout=90) == "success"
    assert (workspace / "input.bin").read_bytes() == content
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content * 2).digest()
    # and the results say so
    upload, job, download = (airflow.xcom(dag_id, run_id, task) for task in ("upload", "submit", "download"))
    assert upload["sha256"] == hashlib.sha256(content).hexdigest()
    assert (upload["way"], download["way"]) == ("staged", "staged")
    assert download["size"] == 2 * len(content)
    assert (job["state"], job["exit_code"]) == ("COMPLETED", 0)
    assert [row["state"] for row in cluster.jobs() if row["id"] == job["job_id"]] == ["COMPLETED"]
    assert f"doubled {len(content)} bytes" in airflow.task_log(dag_id, run_id, "submit")
    # and no presigned URL or secret is in any log
    for task in ("upload", "submit", "download"):
        log = airflow.task_log(dag_id, run_id, task)
        assert "Signature" not in log
        assert cluster.client_secret not in log
