"""The end of a file operation that a job did: what the job says, and what the file system shows.

A server's file job that failed ends COMPLETED 0:0. Its log tells, mostly; the file system always does.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass

from ..errors import FirecrestError, IntegrityError, TransferFailedError
from ..models import Job
from ..sync_client import FirecrestClient
from . import dependency, proofs
from .looks import quietly_cancel, quietly_remove, read_log, settled
from .once import logs_of_job
from .operation import FileOperation, FileOperationResult, StartedOperation
from .plan import located
from .proofs import PROVABLE
from .remains import clear_up

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_TAIL = 1500

_V2_DONE = {
    "mv": "Files were successfully moved.",
    "cp": "Files were successfully copied.",
    "rm": "Files were successfully deleted.",
    "compress": "Files were successfully compressed.",
    "extract": "Files were successfully extracted.",
}
_V2_COMPLAINT = re.compile(r"Unable to (move|copy|delete|compress|extract) files")
# v1's job steps run under srun, which tells of every tool that failed; the tools themselves tell why.
_V1_COMPLAINT = re.compile(
    r"^(srun|slurmstepd): error|^(\S*/)?(cp|mv|rm|tar|unzip|rsync)( error)?: (?!Removing leading)",
    re.MULTILINE,
)
_V1_DONE = " finished on "
_NO_LOG = 53
"""Slurm's signal for a job whose directory or log cannot be opened."""


class _SilentError(TransferFailedError):
    """The job's logs say neither that it is done nor that it failed: no reason to remove anything."""


@dataclass(frozen=True)
class _Said:
    """What a job left in its logs."""

    output: str
    error: str
    told: str


def finish_operation(
    client: FirecrestClient, started: StartedOperation, job: Job | None = None
) -> FileOperationResult:
    """Prove a file operation, once its job is over.

    :param client: the client.
    :param started: what ``start_operation`` returned.
    :param job: the job in its final state; None asks for it.
    :returns: the proven result.
    :raises JobFailedError: the job that this one waited for has failed.
    :raises TransferFailedError: it did not happen; the message holds state and logs of the job.
    :raises IntegrityError: the outcome is not what it must be.
    :endpoint: GET /compute/{system}/jobs/{id}, GET .../ops/tail (logs), GET .../ops/stat and more
    """
    operation = started.operation
    job = job or client.get_job(started.job_id, system=operation.system)
    by_script = operation.way == "script"
    job_failed = True
    try:
        evidence = _own_end(client, started, job) if by_script else _server_end(client, started, job)
        job_failed = False
        operation = located(client, operation)
        proof = proofs.prove(
            client, operation, evidence=evidence, transfer=started.transfer, by_script=by_script
        )
    except TransferFailedError as error:
        if not isinstance(error, _SilentError):
            differs = isinstance(error, IntegrityError)
            error.message += _cleared_up(client, operation, job, job_failed=job_failed, differs=differs)
        raise
    finally:
        tidy_up(client, started)
    return FileOperationResult.of(
        operation, proof, job_id=started.job_id, seconds=time.time() - started.started_at
    )


def complains(client: FirecrestClient, job_id: str, system: str) -> bool:
    """Return whether one of FirecREST v1's own file jobs says in its error log that it failed.

    :param client: the client.
    :param job_id: id of a job that is over.
    :param system: system name.
    :endpoint: GET /tasks, GET /utilities/tail
    """
    if client.api.generation != 1:
        return False
    logs = client.run(logs_of_job(client.api, job_id, system))
    return _V1_COMPLAINT.search(read_log(client, logs.error_log, system)) is not None


def cancel_operation(client: FirecrestClient, started: StartedOperation) -> None:
    """Cancel the job of an operation that is given up, and remove what we put beside it; never raises.

    :param client: the client.
    :param started: the operation.
    """
    quietly_cancel(client, started.job_id, started.operation.system)
    tidy_up(client, started)


def give_up(client: FirecrestClient, started: StartedOperation) -> None:
    """Remove what a job that was cancelled has left: our log beside it, and the part that it had done.

    What is left of a move, and what cannot be told from somebody else's, stays; the log tells. Never raises.

    :param client: the client.
    :param started: the operation, whose job was told to end.
    """
    tidy_up(client, started)
    try:
        job = client.get_job(started.job_id, system=started.operation.system)
    except FirecrestError as error:
        logger.warning("What job %s left was not looked at: %s", started.job_id, error.message)
        return
    if job.is_final and not job.succeeded:
        said = _cleared_up(client, started.operation, job, job_failed=True, differs=False)
        if said:
            logger.info("Job %s ended %s.%s", started.job_id, job.state, said)


def tidy_up(client: FirecrestClient, started: StartedOperation) -> None:
    """Remove the log of a batch job of ours; a server's job keeps its own. Never raises.

    :param client: the client.
    :param started: the operation, whose job is over.
    """
    if started.operation.way == "script":
        quietly_remove(client, started.output_log, started.operation.system)


def _cleared_up(
    client: FirecrestClient, operation: FileOperation, job: Job, *, job_failed: bool, differs: bool
) -> str:
    try:
        said = clear_up(client, operation, job, job_failed=job_failed, differs=differs)
    except FirecrestError as error:
        said = f"What is left at {operation.result} could not be looked at: {error.message}"
    return f"\n{said}" if said else ""


def _own_end(client: FirecrestClient, started: StartedOperation, job: Job) -> str:
    """Check the end of a batch job of ours: its exit code is that of the tool that failed."""
    said = _read(client, started, job)
    if not job.succeeded:
        _blame_predecessor(client, started)
        raise TransferFailedError(f"{started.operation} failed. {said.told}", transfer=started.transfer)
    if said.output.strip():
        logger.info("Job %s said:\n%s", started.job_id, said.output.strip())
    return said.told


def _server_end(client: FirecrestClient, started: StartedOperation, job: Job) -> str:
    """Check what a job of the server's says. Its "yes" proves nothing, its "no" is believed."""
    operation = started.operation
    if not job.succeeded:
        _blame_predecessor(client, started)
        said = _read(client, started, job)
        raise TransferFailedError(f"{operation} failed. {said.told}", transfer=started.transfer)
    if not started.output_log and operation.kind in PROVABLE:
        # Found again by its name, when the scheduler had forgotten where its logs are.
        return f"Job {started.job_id} ended {job.state}; where its logs are is not known any more."
    done, complaint = _V2_DONE.get(operation.kind, ""), _V2_COMPLAINT
    if client.api.generation == 1:
        done, complaint = _V1_DONE, _V1_COMPLAINT
    found: list[_Said] = []

    def ended() -> str | None:
        found[:] = [_read(client, started, job)]
        over = done in found[0].output or complaint.search(found[0].error)
        return None if over else "its log says nothing of an end"

    settled(ended)
    said = found[0]
    if complaint.search(said.error):
        raise TransferFailedError(f"{operation} failed. {said.told}", transfer=started.transfer)
    if done not in said.output:
        raise _SilentError(f"{operation} failed. {said.told}", transfer=started.transfer)
    return said.told


def _blame_predecessor(client: FirecrestClient, started: StartedOperation) -> None:
    failure = dependency.failure_of(client, started.operation)
    if failure is not None:
        raise failure


def _read(client: FirecrestClient, started: StartedOperation, job: Job) -> _Said:
    system = started.operation.system
    output = read_log(client, started.output_log, system)
    error = read_log(client, started.error_log, system)
    told = f"Job {started.job_id} ended {job.state}"
    told += f" with exit code {job.exit_code}." if job.exit_code else "."
    if job.signal == _NO_LOG:
        told += f" Slurm could not write its log, {started.output_log}."
    told += f"\nIts log: {output.strip()[-_TAIL:] or '(empty)'}"
    if started.error_log:
        told += f"\nIts error log: {error.strip()[-_TAIL:] or '(empty)'}"
    return _Said(output, error, told)
