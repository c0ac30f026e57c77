"""One effective job per logical attempt of a task, whatever crashes in between.

Knows the order of things: look, cancel what a clear gave up, adopt what is there, else submit; and after a
submit whose answer was lost, look before submitting again. How jobs are found stands in ``lookup``, how a
request is built in ``request``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..._crash_points import crash_point
from .. import script as scripts
from ..errors import AmbiguousError, FirecrestError, NotFoundError, UnavailableError
from ..models import Job
from ..waiting.cancel import cancel_and_verify
from .fence import add_fence, claim_path
from .life import by_the_systems_clock
from .lookup import Found, cancel_older, claim_holder, decide, find, find_exactly, is_fenced, is_past
from .marker import Attempt, marked_name

if TYPE_CHECKING:
    from ..sync_client import FirecrestClient
    from .request import JobRequest

logger = logging.getLogger("airflow_provider_firecrest.attempts")

SHOWS_WITHIN = 60.0
"""Seconds in which a job whose submit was not answered must show up; sites' own time limits are 5 to 10 s."""

ROUNDS = 3
"""Submits of one try, each after nothing was found of the one before; only behind a fence, which lets one of
them run."""

_MOST_CLAIMS = 50
_YOUNG_CLAIM = 3600.0


class Memory(Protocol):
    """What a caller keeps between the tries of an attempt: a shortcut, the mark alone is enough."""

    def known(self) -> Mapping[str, Any] | None:
        """Return what was kept last, or None."""

    def keep(self, values: Mapping[str, Any]) -> None:
        """Keep plain JSON values."""


class _NoMemory:
    def known(self) -> None:
        return None

    def keep(self, values: Mapping[str, Any]) -> None:
        return None


@dataclass(frozen=True)
class Submitted:
    """A job that stands for the attempt.

    :ivar name: its name on the system, with the mark.
    :ivar claim: path of the claim it must hold, or None when its script has no fence.
    :ivar adopted: it was there already.
    """

    job_id: str
    name: str
    claim: str | None = None
    adopted: bool = False


class Submission:
    """The submission of one try of one task.

    :param client: the client.
    :param request: what to submit.
    :param attempt: the attempt at ordinal 0.
    :param system: system name; default: the connection's.
    :param first_try: nothing can have been submitted before, so that nothing is looked for; default: False.
    :param fence: put the fence into shell scripts; default: True.
    :param memory: what is kept between the tries of an attempt; default: nothing is.
    :param log: a logger.
    :param sleep: waits for some seconds.
    :param shows_within: seconds in which a job whose submit was not answered must show up; default:
        ``SHOWS_WITHIN``.
    :param not_before: seconds since the epoch; jobs that ended earlier belong to an earlier life of the task
        instance: Airflow gives a run that was deleted and made again the same id.
    """

    def __init__(
        self,
        client: FirecrestClient,
        request: JobRequest,
        attempt: Attempt,
        *,
        system: str | None = None,
        first_try: bool = False,
        fence: bool = True,
        memory: Memory | None = None,
        log: Any = logger,
        sleep: Callable[[float], None] = time.sleep,
        shows_within: float | None = None,
        not_before: float | None = None,
    ) -> None:
        self.client, self.request, self.attempt = client, request, attempt
        self.system, self.first_try, self.log = system, first_try, log
        self._memory = memory or _NoMemory()
        self.fenced = fence and request.script is not None and scripts.is_shell(request.script)
        self._began = not_before
        self._sleep = sleep
        self._shows_within = SHOWS_WITHIN if shows_within is None else shows_within

    def run(self) -> Submitted:
        """Return the attempt's job: the one that is there, or a new one.

        :returns: the job; it may have ended already.
        :raises AmbiguousError: nobody knows whether there is a job, and without a fence a second one could
            run too.
        :raises FirecrestError: it cannot be looked for, or was refused; nothing was submitted.
        :endpoint: GET .../ops/head (the claim), GET /compute/{system}/jobs, POST /compute/{system}/jobs
        """
        there = self._there()
        if there is not None:
            return self._kept(there)
        crash_point("before_submit")
        return self._kept(self._submit())

    def _there(self) -> Submitted | None:
        remembered = None if self.first_try else self._remembered()
        if remembered is not None:
            return remembered
        holder = self._claimed()
        found = None if self.first_try else self._look()
        return found or (None if holder is None else self._adopt(holder, self.attempt))

    def _remembered(self) -> Submitted | None:
        """Ask for the job that the memory names, without a list."""
        known = self._memory.known()
        if not known or known.get("generation") != self.attempt.generation or not known.get("job_id"):
            return None
        attempt = replace(self.attempt, ordinal=int(known.get("ordinal") or 0))
        try:
            job = self.client.get_job(str(known["job_id"]), system=self.system)
        except NotFoundError:
            return None
        if is_fenced(job):
            return None
        if job.is_final and not job.succeeded:
            self.log.info("Job %s of an earlier try ended %s: a new one is submitted.", job.job_id, job.state)
            self.attempt = attempt.next()
            return None
        return self._adopt(job, attempt)

    def _claimed(self) -> Job | None:
        """Follow the claims on the system: they tell of jobs that no list shows any more.

        A claim whose job failed, was forgotten, or belongs to an earlier life would send every further job
        away: it is passed over.
        """
        for _ in range(_MOST_CLAIMS if self.fenced else 0):
            path = claim_path(self.request.working_dir, self.attempt)
            holder = self.client.run(claim_holder(self.client.api, path, system=self.system))
            if holder is None:
                return None
            job = self._holder(holder, path)
            if job is not None and not self._is_past(job):
                return job
            self.attempt = self.attempt.next()
        return None

    def _holder(self, job_id: str, claim: str) -> Job | None:
        """Return the job that holds a claim; None when it is long gone.

        A young claim of an unknown job is that of one which accounting does not show yet.
        """
        try:
            return self.client.get_job(job_id, system=self.system)
        except NotFoundError:
            made = self.client.stat(claim, system=self.system).mtime
        if made is None or self.client.server_time(time.time()) - made < _YOUNG_CLAIM:
            return Job(job_id, self._name(), "PENDING")
        self.log.info("Job %s holds a claim, but the system has forgotten it.", job_id)
        return None

    @property
    def _not_before(self) -> float | None:
        return by_the_systems_clock(self.client, self._began)

    def _is_past(self, job: Job) -> bool:
        if self.first_try:
            return job.is_final
        return is_past(job, self._not_before)

    def _look(self) -> Submitted | None:
        """Look for the attempt's job among the user's, and end what a clear gave up."""
        try:
            found = self.client.run(
                find(self.client.api, self.attempt, not_before=self._not_before, system=self.system)
            )
        except UnavailableError as error:
            if not self.fenced:
                raise
            # One job with a "|" in its name, anybody's, makes every list fail for a week.
            self.log.warning("The jobs cannot be listed (%s): leaving it to the fence.", error.message)
            return None
        self._cancel_older(found)
        self.attempt = found.attempt if found.attempt.ordinal >= self.attempt.ordinal else self.attempt
        job = self._choose(found)
        return None if job is None else self._adopt(job, found.attempt)

    def _choose(self, found: Found) -> Job | None:
        job, duplicates = self.client.run(
            decide(self.client.api, found, working_dir=self.request.working_dir, system=self.system)
        )
        for each in duplicates:
            self.log.warning("Job %s is a duplicate of %s: cancelling it.", each.job_id, job and job.job_id)
            self._cancel(each.job_id)
        if job is None and found.jobs:
            return self._behind_the_fence(found.attempt)
        return job

    def _behind_the_fence(self, attempt: Attempt) -> Job | None:
        """All jobs seen were sent away by the fence: the one that holds the claim is not listed."""
        path = claim_path(self.request.working_dir, attempt)
        holder = self.client.run(claim_holder(self.client.api, path, system=self.system))
        job = self._holder(holder, path) if holder else None
        if job is not None and not self._is_past(job):
            return job
        if holder:
            # Its owner failed, or is gone for good: the claim would send every further job away.
            self.attempt = attempt.next()
        return None

    def _submit(self) -> Submitted:
        for round_ in range(1, ROUNDS + 1):
            try:
                job_id = self._post()
            except AmbiguousError as lost:
                self.log.warning("The submit was not answered: %s", lost)
                there = self._wait_for_it()
                if there is not None:
                    return there
                if not self.fenced or round_ == ROUNDS:
                    raise self._undecided(lost) from None
                self.log.warning(
                    "No job %r showed up within %.0f s: submitting again. Should the first one still come,"
                    " the fence in the script lets only one of them run.",
                    self._name(),
                    self._shows_within,
                )
                continue
            crash_point("after_post")
            return Submitted(job_id, self._name(), self._claim())
        raise AssertionError("the last round returns or raises")

    def _post(self) -> str:
        text = self.request.script
        if text is not None and self.fenced:
            text = add_fence(text, self.attempt)
        self._remember(None)
        return self.client.submit_job(
            text,
            remote_script=self.request.remote_script,
            working_dir=self.request.working_dir,
            name=self._name(),
            system=self.system,
            **self.request.options,
        )

    def _wait_for_it(self) -> Submitted | None:
        """Look for the job of an unanswered submit, again and again."""
        waited, pause = 0.0, 1.0
        while True:
            try:
                found = self.client.run(
                    find_exactly(self.client.api, self.attempt, self._name(), system=self.system)
                )
                job = self._choose(found)
            except FirecrestError as error:
                self.log.warning("The jobs cannot be listed now: %s", error)
                job = None
            if job is not None:
                return self._adopt(job, self.attempt)
            if waited >= self._shows_within:
                return None
            self._sleep(pause)
            waited, pause = waited + pause, min(pause * 2, 10.0)

    def cancel(self, client: FirecrestClient) -> None:
        """Cancel what of the submit shows already; for a kill, so with a client of its own."""
        found = client.run(find_exactly(client.api, self.attempt, self._name(), system=self.system))
        for job in found.jobs:
            if not job.is_final:
                self.log.info("The task was killed: cancelling job %s.", job.job_id)
                client.cancel_job(job.job_id, system=self.system)

    def _adopt(self, job: Job, attempt: Attempt) -> Submitted:
        self.log.info(
            "Job %s (%s) is this task's already; it is %s. Nothing is submitted.",
            job.job_id,
            job.name,
            job.state,
        )
        self.attempt = attempt
        return Submitted(job.job_id, job.name or self._name(), self._claim(), adopted=True)

    def _cancel_older(self, found: Found) -> None:
        for job in found.older:
            self.log.info("Job %s belongs to this task before it was cleared: cancelling it.", job.job_id)
        for job in self.client.run(cancel_older(self.client.api, found, system=self.system)):
            flow = cancel_and_verify(self.client.api, job.job_id, system=self.system, within=30.0)
            self.log.info("%s", self.client.run(flow))

    def _cancel(self, job_id: str) -> None:
        try:
            self.client.cancel_job(job_id, system=self.system)
        except FirecrestError as error:
            self.log.error("Job %s could not be cancelled: %s", job_id, error)

    def _kept(self, job: Submitted) -> Submitted:
        self._remember(job.job_id)
        crash_point("after_store")
        return job

    def _name(self) -> str:
        return marked_name(self.request.name, self.attempt)

    def _claim(self) -> str | None:
        return claim_path(self.request.working_dir, self.attempt) if self.fenced else None

    def _remember(self, job_id: str | None) -> None:
        attempt = self.attempt
        self._memory.keep({"generation": attempt.generation, "ordinal": attempt.ordinal, "job_id": job_id})

    def _undecided(self, lost: AmbiguousError) -> AmbiguousError:
        return AmbiguousError(
            "It is not known whether the job was submitted: the submit was not answered, and no job"
            f" {self._name()!r} showed up within {self._shows_within:.0f} s. Look for it on the system"
            f" (squeue, sacct); if there is none, clear this task. The lost answer: {lost.message}",
            method=lost.method,
            path=lost.path,
            status=lost.status,
            server_message=lost.server_message,
        )
