"""DAGs whose tasks move files: their workers die at named places, or users act while their jobs wait.

All tasks of a DAG run side by side, each in a directory of its own on both sides: one run shows what six
would.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_firecrest.operators.internal import (
    FirecrestInternalCopyOperator,
    FirecrestInternalMoveOperator,
)
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator

HERE = "{{ params.here }}/{{ task.task_id }}"
THERE = "{{ params.there }}/{{ task.task_id }}"
NAME = "{{ task.task_id }}.dat"
UP = {"source_path": f"{HERE}/{NAME}", "target_path": f"{THERE}/{NAME}"}
DOWN = {"source_path": f"{THERE}/{NAME}", "target_path": f"{HERE}/{NAME}"}
ACROSS = {"source_path": f"{THERE}/{NAME}", "target_path": f"{THERE}/result.dat", "job_name": "nightly"}
V1 = {"firecrest_conn_id": "firecrest_v1"}


def die_where_told(context: Any) -> None:
    """Arm the crash point that the DAG run names for the task, for the process of this try; it kills once."""
    task_id = context["ti"].task_id
    point = context["params"]["crash_at"].get(task_id)
    os.environ["FIRECREST_CRASH_AT"] = f"{point}:{context['params']['here']}/{task_id}.died" if point else ""


def files_dag(dag_id: str) -> DAG:
    """A DAG whose tasks do not wait for each other."""
    return DAG(
        dag_id,
        schedule=None,
        params={"here": "", "there": "", "crash_at": {}},
        default_args={
            "retries": 3,
            "retry_delay": timedelta(seconds=1),
            "poll_interval": 1,
            "deferrable": True,
            "pre_execute": die_where_told,
        },
    )


with files_dag("crashing_files") as crashing_files:
    FirecrestUploadOperator(task_id="upload", **UP)
    FirecrestUploadOperator(task_id="upload_v1", **UP, **V1)
    FirecrestUploadOperator(task_id="upload_directory", **UP)
    FirecrestDownloadOperator(task_id="download", **DOWN)
    FirecrestInternalCopyOperator(task_id="copy", **ACROSS)
    FirecrestInternalMoveOperator(task_id="move_v1", **ACROSS, **V1)

with files_dag("waiting_files") as waiting_files:
    FirecrestUploadOperator(task_id="upload", **UP)
    FirecrestUploadOperator(task_id="upload_directory", **UP)
    FirecrestInternalCopyOperator(task_id="copy", **ACROSS)
