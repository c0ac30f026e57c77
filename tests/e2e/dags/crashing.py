"""DAGs whose worker dies at a named place, or that are cleared, marked and timed out while their job runs."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator

# One line for each run of the job; then it waits for the file "go", for two minutes.
EFFECT = """#!/bin/bash
echo "$SLURM_JOB_ID" >> effects
for _ in $(seq 1200); do
    [ -e go ] && exit 0
    sleep 0.1
done
exit 1
"""


def die_where_told(context: Any) -> None:
    """Arm the crash point that the DAG run names, for the process of this try."""
    os.environ["FIRECREST_CRASH_AT"] = context["params"]["crash_at"]


def crashing_dag(dag_id: str, **task: Any) -> DAG:
    """One task that runs one job."""
    with DAG(dag_id, schedule=None, params={"workspace": "", "crash_at": ""}) as dag:
        FirecrestSubmitJobOperator(
            task_id="submit",
            script=EFFECT,
            job_name="{{ params.workspace.split('/')[-1] }}",
            working_dir="{{ params.workspace }}",
            poll_interval=1,
            pre_execute=die_where_told,
            **{"retries": 3, "retry_delay": timedelta(seconds=1), "deferrable": True, **task},
        )
    return dag


crashing = crashing_dag("crashing")
crashing_blocking = crashing_dag("crashing_blocking", deferrable=False)
crashing_adopting = crashing_dag("crashing_adopting", reattach="always")
short_of_time = crashing_dag("short_of_time", retries=0, execution_timeout=timedelta(seconds=8))
