"""Submitting a batch script as v1 does: a directory of its own, sbatch, and a look at the new job.

Knows: what a submission leaves behind and how it can fail although a job runs. Must not know: HTTP.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local.slurm import SbatchError, ScontrolError
from airflow_provider_firecrest.local.slurm.submission import read_options, warning
from airflow_provider_firecrest.local.slurm.views import metadata
from airflow_provider_firecrest.local.v1.context import V1
from airflow_provider_firecrest.local.v1.tasks import TaskFailed

# Characters for which the command wrapper on the login node refuses a command line.
_REFUSED_IN_COMMANDS = re.compile(r"[;()|<\"\\]")


@dataclass(frozen=True)
class Batch:
    """A script about to be submitted.

    Args:
        script: its text.
        file: its path, as it is shown to the user.
        directory: where the job runs.
        account: account to charge; None leaves it to Slurm.
        export: text of ``--export``; None passes the login environment.
    """

    script: str
    file: str
    directory: str
    account: str | None = None
    export: str | None = None


def export_text(env: str | None) -> str | None:
    """The ``--export`` list for a JSON object of variables.

    Raises:
        ValueError: it is no JSON object.
    """
    if not env:
        return None
    variables = json.loads(env)
    if not isinstance(variables, dict):
        raise ValueError("not an object")
    return ",".join(["ALL", *(f"{name}={value}" for name, value in variables.items())])


def store_script(v1: V1, user: str, task_id: str, name: str, script: str) -> Batch:
    """Write an uploaded script where v1 keeps all of them, for ever; the job runs there.

    Raises:
        TaskFailed: the user's home cannot be written.
    """
    directory = v1.local.sandbox.home / user / "firecrest" / task_id
    try:
        directory.mkdir(parents=True)
        (directory / name).write_text(script)
    except OSError as error:
        raise TaskFailed(f"mkdir: cannot create directory '{directory}': {error.strerror}") from None
    return Batch(script, str(directory / name), str(directory))


def submit(v1: V1, user: str, batch: Batch) -> dict[str, str]:
    """Submit, and describe the job.

    Raises:
        TaskFailed: sbatch refused; or it accepted with a warning, which v1 takes for a refusal: the job runs.
    """
    if batch.export is not None and _REFUSED_IN_COMMANDS.search(batch.export):
        raise TaskFailed("Invalid command")
    try:
        job_id = v1.local.scheduler.submit(
            batch.script,
            user=user,
            working_dir=batch.directory,
            account=batch.account,
            export_all_text=batch.export,
            default_name=Path(batch.file).name,
        )
        v1.scripts[job_id] = _until_space(batch.file)
        complaint = warning(read_options(batch.script, {}))
    except SbatchError as error:
        raise TaskFailed(error.stderr.replace("\n", "")) from None
    if complaint:
        raise TaskFailed(complaint.replace("\n", ""))
    files = job_files(v1, job_id, user)
    return {**files, "job_file": v1.scripts[job_id], "jobid": job_id, "result": "Job submitted"}


def job_files(v1: V1, job_id: str, user: str) -> dict[str, Any]:
    """Where a job's output goes. Paths end at their first blank: so the server reads scontrol's output."""
    try:
        found = metadata(v1.local.scheduler, job_id, user)
    except ScontrolError:
        return {
            "job_file_err": "Not available",
            "job_file_out": "Not available",
            "job_info_extra": "scontrol_print_job error: Invalid job id specified",
        }
    return {
        "job_data_err": "",
        "job_data_out": "",
        "job_file_err": _until_space(found.stderr),
        "job_file_out": _until_space(found.stdout),
        "job_info_extra": "Job info returned successfully",
    }


def _until_space(path: str) -> str:
    return path.partition(" ")[0]
