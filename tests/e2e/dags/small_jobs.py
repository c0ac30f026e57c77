"""Small DAGs for the end-to-end tests: each exists deferrable and blocking.

The round trip exists for either generation of the API as well; only the connection is another one.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from airflow.sdk import DAG

from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator

# Runs until the test makes the file "go", or for five minutes.
WAIT_FOR_GO = """
for _ in $(seq 3000); do
    [ -e go ] && break
    sleep 0.1
done
"""

DOUBLE = f"""#!/bin/bash
set -e
{WAIT_FOR_GO}
cat input.bin input.bin > output.bin
echo "doubled $(wc -c < input.bin) bytes"
"""

FAIL = """#!/bin/bash
echo "all is well so far"
echo "the input has no column named pressure" >&2
exit 3
"""


def small_dag(dag_id: str, **task_defaults: Any) -> DAG:
    """A DAG that is started by tests only and is not retried unless it says so."""
    return DAG(dag_id, schedule=None, default_args={"retries": 0, "poll_interval": 1, **task_defaults})


MODES = (("deferrable", True), ("blocking", False))
CONNECTIONS = {"v1": "firecrest_v1", "v2": "firecrest_default"}

for (mode, deferrable), (api, conn_id) in product(MODES, CONNECTIONS.items()):
    with small_dag(
        f"round_trip_{mode}_{api}", deferrable=deferrable, firecrest_conn_id=conn_id
    ) as round_trip:
        upload = FirecrestUploadOperator(
            task_id="upload",
            source_path="{{ params.source }}",
            target_path="{{ params.workspace }}/input.bin",
        )
        submit = FirecrestSubmitJobOperator(
            task_id="submit",
            script=DOUBLE,
            job_name=f"double-{mode}-{api}",
            working_dir="{{ params.workspace }}",
        )
        download = FirecrestDownloadOperator(
            task_id="download",
            source_path="{{ params.workspace }}/output.bin",
            target_path="{{ params.target }}",
        )
        upload >> submit >> download
        round_trip.params.update({"source": "", "workspace": "", "target": ""})
    globals()[round_trip.dag_id] = round_trip

for mode, deferrable in MODES:
    with small_dag(f"long_job_{mode}", deferrable=deferrable) as long_job:
        FirecrestSubmitJobOperator(
            task_id="submit",
            script=f"#!/bin/bash\n{WAIT_FOR_GO}",
            job_name=f"long-{mode}",
            working_dir="{{ params.workspace }}",
        )
        long_job.params.update({"workspace": ""})
    globals()[long_job.dag_id] = long_job

    with small_dag(f"failing_job_{mode}", deferrable=deferrable) as failing_job:
        FirecrestSubmitJobOperator(
            task_id="submit",
            script=FAIL,
            job_name=f"failing-{mode}",
            working_dir="{{ params.workspace }}",
            stderr="errors.txt",
        )
        failing_job.params.update({"workspace": ""})
    globals()[failing_job.dag_id] = failing_job

with small_dag("unknown_partition", deferrable=True, retries=3) as unknown_partition:
    FirecrestSubmitJobOperator(
        task_id="submit",
        script="#!/bin/bash\ntrue\n",
        partition="nowhere",
        working_dir="{{ params.workspace }}",
    )
    unknown_partition.params.update({"workspace": ""})
