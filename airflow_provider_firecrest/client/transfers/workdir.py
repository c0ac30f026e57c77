"""A transfer's own directory on the system, and the batch jobs that run in it.

Everything a directory transfer leaves on the system while it is under way (archive, logs, a tree that is not
complete yet) stands in one directory ``.firecrest-...`` beside the source or the target, which only its
owner can read. So one removal leaves nothing behind. Must not know what the jobs do (``tree_jobs``).
"""

from __future__ import annotations

import logging
import secrets
import time

from .. import limits, paths
from ..errors import (
    AmbiguousError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TransferFailedError,
)
from ..leftovers import Leftover, remove_leftover
from ..models import Job
from ..sync_client import FirecrestClient
from . import proof, tree_jobs

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_PREFIX = ".firecrest-"
_LOOK_EVERY = 3.0
_REPORT_WITHIN = 15.0


def make(client: FirecrestClient, parent: str, system: str, *, field: str) -> str:
    """Make a directory of one's own below ``parent`` and return its path.

    :param client: the client.
    :param parent: an existing directory.
    :param system: system name.
    :param field: what the user calls the path that ``parent`` belongs to.
    :raises PermissionDeniedError: nothing can be written there.
    :endpoint: POST .../ops/mkdir, PUT .../ops/chmod
    """
    work = paths.join(parent, _PREFIX + secrets.token_hex(8))
    try:
        # The name is ours alone, so that making it twice is making it once.
        client.mkdir(work, parents=True, system=system)
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            f"{field}: nothing can be written in {parent} on {system}; the archive goes there.",
            server_message=error.server_message,
        ) from None
    try:
        client.chmod(work, "700", system=system)
    except BaseException:
        client.run(remove_leftover(client.api, Leftover(work, system)))
        raise
    return work


def submit(
    client: FirecrestClient,
    script: str,
    work: str,
    *,
    what: str,
    system: str,
    account: str | None,
    partition: str | None,
) -> str:
    """Submit a script that works in ``work``, and return the job's id. After a lost answer the job is looked
    for by its name, which no other has.

    :param client: the client.
    :param script: the batch script; of two copies it lets only one work.
    :param work: its directory.
    :param what: ``pack`` or ``unpack``, for the job's name.
    :param system: system name.
    :param account: Slurm account.
    :param partition: partition; None leaves it to Slurm.
    :endpoint: POST /compute/{system}/jobs
    """
    name = f"firecrest-{what}-{paths.basename(work).removeprefix(_PREFIX)}"

    def once() -> str:
        # The script writes its own log: a working directory with % in it would be a pattern for Slurm.
        return client.submit_job(
            script,
            working_dir=work,
            name=name,
            stdout="/dev/null",
            stderr="/dev/null",
            account=account,
            partition=partition,
            system=system,
        )

    try:
        return once()
    except AmbiguousError as error:
        logger.warning("Nobody knows whether the job %s was submitted: %s", name, error.message)
    return _find(client, name, system) or once()


def report(client: FirecrestClient, work: str, job: Job, *, system: str, doing: str) -> dict[str, str]:
    """Return what a job wrote down, once it is over.

    :param client: the client.
    :param work: its directory.
    :param job: the job in its final state.
    :param system: system name.
    :param doing: the job's purpose in words, for errors.
    :raises InvalidRequestError: the job looked and refused.
    :raises TransferFailedError: it failed; the message holds its state and its log.
    :endpoint: GET .../ops/download, GET .../ops/tail
    """
    found = _read_report(client, work, system, patience=_REPORT_WITHIN if job.succeeded else 0.0)
    if "refused" in found:
        raise InvalidRequestError(f"{doing} was refused by job {job.job_id}: {found['refused']}.")
    if job.succeeded and "end" in found:
        return found
    raise TransferFailedError(f"{doing} failed. {evidence(client, work, job, system=system)}")


def must_be_a_directory(client: FirecrestClient, target: str, work: str, job: Job, *, system: str) -> None:
    """Look at what a job says it has put into place.

    :raises TransferFailedError: it is not there.
    """
    try:
        found = proof.stat_when_there(client, target, system)
    except NotFoundError:
        found = None
    if found is None or not found.is_dir:
        raise TransferFailedError(
            f"{target} is not on {system}. {evidence(client, work, job, system=system)}"
        )


def evidence(client: FirecrestClient, work: str, job: Job, *, system: str) -> str:
    """Return a job's end in words: state, exit code, and its log."""
    try:
        log = client.tail(tree_jobs.path_in(work, tree_jobs.LOG), size=8192, system=system).strip()[-1500:]
    except NotFoundError:
        log = "(it wrote none: it never got to its first line)"
    except FirecrestError as error:
        log = f"(cannot be read: {error.message})"
    code = f" with exit code {job.exit_code}" if job.exit_code else ""
    return f"The job {job.job_id} ended {job.state}{code}.\nIts log: {log or '(empty)'}"


def _read_report(client: FirecrestClient, work: str, system: str, *, patience: float) -> dict[str, str]:
    """Read it, giving the file system a moment to show another node's file."""
    deadline = time.monotonic() + patience
    while True:
        try:
            text = client.download(tree_jobs.path_in(work, tree_jobs.REPORT), system=system)
            return tree_jobs.read_report(text.decode(errors="replace"))
        except NotFoundError:
            if time.monotonic() >= deadline:
                return {}
        time.sleep(1.0)


def _find(client: FirecrestClient, name: str, system: str) -> str | None:
    deadline = time.monotonic() + limits.JOB_VISIBLE_WITHIN
    while True:
        try:
            found = client.jobs(name=name, system=system)
        except FirecrestError as error:
            logger.warning("The job %s cannot be looked for: %s", name, error.message)
            found = []
        if found:
            logger.info("It was: it is job %s.", found[0].job_id)
            return found[0].job_id
        if time.monotonic() >= deadline:
            return None
        time.sleep(_LOOK_EVERY)
