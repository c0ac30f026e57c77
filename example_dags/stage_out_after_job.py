"""Stage out on the cluster: run a job on scratch, then rsync its results to the store, then clean up.

The results stay on the cluster; no byte passes through Airflow. The rsync is submitted while the production
job still queues: it waits for it *in Slurm* (``after_job_id``), so no time is lost in between. When the
production job fails, the rsync is cancelled and its task fails, and the results stay on scratch to be looked
at; they are removed only after every name has been seen in the store with its size.

Runs unchanged on FirecREST v1 and v2. Before you start it, set the params to two folders of yours on the
cluster, and put your own script in place of ``SCRIPT``. System and account come from the connection
``firecrest_default``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag

from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from airflow_provider_firecrest.operators.internal import (
    FirecrestInternalDeleteOperator,
    FirecrestInternalRsyncOperator,
)
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator

RUN_DIR = "{{ params.scratch_dir }}/run"
STORE_DIR = "{{ params.store_dir }}"

SCRIPT = """#!/bin/bash
#SBATCH --job-name=production
#SBATCH --nodes=1
#SBATCH --time=01:00:00
set -euo pipefail
mkdir -p {{ params.scratch_dir }}/run/results
cd {{ params.scratch_dir }}/run
for member in 1 2 3; do
    echo "member $member" > results/member-$member.txt
done
"""


@dag(
    schedule=None,
    tags=["firecrest", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "scratch_dir": Param("/scratch/me", type="string", description="Folder on the cluster to run in"),
        "store_dir": Param(
            "/store/me/run1", type="string", description="Folder on the cluster to keep results"
        ),
    },
    doc_md=__doc__,
)
def stage_out_after_job() -> None:
    make_store = FirecrestFilesystemOperator(
        task_id="make_store", operation="mkdir", path=STORE_DIR, arguments={"parents": True}
    )
    produce = FirecrestSubmitJobOperator(
        task_id="produce",
        script=SCRIPT,
        working_dir="{{ params.scratch_dir }}",
        wait_for_completion=False,
    )
    store = FirecrestInternalRsyncOperator(
        task_id="store",
        source_path=f"{RUN_DIR}/results/",  # with a slash: what is in it
        target_path=STORE_DIR,
        after_job_id="{{ ti.xcom_pull(task_ids='produce')['job_id'] }}",
        deferrable=True,
        execution_timeout=timedelta(hours=12),  # counts while the production job queues and runs
    )
    clean_up = FirecrestInternalDeleteOperator(task_id="clean_up", path=RUN_DIR, missing_ok=True)

    make_store >> produce >> store >> clean_up


stage_out_after_job()
