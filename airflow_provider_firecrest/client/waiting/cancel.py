"""Cancelling a job and making sure of it, written once for workers and triggerer.

Knows that scancel's answer is not the end of a job. A generator of requests, like every call of the client:
run it with ``client.run(...)`` or ``await client.run(...)``.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import FirecrestError
from ..flow import Flow, Sleep

if TYPE_CHECKING:
    from ..models import Job

VERIFY_WITHIN = 60.0
"""Seconds a cancelled job is given to end: Slurm's KillWait (30 s by default) and a look or two."""

_PAUSE = 1.0
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class Cancelled:
    """What became of a cancellation.

    :ivar now: True when the job was told to end now, False when it was over already.
    :ivar job: the job as last seen, or None when it was not seen after the cancel.
    """

    job_id: str
    now: bool
    job: Job | None

    @property
    def verified(self) -> bool:
        """True when the job is seen to be over."""
        return not self.now or (self.job is not None and self.job.is_final)

    def __str__(self) -> str:
        if not self.now:
            return f"Job {self.job_id} was over already."
        if self.verified and self.job is not None:
            return f"Job {self.job_id} was cancelled; its state is {self.job.state}."
        state = f" its state is {self.job.state}" if self.job is not None else " it could not be looked at"
        return f"Job {self.job_id} was told to end, but{state}."


def cancel_and_verify(
    api: Any, job_id: str, *, system: str | None, within: float = VERIFY_WITHIN
) -> Flow[Cancelled]:
    """Cancel a job and look until it is over.

    :param api: the client's ``api``.
    :param job_id: job id.
    :param system: system name; None: the connection's.
    :param within: seconds to look; what does not end by then is reported, not raised.
    :raises NotFoundError: unknown job.
    :raises PermissionDeniedError: somebody else's job.
    :endpoint: DELETE and GET /compute/{system}/jobs/{job_id} (scancel, sacct)
    """
    now: bool = yield from api.cancel_job(job_id, system=system)
    return (yield from verify_cancelled(api, job_id, now=now, system=system, within=within))


def verify_cancelled(
    api: Any, job_id: str, *, now: bool, system: str | None, within: float = VERIFY_WITHIN
) -> Flow[Cancelled]:
    """Look until a job that was told to end is over.

    :param api: the client's ``api``.
    :param job_id: job id.
    :param now: what the cancel answered.
    :param system: system name; None: the connection's.
    :param within: seconds to look; what does not end by then is reported, not raised.
    :endpoint: GET /compute/{system}/jobs/{job_id} (sacct)
    """
    job: Job | None = None
    waited, pause = 0.0, _PAUSE
    while True:
        # The cancel itself went through; that one cannot look now is for the caller to read in the result.
        with contextlib.suppress(FirecrestError):
            job = yield from api.get_job(job_id, system=system)
        if (job is not None and job.is_final) or waited >= within:
            return Cancelled(job_id, now, job)
        yield Sleep(min(pause, within - waited))
        waited, pause = waited + pause, min(pause * 1.5, _LONGEST_PAUSE)
