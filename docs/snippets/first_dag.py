from datetime import timedelta

from airflow.sdk import dag

from airflow_provider_firecrest import (
    FirecrestDownloadOperator,
    FirecrestSubmitJobOperator,
    FirecrestUploadOperator,
)


@dag(schedule=None)
def first_dag():
    upload = FirecrestUploadOperator(
        task_id="upload",
        source_path="/data/input.csv",
        target_path="/scratch/me/input.csv",
        if_exists="overwrite",
    )
    job = FirecrestSubmitJobOperator(
        task_id="job",
        script="#!/bin/bash -l\n#SBATCH --time=00:10:00\nsort input.csv > sorted.csv\n",
        working_dir="/scratch/me",
        deferrable=True,
        execution_timeout=timedelta(hours=6),
    )
    download = FirecrestDownloadOperator(
        task_id="download",
        source_path="/scratch/me/sorted.csv",
        target_path="/data/sorted.csv",
        if_exists="overwrite",
    )
    upload >> job >> download


first_dag()
