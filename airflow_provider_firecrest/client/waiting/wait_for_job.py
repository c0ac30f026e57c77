"""Waiting for one job as a call of the client: for scripts, and for the steps of larger calls.

By the same rules as every wait: ``patience`` for the questions, ``job_watch`` for the answers. A flow, so it
serves both drivers.
"""

from __future__ import annotations

import logging
import math
import time
from abc import abstractmethod
from collections.abc import Callable

from .. import limits
from ..api import ApiBase
from ..errors import AuthenticationError, DeadlineError, FirecrestError, NotFoundError, ProtocolError
from ..flow import Flow, Sleep
from ..models import Job
from .job_watch import JobWatch
from .patience import Patience, is_outage

logger = logging.getLogger("airflow_provider_firecrest.client")


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
        :param poll_interval: seconds between two looks, give or take a tenth; after failed ones up to ten or
            this, whichever is more.
        :param timeout: seconds after which to give up; None waits as long as the job takes.
        :param on_change: called with the job whenever its state changes.
        :param system: system name; default: the connection's.
        :returns: the job in its final state, whichever that is.
        :raises DeadlineError: ``timeout`` passed. The job goes on.
        :raises NotFoundError: every answer of a minute called the job unknown; of ten minutes, after it was
            seen.
        :raises FirecrestError: nothing but refusals for two hours; at once if the job was never seen and the
            login is not the reason.
        :endpoint: as :meth:`get_job`
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        # Nothing has ever changed for this patience, so it keeps an even pace.
        patience = Patience(poll_interval, deadline, quiet_since=-math.inf, clock=time.monotonic)
        watch = JobWatch([job_id], unseen_for=limits.JOB_VISIBLE_WITHIN, clock=time.monotonic)
        while True:
            seen = watch.jobs.get(job_id)
            try:
                job = yield from self.get_job(job_id, system=system)
            except NotFoundError as error:
                watch.observe({})
                if watch.lost:
                    raise
                pause = patience.answered(changed=False)
                logger.warning("Job %s: %s Waiting goes on.", job_id, error.message)
            except FirecrestError as error:
                watch.unanswered()
                if seen is None and _is_no_outage_at_first(error):
                    raise
                pause = patience.failed(error)
                logger.warning("Job %s: %s Waiting goes on.", job_id, error.message)
            else:
                watch.observe({job_id: job})
                pause = patience.answered(changed=False)
                if on_change is not None and (seen is None or seen.state != job.state):
                    on_change(job)
                if job.is_final:
                    return job
            if patience.expired:
                last = watch.jobs.get(job_id)
                state = f"it is {last.state}" if last else "it was never seen"
                raise DeadlineError(f"Job {job_id} is not over after {timeout:.0f} s; {state}.")
            yield Sleep(pause)


def _is_no_outage_at_first(error: FirecrestError) -> bool:
    """True for what ends a wait that has had no answer yet. A page instead of FirecREST is maintenance behind
    an address that worked, and a wrong address otherwise; a login can be refused while it is being replaced.
    """
    passing = is_outage(error) or isinstance(error, AuthenticationError)
    return isinstance(error, ProtocolError) or not passing
