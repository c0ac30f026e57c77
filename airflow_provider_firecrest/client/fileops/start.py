"""Starting a planned file operation: do it at once, or have a job do it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import paths
from ..models import TransferJob
from ..sync_client import FirecrestClient
from . import scripts
from .looks import look
from .once import SERVERS_NAMES, ids_before, log_name, submit_once
from .operation import FileOperation, FileOperationResult, Intent, StartedOperation
from .quick import do_quickly
from .ways import choose_job


def start_operation(
    client: FirecrestClient,
    operation: FileOperation,
    *,
    name: str | None = None,
    before_submit: Callable[[Intent], None] | None = None,
) -> FileOperationResult | StartedOperation:
    """Do a planned operation, or submit the job that does it. A job is submitted once.

    :param client: the client.
    :param operation: what ``plan_operation`` returned.
    :param name: name of the job, where it is ours to give; default: the operation's.
    :param before_submit: called right before a job is submitted; who writes down what it is given can find
        the job with ``take_up`` after a crash.
    :returns: the result when it is done already; else what ``finish_operation`` needs once the job is over.
    :raises FirecrestError: it failed.
    :raises AmbiguousError: nobody knows whether there is a job.
    :endpoint: the direct calls; POST .../transfer/...; POST /compute/{system}/jobs
    """
    started_at = time.time()
    operation = replace(operation, name=name or operation.name)
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
    intent = _intent(client, operation, started_at)
    if before_submit is not None:
        before_submit(intent)
    return _start_script(client, intent) if operation.way == "script" else _start_server_job(client, intent)


def _intent(client: FirecrestClient, operation: FileOperation, started_at: float) -> Intent:
    name, log = operation.name, ""
    if operation.way == "script":
        directory = _directory(client, operation)
        log = paths.join(directory, log_name(operation.kind, name))
    elif client.api.generation == 2:
        # On v1 the name is ours to give, and an unmistakable one is what a lost answer's job is found by.
        name = SERVERS_NAMES[operation.kind]
    return Intent(operation, name, ids_before(client, name, operation.system), log, started_at)


def _start_server_job(client: FirecrestClient, intent: Intent) -> StartedOperation:
    operation = intent.operation
    call: Callable[..., TransferJob] = getattr(client, f"transfer_{operation.kind}")
    options: dict[str, Any] = {"account": operation.account, "system": operation.system}
    if client.api.generation == 1:
        options |= {
            "job_name": intent.name,
            "time_limit": operation.time_limit,
            "after_job_id": operation.after_job_id,
        }
    if operation.kind in ("compress", "extract"):
        options["compression"] = operation.compression
    if operation.kind == "compress":
        options["dereference"] = operation.dereference
    arguments = [operation.source, *([operation.target] if operation.target else [])]

    def submit() -> StartedOperation:
        job = call(*arguments, **options)
        return StartedOperation(operation, job.job_id, job.output_log, job.error_log, intent.asked_at)

    return submit_once(client, intent, submit)


def _start_script(client: FirecrestClient, intent: Intent) -> StartedOperation:
    operation, log = intent.operation, intent.output_log

    def submit() -> StartedOperation:
        job_id = client.submit_job(
            scripts.batch_script(operation),
            working_dir=paths.parent(log),
            name=intent.name,
            # Slurm would take a percent sign for one of its own patterns.
            stdout=log.replace("%", "%%"),
            account=operation.account,
            system=operation.system,
        )
        return StartedOperation(operation, job_id, log, "", intent.asked_at)

    return submit_once(client, intent, submit)


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
