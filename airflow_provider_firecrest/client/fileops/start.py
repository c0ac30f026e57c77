"""Starting a planned file operation: do it at once, or have a job do it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import paths
from ..errors import FirecrestError
from ..models import TransferJob
from ..sync_client import FirecrestClient
from . import scripts
from .looks import look
from .once import logs_of_job, submit_once
from .operation import FileOperation, FileOperationResult, StartedOperation
from .quick import do_quickly
from .ways import choose_job

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_V2_NAMES = {
    "mv": "MoveFiles",
    "cp": "CopyFiles",
    "rm": "DeleteFiles",
    "compress": "CompressFiles",
    "extract": "CompressFiles",
}
"""What FirecREST v2 calls its jobs in Slurm."""


def start_operation(
    client: FirecrestClient, operation: FileOperation
) -> FileOperationResult | StartedOperation:
    """Do a planned operation, or submit the job that does it. A job is submitted once.

    :param client: the client.
    :param operation: what ``plan_operation`` returned.
    :returns: the result when it is done already; else what ``finish_operation`` needs once the job is over.
    :raises FirecrestError: it failed.
    :raises AmbiguousError: nobody knows whether there is a job.
    :endpoint: the direct calls; POST .../transfer/...; POST /compute/{system}/jobs
    """
    started_at = time.time()
    if operation.way == "skip":
        proof = "was not there" if operation.kind == "rm" else "same file already there"
        return FileOperationResult.of(operation, proof)
    if operation.way == "quick":
        proof_or_none = do_quickly(client, operation)
        if proof_or_none is not None:
            return FileOperationResult.of(operation, proof_or_none, seconds=time.time() - started_at)
        # What the stopped call left there must not pass for the job's doing.
        there = look(client, operation.result, operation.system) if operation.kind == "compress" else None
        operation = replace(operation, result_before=there or operation.result_before)
        operation = replace(operation, way=choose_job(client, operation))
    if operation.way == "script":
        return _start_script(client, operation, started_at)
    return _start_server_job(client, operation, started_at)


def _start_server_job(
    client: FirecrestClient, operation: FileOperation, started_at: float
) -> StartedOperation:
    generation = client.api.generation
    # On v1 the name is ours to give, and an unmistakable one is what a lost answer's job is found by.
    name = operation.name if generation == 1 else _V2_NAMES[operation.kind]
    call: Callable[..., TransferJob] = getattr(client, f"transfer_{operation.kind}")
    options: dict[str, Any] = {"account": operation.account, "system": operation.system}
    if generation == 1:
        options |= {
            "job_name": name,
            "time_limit": operation.time_limit,
            "after_job_id": operation.after_job_id,
        }
    if operation.kind in ("compress", "extract"):
        options["compression"] = operation.compression
    if operation.kind == "compress":
        options["dereference"] = operation.dereference
    arguments = [operation.source, *([operation.target] if operation.target else [])]

    def adopt(job_id: str) -> TransferJob:
        try:
            return client.run(logs_of_job(client.api, job_id, operation.system))
        except (FirecrestError, ValueError) as error:
            # The job is there all the same; without its logs its end cannot be believed, only its failure.
            logger.warning("The logs of job %s cannot be found: %s", job_id, error)
            return TransferJob(job_id, operation.system, "", "", "")

    job = submit_once(client, operation, name, lambda: call(*arguments, **options), adopt)
    return StartedOperation(operation, job.job_id, job.output_log, job.error_log, started_at)


def _start_script(client: FirecrestClient, operation: FileOperation, started_at: float) -> StartedOperation:
    directory = _directory(client, operation)
    log = paths.join(directory, f".firecrest-{operation.kind}-{uuid.uuid4().hex}.log")
    text = scripts.batch_script(operation)

    def submit() -> str:
        return client.submit_job(
            text,
            working_dir=directory,
            name=operation.name,
            # Slurm would take a percent sign for one of its own patterns.
            stdout=log.replace("%", "%%"),
            account=operation.account,
            system=operation.system,
        )

    job_id = submit_once(client, operation, operation.name, submit, lambda found: found)
    return StartedOperation(operation, job_id, log, "", started_at)


def _directory(client: FirecrestClient, operation: FileOperation) -> str:
    """Return a directory that is there and that the user can most likely write to: our job's log goes there.

    Where a job to wait for still makes it, the nearest one above it.
    """
    if client.settings.working_dir:
        return client.settings.working_dir
    target = (operation.target or operation.source).rstrip("/")
    directory = target if operation.target and operation.into_directory else paths.parent(target)
    while directory != "/":
        found = look(client, directory, operation.system, follow=True)
        if found is not None and found.is_dir:
            break
        directory = paths.parent(directory)
    return directory
