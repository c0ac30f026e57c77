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

from . import limits, states
from .api import ApiBase
from .errors import (
    AuthenticationError,
    CommandTimeoutError,
    DeadlineError,
    FirecrestError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    TooLargeError,
    UnavailableError,
)
from .flow import Flow, Sleep
from .models import Job

logger = logging.getLogger("airflow_provider_firecrest.client")

LOST_AFTER = 600.0
"""Seconds for which a job that was seen must stay unknown before it counts as lost."""

LOGIN_PATIENCE = 900.0
"""Seconds for which refused logins are taken for an outage of the token server."""


def is_outage(error: FirecrestError) -> bool:
    """Return whether an error says nothing about the job: the question failed, not the job."""
    transient = (UnavailableError, RateLimitError, CommandTimeoutError, QuotaError, TooLargeError)
    return isinstance(error, transient)


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
        :raises NotFoundError: the job has been unknown for a minute since the start, or for ten after it was
            seen.
        :endpoint: as :meth:`get_job`
        """
        started = time.monotonic()
        last_good, refused_since = started, None
        seen: Job | None = None
        while True:
            job: Job | None = None
            asked = time.monotonic()
            try:
                job = yield from self.get_job(job_id, system=system)
                refused_since = None
            except NotFoundError:
                patience = LOST_AFTER if seen is not None else limits.JOB_VISIBLE_WITHIN
                if asked - last_good > patience:
                    raise
            except AuthenticationError as error:
                refused_since = refused_since or asked
                if asked - refused_since > LOGIN_PATIENCE:
                    raise
                logger.warning("Job %s: %s Waiting goes on.", job_id, error.message)
            except FirecrestError as error:
                if not is_outage(error):
                    raise
                # An outage tells nothing about the job; the time of it does not count as absence.
                last_good += time.monotonic() - asked + poll_interval
                logger.warning("Job %s: %s Waiting goes on.", job_id, error.message)
            if job is not None:
                last_good = time.monotonic()
                if on_change is not None and (seen is None or seen.state != job.state):
                    on_change(job)
                seen = job
                if states.is_final(job.state):
                    return job
            pause = poll_interval * random.uniform(0.9, 1.1)
            if timeout is not None and time.monotonic() + pause - started > timeout:
                state = f"it is {seen.state}" if seen else "it was never seen"
                raise DeadlineError(f"Job {job_id} is not over after {timeout:.0f} s; {state}.")
            yield Sleep(pause)
