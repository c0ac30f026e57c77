"""Quantum ESPRESSO on a cluster: wait for a file, upload two inputs, run pw.x, download two outputs.

The workflow starts when the file ``wait_for`` appears on the cluster, for instance the last one that
another simulation writes. Then the input and the pseudopotential are uploaded, the self-consistent field
calculation of bulk silicon runs as a batch job, and its text output and its XML result come back.

Before you start it, set the params: your folder on the cluster; a local folder that all workers can reach,
with a silicon pseudopotential ``Si.upf`` in it (https://pseudopotentials.quantum-espresso.org); and what
makes ``pw.x`` available on your cluster. The input file ``si.scf.in`` lies beside this DAG. System and
account come from the connection ``firecrest_default``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, dag

from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from airflow_provider_firecrest.sensors.files import FirecrestFileSensor

INPUTS = Path(__file__).parent / "quantum_espresso"
REMOTE = "{{ params.remote_dir }}"
LOCAL = "{{ params.local_dir }}"


@dag(
    schedule=None,
    tags=["firecrest", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "deferrable": True},
    params={
        "remote_dir": Param(
            "/scratch/me/silicon", type="string", description="Existing folder on the cluster to calculate in"
        ),
        "wait_for": Param(
            "/scratch/me/silicon/ready",
            type="string",
            description="File on the cluster that starts it",
        ),
        "local_dir": Param(
            "/data/silicon", type="string", description="Folder with Si.upf; the outputs get there too"
        ),
        "setup": Param(
            "module load quantum-espresso", type="string", description="Shell line that makes pw.x available"
        ),
        "command": Param("srun pw.x", type="string", description="How to start pw.x"),
        "nodes": Param(1, type="integer", minimum=1),
        "tasks_per_node": Param(4, type="integer", minimum=1),
    },
    doc_md=__doc__,
)
def quantum_espresso() -> None:
    wait = FirecrestFileSensor(
        task_id="wait_for_file",
        path="{{ params.wait_for }}",
        poke_interval=60,
        timeout=timedelta(days=1).total_seconds(),
    )
    upload_input = FirecrestUploadOperator(
        task_id="upload_input",
        source_path=str(INPUTS / "si.scf.in"),
        target_path=f"{REMOTE}/si.scf.in",
        if_exists="overwrite",
    )
    upload_pseudopotential = FirecrestUploadOperator(
        task_id="upload_pseudopotential",
        source_path=f"{LOCAL}/Si.upf",
        target_path=f"{REMOTE}/Si.upf",
        if_exists="overwrite",
    )
    run = FirecrestSubmitJobOperator(
        task_id="run_scf",
        script="quantum_espresso/scf.sbatch",
        working_dir=REMOTE,
        poll_interval=30,
        execution_timeout=timedelta(hours=12),  # counts while the job queues; then it is cancelled
    )
    download_output = FirecrestDownloadOperator(
        task_id="download_output",
        source_path=f"{REMOTE}/si.scf.out",
        target_path=f"{LOCAL}/si.scf.out",
        if_exists="overwrite",
    )
    download_xml = FirecrestDownloadOperator(
        task_id="download_xml",
        source_path=f"{REMOTE}/out/silicon.save/data-file-schema.xml",
        target_path=f"{LOCAL}/silicon.xml",
        if_exists="overwrite",
    )

    wait >> [upload_input, upload_pseudopotential] >> run >> [download_output, download_xml]


quantum_espresso()
