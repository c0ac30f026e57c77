"""Taking a transfer in steps on, whatever it moves, until it is over.

Whoever begins one (``directories``, ``atomic``) gets a :class:`StepwiseTransfer` that says what to wait
for. Knows which step belongs to which transfer; the steps stand in modules of their own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..errors import TransferFailedError
from ..models import Job
from ..sync_client import FirecrestClient
from .atomic import upload as atomic_upload
from .atomic.state import AtomicUpload
from .directories import download as directory_download
from .directories import upload as directory_upload
from .directories.state import DirectoryResult, DirectoryTransfer
from .plan import TransferResult
from .steps import jobs as steps_jobs
from .steps.resume import abandon, give_up, giving_up
from .steps.state import TIME_LIMIT, Again, StepOptions, StepwiseTransfer, Watch

Next = StepwiseTransfer | DirectoryResult | TransferResult

__all__ = [
    "TIME_LIMIT",
    "Again",
    "Next",
    "StepOptions",
    "StepwiseTransfer",
    "Watch",
    "abandon",
    "give_up",
    "go_on",
    "restored",
    "run",
]

_TASK_TIMEOUT = 6 * 3600.0
"""Seconds for FirecREST v1 to move an archive to or from its object store: its tasks can hang for ever."""


def go_on(
    client: FirecrestClient,
    transfer: StepwiseTransfer,
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
    :raises IntegrityError: what has arrived differs.
    """
    watch = watch or Watch()
    if job is None and transfer.job_id is not None:
        job = client.get_job(transfer.job_id, system=transfer.system)
    with giving_up(client, transfer, watch.again):
        if job is not None and (works := steps_jobs.of_holder(client, transfer, job)) is not None:
            watch.on_change(works)
            return works
        return _step(client, transfer, job, watch)


def run(
    client: FirecrestClient,
    step: Next,
    *,
    poll_interval: float = 5.0,
    timeout: float | None = None,
    watch: Watch | None = None,
) -> DirectoryResult | TransferResult:
    """Wait here for everything that is left of a transfer.

    :param client: the client.
    :param step: what a ``start...`` or :func:`go_on` returned.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds for each wait; None waits as long as it takes.
    :param watch: who is told.
    :returns: the result.
    """
    while isinstance(step, StepwiseTransfer):
        with giving_up(client, step, Again()):
            job = _wait(client, step, poll_interval, timeout)
        step = go_on(client, step, job, watch=watch)
    return step


def restored(values: Mapping[str, Any]) -> StepwiseTransfer:
    """Rebuild a transfer of any kind from its ``as_dict``."""
    kinds: tuple[type[StepwiseTransfer], ...] = (DirectoryTransfer, AtomicUpload)
    return next(kind for kind in kinds if kind.kind == values["kind"]).from_dict(values)


def _step(client: FirecrestClient, transfer: StepwiseTransfer, job: Job | None, watch: Watch) -> Next:
    if isinstance(transfer, AtomicUpload):
        return atomic_upload.go_on(client, transfer, job, watch)
    assert isinstance(transfer, DirectoryTransfer)
    step = directory_upload.go_on if transfer.direction == "upload" else directory_download.go_on
    return step(client, transfer, job, watch)


def _wait(
    client: FirecrestClient, transfer: StepwiseTransfer, poll_interval: float, timeout: float | None
) -> Job | None:
    if transfer.job_id is not None:
        try:
            return client.wait_for_job(
                transfer.job_id, poll_interval=poll_interval, timeout=timeout, system=transfer.system
            )
        except BaseException:
            steps_jobs.end(client, transfer.job_id, transfer.system)
            raise
    deadline = time.monotonic() + (timeout or _TASK_TIMEOUT)
    while not client.task(str(transfer.task_id)).is_final:
        if time.monotonic() >= deadline:
            raise TransferFailedError(f"FirecREST's task {transfer.task_id} did not end in time.")
        time.sleep(poll_interval)
    return None
