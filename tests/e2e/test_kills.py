"""What users and triggerers do to a task whose job runs, on a real Airflow.

It is cleared, marked, out of time, or two triggerers believe it theirs.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from airflow_provider_firecrest.local.processes import ChildProcess
from tests.e2e.waiting import wait_for_log
from tests.e2e.witnesses import effects, jobs_of, states_of, wait_until

pytestmark = pytest.mark.e2e
BOTH_WAYS = pytest.mark.parametrize("dag_id", ["crashing", "crashing_blocking"])


def waiting_task(airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, dag_id: str) -> str:
    """A run whose task waits for its running job, and has said so in its log; returns the run's id."""
    run_id = airflow.trigger_dag(dag_id, {"workspace": str(workspace), "crash_at": ""})
    state = "running" if "blocking" in dag_id else "deferred"
    airflow.wait_task(dag_id, run_id, "submit", states=frozenset({state}), timeout=60)
    wait_until(lambda: effects(workspace), "the job runs")
    [job] = jobs_of(cluster, workspace)
    wait_for_log(airflow, dag_id, run_id, "submit", f"({job['name']}): RUNNING")
    return run_id


@BOTH_WAYS
def test_a_cleared_task_gets_a_new_job_and_the_old_one_is_cancelled(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, dag_id: str
) -> None:
    # given a task that waits for its job
    run_id = waiting_task(airflow, cluster, workspace, dag_id)
    [old] = jobs_of(cluster, workspace)

    # when a user clears it
    airflow.clear_task(dag_id, run_id, "submit")

    # then a new job runs, the old one was cancelled, and nobody cancels the new one
    wait_until(lambda: len(effects(workspace)) == 2, "the new job runs", timeout=90)
    wait_until(lambda: states_of(cluster, workspace) == ["CANCELLED", "RUNNING"], "the old job is cancelled")
    (workspace / "go").touch()
    assert airflow.wait_run(dag_id, run_id, timeout=90) == "success"
    _, new = jobs_of(cluster, workspace)
    assert states_of(cluster, workspace) == ["CANCELLED", "COMPLETED"]
    assert effects(workspace) == [old["id"], new["id"]]
    assert airflow.xcom(dag_id, run_id, "submit")["job_id"] == new["id"]


def test_with_reattach_always_a_cleared_task_goes_on_with_its_job(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    # given a deferred task
    run_id = waiting_task(airflow, cluster, workspace, "crashing_adopting")
    [job] = jobs_of(cluster, workspace)

    # when a user clears it, and it waits again
    airflow.clear_task("crashing_adopting", run_id, "submit")
    wait_until(
        lambda: airflow.task_instance("crashing_adopting", run_id, "submit")["try_number"] > 1,
        "the new attempt begins",
    )
    airflow.wait_task("crashing_adopting", run_id, "submit", states=frozenset({"deferred"}), timeout=60)

    # then it gets the result of the job that was there
    (workspace / "go").touch()
    assert airflow.wait_run("crashing_adopting", run_id, timeout=90) == "success"
    assert (states_of(cluster, workspace), effects(workspace)) == (["COMPLETED"], [job["id"]])


@BOTH_WAYS
def test_a_task_marked_as_success_needs_its_job_no_more(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, dag_id: str
) -> None:
    run_id = waiting_task(airflow, cluster, workspace, dag_id)
    airflow.mark_task(dag_id, run_id, "submit", "success")
    wait_until(lambda: states_of(cluster, workspace) == ["CANCELLED"], "the job is cancelled")
    assert airflow.wait_run(dag_id, run_id, timeout=60) == "success"
    assert len(effects(workspace)) == 1


def test_a_deferred_task_of_a_run_marked_as_failed_loses_its_job(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    run_id = waiting_task(airflow, cluster, workspace, "crashing")
    airflow.mark_run("crashing", run_id, "failed")
    wait_until(lambda: states_of(cluster, workspace) == ["CANCELLED"], "the job is cancelled")
    assert len(effects(workspace)) == 1


def test_a_deferred_task_out_of_time_loses_its_job(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    # given eight seconds, of which the task spends most deferred
    run_id = waiting_task(airflow, cluster, workspace, "short_of_time")

    # then the job is cancelled before the task fails, which says why
    assert airflow.wait_run("short_of_time", run_id, timeout=90) == "failed"
    assert states_of(cluster, workspace) == ["CANCELLED"]
    assert "execution_timeout is over" in airflow.task_log("short_of_time", run_id, "submit")


def test_a_trigger_that_two_triggerers_run_leads_to_one_result(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path
) -> None:
    # given a deferred task whose triggerer hangs until another one takes its trigger over
    run_id = waiting_task(airflow, cluster, workspace, "crashing")
    [job] = jobs_of(cluster, workspace)
    line = f"({job['name']}): RUNNING"
    hanging = airflow.processes["triggerer"]
    hanging.send(signal.SIGSTOP, group=True)
    try:
        with second_triggerer(airflow):
            wait_until(
                lambda: airflow.task_log("crashing", run_id, "submit").count(line) >= 2,
                "the second triggerer watches the job too",
                timeout=120,
            )
            # when the first one wakes up, and the job ends
            hanging.send(signal.SIGCONT, group=True)
            assert states_of(cluster, workspace) == ["RUNNING"], "nobody took this for a user's kill"
            (workspace / "go").touch()

            # then there is one result of the one job
            assert airflow.wait_run("crashing", run_id, timeout=90) == "success"
    finally:
        # A triggerer that finds itself replaced ends, sooner or later; the other tests need one.
        hanging.send(signal.SIGCONT, group=True)
        airflow.kill_component("triggerer", signal.SIGKILL)
        airflow.restart_component("triggerer")
    assert airflow.task_instance("crashing", run_id, "submit")["try_number"] == 1
    assert (states_of(cluster, workspace), effects(workspace)) == (["COMPLETED"], [job["id"]])


@contextmanager
def second_triggerer(airflow: LocalAirflow) -> Iterator[None]:
    """One more triggerer of the same Airflow."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**airflow.env, "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(port)}
    command = [sys.executable, "-m", "airflow", "triggerer"]
    log = airflow.home / "component-logs" / "second-triggerer.log"
    second = ChildProcess("second triggerer", command, env=env, log_path=log)
    try:
        yield
    finally:
        second.send(signal.SIGTERM)
        second.wait(15)
        second.kill_group()
