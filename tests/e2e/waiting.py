"""Waiting, with a limit, for what the scheduler's own job list or a task's log says."""

from __future__ import annotations

import re
import time
from typing import Any

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow


def plain(job: dict[str, Any]) -> str:
    """A job's name as the DAG's author knows it: without the mark of the attempt at its end."""
    return re.sub(r"-af[0-9a-f]{14}$", "", str(job["name"]))


def wait_for_job(cluster: LocalFirecrest, name: str, state: str, *, timeout: float = 60.0) -> dict[str, Any]:
    """Wait until the scheduler's own list has a job of this name in this state, and return it."""
    deadline = time.monotonic() + timeout
    while True:
        named = [job for job in cluster.jobs() if plain(job) == name]
        for job in named:
            if str(job["state"]).split()[0] == state:
                return job
        if time.monotonic() > deadline:
            seen = [(job["id"], job["state"]) for job in named]
            raise AssertionError(f"no job {name!r} became {state} within {timeout:.0f} s: {seen}")
        time.sleep(0.2)


def wait_for_log(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str, text: str) -> None:
    """Wait until the task's log holds this text."""
    deadline = time.monotonic() + 60
    while text not in (log := airflow.task_log(dag_id, run_id, task_id)):
        if time.monotonic() > deadline:
            raise AssertionError(f"{text!r} is not in the log of {task_id} after 60 s:\n{log}")
        time.sleep(0.3)
