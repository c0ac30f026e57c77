"""A whole file operation in one call, for plain Python and for the small operations."""

from __future__ import annotations

from typing import Any

from ..models import Job
from ..sync_client import FirecrestClient
from .dependency import failed_first, may_wait_forever
from .finish import cancel_operation, finish_operation
from .operation import FileOperationResult, Kind
from .plan import plan_operation
from .start import start_operation


def run_operation(
    client: FirecrestClient,
    kind: Kind,
    source: str,
    target: str | None = None,
    *,
    poll_interval: float = 5.0,
    timeout: float | None = None,
    **options: Any,
) -> FileOperationResult:
    """Do a file operation on the system and wait for its proof.

    :param client: the client.
    :param kind: ``mv``, ``cp``, ``rsync``, ``rm``, ``compress`` or ``extract``.
    :param source: absolute path on the system.
    :param target: absolute path on the system; none for ``rm``.
    :param poll_interval: seconds between two looks at the job.
    :param timeout: seconds after which to give up waiting for a job; it is cancelled then.
    :param options: as for ``plan_operation``.
    :returns: the proven result.
    :raises FirecrestError: it failed; the message says what was found.
    """
    operation = plan_operation(client, kind, source, target, **options)
    started = start_operation(client, operation)
    if isinstance(started, FileOperationResult):
        return started

    def end_of(job_id: str) -> Job:
        return client.wait_for_job(
            job_id, poll_interval=poll_interval, timeout=timeout, system=operation.system
        )

    try:
        if operation.after_job_id is not None and may_wait_forever(client, started.operation):
            first = end_of(operation.after_job_id)
            if not first.succeeded:
                raise failed_first(first, str(operation))
        job = end_of(started.job_id)
    except BaseException:
        cancel_operation(client, started)
        raise
    return finish_operation(client, started, job)
