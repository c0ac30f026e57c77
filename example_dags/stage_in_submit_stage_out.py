"""Stage in, compute, stage out: monthly statistics of weather records, computed by two Slurm jobs.

    make_records ----> upload_records -> station_statistics -> reduce --> download_monthly -> check -> figure
    make_workspace --/                   (a job array)         (a job) \\-> download_stations

Needs a connection ``firecrest_default`` and nothing else: the workspace on the cluster is made below your
folder on the system's default file system, unless the param ``remote_dir`` names another place. The jobs
need bash, awk and sort. To try it in an Airflow of your own, copy this file and the folder ``weather`` into
its DAGs folder.

The data moves while a task runs on a worker. While a job waits in the queue or runs, its task is deferred
and takes no worker slot.
"""

from __future__ import annotations

import re
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator

# Rendered when a task starts. `make_workspace` and `make_records` return the two folders of this run.
REMOTE = "{{ ti.xcom_pull(task_ids='make_workspace') }}"
LOCAL = "{{ ti.xcom_pull(task_ids='make_records')['folder'] }}"

# How often a waiting task asks for its job. These jobs take seconds; for jobs of hours, 60 or more is kinder
# to the cluster's scheduler.
POLL_SECONDS = 5


@dag(
    schedule=None,
    tags=["firecrest", "example"],
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "years": Param(4, type="integer", minimum=1, maximum=30, description="Years of records; 4 MB each"),
        "array_size": Param(
            4, type="integer", minimum=1, maximum=12, description="Elements of the job array"
        ),
        "remote_dir": Param(
            None,
            type=["null", "string"],
            description="Folder on the cluster; default: yours on the work file system",
        ),
        "local_dir": Param(
            None,
            type=["null", "string"],
            description="Folder all workers can reach; default: the temporary folder",
        ),
    },
    doc_md=__doc__,
)
def stage_in_submit_stage_out() -> None:
    @task
    def make_workspace(params: dict[str, Any], run_id: str) -> str:
        """Make this run's folder on the cluster."""
        from airflow_provider_firecrest.hooks.firecrest import FirecrestHook

        client = FirecrestHook("firecrest_default").get_conn()
        parent = params["remote_dir"]
        if parent is None:
            file_systems = client.system_info().file_systems
            work = next((fs for fs in file_systems if fs.default_work_dir), file_systems[0])
            parent = f"{work.path}/{client.userinfo().name}/airflow-weather"
        workspace = f"{parent}/{_as_folder_name(run_id)}"
        client.mkdir(workspace, parents=True)
        return workspace

    @task
    def make_records(params: dict[str, Any], run_id: str) -> dict[str, Any]:
        """Write the records into this run's folder on the Airflow side."""
        from weather.generate import write_records
        from weather.statistics import sha256

        parent = Path(params["local_dir"] or Path(tempfile.gettempdir()) / "airflow-weather")
        folder = parent / _as_folder_name(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        records = folder / "records.csv"
        rows = write_records(records, years=params["years"])
        return {"folder": str(folder), "rows": rows, "sha256": sha256(records)}

    # Above the server's limit for small files (5 MiB) the records go through its object storage. Size and
    # SHA-256 are compared at the end either way.
    upload_records = FirecrestUploadOperator(
        task_id="upload_records",
        source_path=f"{LOCAL}/records.csv",
        target_path=f"{REMOTE}/records.csv",
        if_exists="overwrite",  # a retry finds what the first try left
        deferrable=True,
    )

    # The script is a file beside this DAG. Its #SBATCH lines say how many elements the array has.
    station_statistics = FirecrestSubmitJobOperator(
        task_id="station_statistics",
        script="weather/station_statistics.sbatch",
        working_dir=REMOTE,
        poll_interval=POLL_SECONDS,
        deferrable=True,
        execution_timeout=timedelta(hours=2),  # then the job is cancelled, also while it still queues
    )

    reduce = FirecrestSubmitJobOperator(
        task_id="reduce",
        script="weather/reduce.sbatch",
        working_dir=REMOTE,
        poll_interval=POLL_SECONDS,
        deferrable=True,
        execution_timeout=timedelta(hours=1),
    )

    download_monthly = FirecrestDownloadOperator(
        task_id="download_monthly",
        source_path=f"{REMOTE}/monthly.csv",
        target_path=f"{LOCAL}/monthly.csv",
        if_exists="overwrite",
        deferrable=True,
    )

    download_stations = FirecrestDownloadOperator(
        task_id="download_stations",
        source_path=f"{REMOTE}/stations.txt",
        target_path=f"{LOCAL}/stations.txt",
        if_exists="overwrite",
        deferrable=True,
    )

    @task(retries=0)  # a second comparison would say the same
    def check(folder: str) -> str:
        """Compute the same here, and compare the downloaded file by its digest."""
        import hashlib

        from weather.statistics import expected_monthly, sha256

        expected = hashlib.sha256(expected_monthly(Path(folder) / "records.csv")).hexdigest()
        downloaded = sha256(Path(folder) / "monthly.csv")
        if downloaded != expected:
            raise ValueError(
                f"monthly.csv has the SHA-256 digest {downloaded}, but {expected} was computed here"
            )
        return downloaded

    @task
    def figure(folder: str) -> str:
        """Draw the figure."""
        from weather.figure import draw
        from weather.statistics import read_monthly

        months = list(read_monthly(Path(folder) / "monthly.csv"))
        path = Path(folder) / "temperature.svg"
        years = f"{min(m.month for m in months)[:4]} to {max(m.month for m in months)[:4]}"
        draw(months, path, subtitle=f"Hourly records of invented stations, {years}. Computed by Slurm jobs.")
        return str(path)

    [make_records(), make_workspace()] >> upload_records >> station_statistics >> reduce
    reduce >> [download_monthly, download_stations]
    download_monthly >> check(LOCAL) >> figure(LOCAL)


def _as_folder_name(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", run_id).strip("-")


stage_in_submit_stage_out()
