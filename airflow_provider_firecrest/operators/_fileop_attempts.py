"""One effective job per logical attempt of a file operation, whatever crashes in between.

Knows the order of things: what the memory says, else what the jobs' names say; end what a clear gave up, go
on with what is there, else plan and start. How a job is found stands in ``client.fileops``, what an attempt
is in ``client.attempts``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import _crash_points as crash
from ..client.attempts import Attempt, marked_name
from ..client.errors import (
    AmbiguousError,
    FirecrestError,
    JobFailedError,
    NotFoundError,
    TransferFailedError,
)
from ..client.fileops import (
    FileOperation,
    FileOperationResult,
    Intent,
    StartedOperation,
    adopted,
    finish_operation,
    give_up,
    intended_jobs,
    seen_done,
    several,
    start_operation,
    take_up,
)
from ._fileop_by_name import Wanted, end_job, end_unknown

if TYPE_CHECKING:
    from ..client import FirecrestClient
    from ._fileop_memory import FileOperationMemory

Begun = FileOperationResult | StartedOperation


class FileAttempt:
    """One try of a file operation's task, up to the job that stands for its attempt.

    :param memory: what earlier tries left.
    :param attempt: the attempt at ordinal 0.
    :param first_try: nothing can have been submitted before.
    :param not_before: seconds since the epoch; jobs that ended earlier belong to an earlier life of the task
        instance.
    :param started: called with ``job_id`` and ``system`` as soon as there is a job, for a kill.
    """

    def __init__(
        self,
        client: FirecrestClient,
        wanted: Wanted,
        memory: FileOperationMemory,
        attempt: Attempt,
        *,
        first_try: bool,
        not_before: float | None,
        started: Callable[[dict[str, Any]], None],
        log: Any,
    ) -> None:
        self.client, self.wanted, self.memory, self.attempt = client, wanted, memory, attempt
        self.first_try, self.log = first_try, log
        self._not_before, self._started = not_before, started
        self._intent: Intent | None = None

    def begin(self, plan: Callable[[], FileOperation]) -> Begun:
        """Return what stands for the attempt: the job that is there, or a new one, or the result.

        :param plan: plans the operation anew.
        :raises AmbiguousError: nobody knows whether there is a job, or which it is.
        :raises ConflictError: an earlier try has done it, and nothing is left to prove it with.
        """
        begun = self._there()
        if begun is None:
            begun = self._start(plan())
        if isinstance(begun, StartedOperation):
            self._started({"job_id": begun.job_id, "system": begun.operation.system})
            self.memory.keep(begun, self.attempt.ordinal)
            crash.crash_point("after_store")
        else:
            self.memory.succeed(begun)
        return begun

    def cancel(self, client: FirecrestClient) -> None:
        """Cancel what of the submit shows already; for a kill, so with a client of its own."""
        intent = self._intent
        found = [] if intent is None else intended_jobs(client, intent, within=0.0)
        if intent is not None and len(found) == 1:
            self.log.info("The task was killed: cancelling job %s.", found[0])
            client.cancel_job(found[0], system=intent.operation.system)

    def _there(self) -> Begun | None:
        known = self.memory.known()
        if known is None:
            if not self.first_try:
                self.attempt = end_unknown(
                    self.client,
                    self.wanted,
                    self.attempt,
                    # Where what was submitted is kept, such a job is somebody else's.
                    unmarked=not self.memory.keeps,
                    not_before=self._not_before,
                    log=self.log,
                )
            return None
        if not self.memory.is_own(known):
            self._give_up(known)
            return None
        self.attempt = replace(self.attempt, ordinal=int(known["ordinal"]))
        begun = self._taken_up(str(known["stage"]), known["left"])
        if begun is None:
            self.attempt = self.attempt.next()
        return begun

    def _taken_up(self, stage: str, left: dict[str, Any]) -> Begun | None:
        """Return what an earlier try of this attempt has begun, or None when a new one has to."""
        if stage == "done":
            self.log.info("An earlier try has done and proven it.")
            return FileOperationResult(**left)
        if stage == "called":
            return seen_done(self.client, FileOperation.from_dict(left["operation"]), left["asked_at"])
        begun: Begun | None = None
        if stage == "submitting":
            intent = Intent.from_dict(left)
            begun = take_up(self.client, intent)
            if begun is None:
                self.log.info("An earlier try died before its job %r was submitted.", intent.name)
        elif stage == "started":
            begun = StartedOperation.from_dict(left)
        return self._gone_on_with(begun) if isinstance(begun, StartedOperation) else begun

    def _gone_on_with(self, started: StartedOperation) -> Begun | None:
        """Return a job that runs or succeeded; of one that failed, remove what it left."""
        try:
            job = self.client.get_job(started.job_id, system=started.operation.system)
        except NotFoundError:
            # Accounting lags behind; one that stays unknown, the waiting will tell.
            return started
        if not job.is_final or job.succeeded:
            self.log.info("Job %s of an earlier try is %s. Nothing is submitted.", job.job_id, job.state)
            return started
        self.log.info("Job %s of an earlier try ended %s: beginning anew.", job.job_id, job.state)
        try:
            return finish_operation(self.client, started, job)
        except (TransferFailedError, JobFailedError) as error:
            self.log.info("%s", error.message)
        self.memory.fail()
        return None

    def _give_up(self, known: dict[str, Any]) -> None:
        """End what was begun before a clear."""
        if known["stage"] == "submitting":
            intent = Intent.from_dict(known["left"])
            jobs = intended_jobs(self.client, intent)
            if len(jobs) > 1:
                raise several(intent, jobs)
            for job_id in jobs:
                self._end(adopted(self.client, intent, job_id))
        elif known["stage"] == "started":
            self._end(StartedOperation.from_dict(known["left"]))

    def _end(self, started: StartedOperation) -> None:
        end_job(self.client, started.job_id, started.operation.system, self.log)
        give_up(self.client, started)

    def _start(self, operation: FileOperation) -> Begun:
        self.log.info("%s (%s).", operation, operation.way)
        if operation.way == "quick":
            self.memory.call(operation, self.attempt.ordinal)
        name = marked_name(self.wanted.name, self.attempt)
        try:
            begun = start_operation(self.client, operation, name=name, before_submit=self._before_submit)
        except AmbiguousError:
            raise
        except FirecrestError:
            if self._intent is not None:
                # Refused: there is no job. A direct call that failed may have done its work all the same.
                self.memory.fail()
            raise
        crash.crash_point("after_post")
        return begun

    def _before_submit(self, intent: Intent) -> None:
        self.memory.intend(intent, self.attempt.ordinal)
        self._intent = intent
        crash.crash_point("before_submit")
