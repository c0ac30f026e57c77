"""Waiting for a job, through outages: the one loop that decides when a job is over, lost, or merely not to be
seen.

Knows what answers mean to somebody who waits; a flow, so it serves both drivers.
"""

from __future__ import annotations

import logging
import random
import time
from abc import abstractmethod
from collections.abc import Callable

from .. import limits, states
from ..api import ApiBase
from ..errors import (
    AuthenticationError,
    DeadlineError,
    FirecrestError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    TooLargeError,
    UnavailableError,
)
from ..flow import Flow, Sleep
from ..models import Job

logger = logging.getLogger("airflow_provider_firecrest.client")

LOST_AFTER = 600.0
"""Seconds for which a job that was seen must stay unknown before it counts as lost."""

REFUSALS_TOLERATED = 900.0
"""Seconds of nothing but refusals (401, 403, a bad certificate) before waiting gives up. A token server or a
gateway that is being replaced refuses for minutes; a deleted account refuses for ever."""


def is_outage(error: FirecrestError) -> bool:
    """Return whether an error says nothing about the job: the question failed, not the job."""
    transient = (UnavailableError, RateLimitError, QuotaError, TooLargeError)
    return isinstance(error, transient)


class _Patience:
    """Adds up failed questions about a job: outages are waited through, absence and refusals for a while."""

    def __init__(self) -> None:
        self._seen = False
        self._absent = 0.0
        self._absent_at: float | None = None
        self._refused_since: float | None = None

    def answered(self) -> None:
        """Note that the job was seen."""
        self._seen, self._absent, self._absent_at, self._refused_since = True, 0.0, None, None

    def failed(self, error: FirecrestError) -> None:
        """Note a failed question; raise its error when waiting on is of no use."""
        now = time.monotonic()
        if isinstance(error, NotFoundError):
            self._missed(error, now)
            return
        # Only absence that was looked at counts: nobody knows what the answer would have been meanwhile.
        self._absent_at = None
        if is_outage(error) or (self._seen and isinstance(error, ProtocolError)):
            # A page in front of an API that was there a moment ago is its maintenance.
            self._refused_since = None
            return
        if not self._seen and not isinstance(error, AuthenticationError):
            raise error
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now - self._refused_since > REFUSALS_TOLERATED:
            raise error

    def _missed(self, error: NotFoundError, now: float) -> None:
        self._refused_since = None
        self._absent += 0.0 if self._absent_at is None else now - self._absent_at
        self._absent_at = now
        if self._absent > (LOST_AFTER if self._seen else limits.JOB_VISIBLE_WITHIN):
            raise error


class Waiting(ApiBase):
    """Flows that wait, for either generation."""

    @abstractmethod
    def get_job(self, job_id: str, *, system: str | None = None) -> Flow[Job]:
        """Return one job."""

    def wait_for_job(
        self,
        job_id: str,
        *,
        poll_interval: float = 10.0,
        timeout: float | None = None,
        on_change: Callable[[Job], None] | None = None,
        system: str | None = None,
    ) -> Flow[Job]:
        """Wait until a job is over. No outage of FirecREST, Slurm or the token server ends the waiting.

        :param job_id: job id.
        :param poll_interval: seconds between two looks, give or take a tenth.
        :param timeout: seconds after which to give up; None waits as long as the job takes.
        :param on_change: called with the job whenever its state changes.
        :param system: system name; default: the connection's.
        :returns: the job in its final state, whichever that is.
        :raises DeadlineError: ``timeout`` passed. The job goes on.
        :raises NotFoundError: every answer of a minute called the job unknown; of ten minutes, after it was
            seen.
        :raises FirecrestError: nothing but refusals for a quarter of an hour, or at once if the job was never
            seen and the login is not the reason.
        :endpoint: as :meth:`get_job`
        """
        started = time.monotonic()
        patience = _Patience()
        seen: Job | None = None
        while True:
            pause = poll_interval * random.uniform(0.9, 1.1)
            try:
                job = yield from self.get_job(job_id, system=system)
            except FirecrestError as error:
                patience.failed(error)
                pause = max(pause, error.retry_after or 0.0)
                logger.warning("Job %s: %s Waiting goes on.", job_id, error.message)
            else:
                patience.answered()
                if on_change is not None and (seen is None or seen.state != job.state):
                    on_change(job)
                seen = job
                if states.is_final(job.state):
                    return job
            left = None if timeout is None else timeout - (time.monotonic() - started)
            if left is not None and left <= 0:
                state = f"it is {seen.state}" if seen else "it was never seen"
                raise DeadlineError(f"Job {job_id} is not over after {timeout:.0f} s; {state}.")
            yield Sleep(pause if left is None else min(pause, left))
