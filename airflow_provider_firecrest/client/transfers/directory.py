"""Moving a whole directory each way, with proof: one archive, and a digest of the tree at both ends.

The steps are apart, so that an operator can wait for the jobs in between without holding a worker:
``start_upload`` or ``start_download`` goes as far as it can and returns a :class:`DirectoryTransfer` that
says what to wait for (plain JSON, but for a download's URL); ``go_on`` takes it on from there, until there
is a :class:`DirectoryResult`. Whoever keeps what ``Watch.on_change`` is told can hand it to a later process,
whose ``start_...`` goes on with it. What is on the system meanwhile stands in one directory of the
transfer's own (``workdir``); the target gets its name only when the whole tree is there and is the right one.

Knows the order of the steps. They stand in ``directory_upload`` and ``directory_download``.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from ..errors import TransferFailedError
from ..models import Job
from ..sync_client import FirecrestClient
from . import directory_download, directory_jobs, directory_upload
from .directory_resume import abandon, give_up, giving_up, giving_up_earlier
from .directory_state import (
    TIME_LIMIT,
    Again,
    DirectoryOptions,
    DirectoryResult,
    DirectoryTransfer,
    Next,
    Watch,
)

__all__ = [
    "TIME_LIMIT",
    "Again",
    "DirectoryOptions",
    "DirectoryResult",
    "DirectoryTransfer",
    "Next",
    "Watch",
    "abandon",
    "fetch_again",
    "give_up",
    "go_on",
    "run",
    "start_download",
    "start_upload",
]

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_TASK_TIMEOUT = 6 * 3600.0
"""Seconds for FirecREST v1 to move an archive to or from its object store: its tasks can hang for ever."""


def start_upload(
    client: FirecrestClient,
    source: Path | str,
    target: str,
    *,
    system: str | None = None,
    options: DirectoryOptions | None = None,
    watch: Watch | None = None,
    earlier: DirectoryTransfer | None = None,
) -> Next:
    """Begin to upload a directory: check, pack, send. Returns what to wait for.

    :param client: the client.
    :param source: a local directory.
    :param target: absolute path of the directory to be; with a slash at its end, the directory that gets the
        source under its name.
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :param earlier: how far an earlier process got; what still holds of it is gone on with, the rest given up.
    :returns: what to wait for before :func:`go_on`, or the result.
    :raises InvalidRequestError: a path or something in the tree cannot be moved; the message names it.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir; the archive goes as every file does; POST .../jobs
    """
    options, watch = options or DirectoryOptions(), watch or Watch()
    with giving_up_earlier(client, earlier, watch.again):
        return directory_upload.start(client, Path(source), target, system, options, watch, earlier)


def start_download(
    client: FirecrestClient,
    source: str,
    target: Path | str,
    *,
    system: str | None = None,
    options: DirectoryOptions | None = None,
    watch: Watch | None = None,
    earlier: DirectoryTransfer | None = None,
) -> Next:
    """Begin to download a directory: check, and have it packed. Returns what to wait for.

    :param client: the client.
    :param source: absolute path of a directory on the system; its parent must be writable.
    :param target: local path of the directory to be; with a slash at its end, the directory that gets the
        source under its name.
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :param earlier: how far an earlier process got; what still holds of it is gone on with, the rest given up.
    :returns: what to wait for before :func:`go_on`, or the result.
    :raises InvalidRequestError: a path cannot be moved; the message names it.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir, POST /compute/{system}/jobs
    """
    options, watch = options or DirectoryOptions(), watch or Watch()
    with giving_up_earlier(client, earlier, watch.again):
        return directory_download.start(client, source, target, system, options, watch, earlier)


def go_on(
    client: FirecrestClient,
    transfer: DirectoryTransfer,
    job: Job | None = None,
    *,
    watch: Watch | None = None,
) -> Next:
    """Take a transfer on, once what it waited for is over.

    :param client: the client.
    :param transfer: what the step before returned.
    :param job: the job it waited for, in its final state; None asks for it.
    :param watch: who is told.
    :returns: what to wait for next, or the result.
    :raises TransferFailedError: a job or a task failed; the message holds the evidence. Nothing is left
        behind.
    :raises IntegrityError: the trees differ.
    """
    watch = watch or Watch()
    if job is None and transfer.job_id is not None:
        job = client.get_job(transfer.job_id, system=transfer.system)
    step = directory_upload.go_on if transfer.direction == "upload" else directory_download.go_on
    with giving_up(client, transfer, watch.again):
        if job is not None and (works := directory_jobs.of_holder(client, transfer, job)) is not None:
            watch.on_change(works)
            return works
        return step(client, transfer, job, watch)


def fetch_again(client: FirecrestClient, transfer: DirectoryTransfer, *, watch: Watch | None = None) -> Next:
    """Have a packed archive put into the object store once more: the URL of the first time was lost.

    :param client: the client.
    :param transfer: a download in the phase ``staging``.
    :param watch: who is told.
    :returns: what to wait for next, or the result.
    """
    watch = watch or Watch()
    with giving_up(client, transfer, watch.again):
        return directory_download.fetch(client, replace(transfer, staged=None), watch)


def run(
    client: FirecrestClient,
    step: Next,
    *,
    poll_interval: float = 5.0,
    timeout: float | None = None,
    watch: Watch | None = None,
) -> DirectoryResult:
    """Wait here for everything that is left of a transfer.

    :param client: the client.
    :param step: what :func:`start_upload`, :func:`start_download` or :func:`go_on` returned.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds for each wait; None waits as long as it takes.
    :param watch: who is told.
    :returns: the result.
    """
    while isinstance(step, DirectoryTransfer):
        with giving_up(client, step, Again()):
            job = _wait(client, step, poll_interval, timeout)
        step = go_on(client, step, job, watch=watch)
    return step


def _wait(
    client: FirecrestClient, transfer: DirectoryTransfer, poll_interval: float, timeout: float | None
) -> Job | None:
    if transfer.job_id is not None:
        try:
            return client.wait_for_job(
                transfer.job_id, poll_interval=poll_interval, timeout=timeout, system=transfer.system
            )
        except BaseException:
            directory_jobs.end(client, transfer.job_id, transfer.system)
            raise
    deadline = time.monotonic() + (timeout or _TASK_TIMEOUT)
    while not client.task(str(transfer.task_id)).is_final:
        if time.monotonic() >= deadline:
            raise TransferFailedError(f"FirecREST's task {transfer.task_id} did not end in time.")
        time.sleep(poll_interval)
    return None
