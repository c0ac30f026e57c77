"""How a file operation on the system goes in a task: plan, start, wait for its job, prove.

Knows the story only; what the steps do stands in ``client.fileops``, loaded when a task runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from .._crash_points import crash_point
from ..hooks._task import DEFAULT_CONN_ID, default_deferrable, framework_timeout, within_kill_budget
from ._deferral import WaitsForJob

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.attempts import Attempt
    from ..client.fileops import FileOperation, FileOperationResult, StartedOperation
    from ._fileop_attempts import FileAttempt
    from ._fileop_memory import FileOperationMemory

REATTACH = ("retry", "always", "never")

_LOOK_FOR_KILLED = 2.0
"""Seconds that a kill holds a submit up to look for its job; the answer to the submit needs some of the five
that Airflow leaves a task."""


class FileOperator(WaitsForJob, BaseOperator):
    """What all file operators share; an operator says what it does in ``operation`` and ``arguments``.

    :param account: Slurm account of the job; default: the connection's.
    :param after_job_id: job that must succeed first.
    :param job_name: name of the job.
    :param time_limit: time limit of the job.
    :param partition: partition of the job.
    :param reattach: what a retry or a clear does with the job of the try before.
    """

    template_fields: Sequence[str] = (
        "source_path",
        "target_path",
        "after_job_id",
        "job_name",
        "time_limit",
        "partition",
        "account",
        "system",
        "firecrest_conn_id",
    )
    ui_color = "#efe8d3"
    cancel_on_kill = True
    operation: str
    _attempt: FileAttempt | None = None

    def __init__(
        self,
        *,
        after_job_id: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        partition: str | None = None,
        account: str | None = None,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = 15.0,
        reattach: Literal["retry", "always", "never"] = "retry",
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reattach not in REATTACH:
            raise ValueError(f"reattach: {reattach!r} is not one of {', '.join(REATTACH)}.")
        self.after_job_id = after_job_id
        self.job_name = job_name
        self.time_limit = time_limit
        self.partition = partition
        self.account = account
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.poll_interval = poll_interval
        self.reattach = reattach
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def arguments(self) -> dict[str, Any]:
        """Return source, target and options of the operation."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Do it at once, or submit the job that does it and wait."""
        return self.perform(context)

    def perform(self, context: Context) -> Any:
        """What ``execute`` does, for an operator that does it as a part of its own task: Airflow warns of an
        ``execute`` that it has not called itself.
        """
        from ..client.fileops import FileOperationResult

        with self.firecrest() as client:
            started = self._begin(client, context)
            if isinstance(started, FileOperationResult):
                return self._done(started)
            note = self._note_of(client, started)
            self.started(note, context)
            self._attempt = None
            self.log.info("Job %s does it (%s).", started.job_id, started.operation.way)
            if not self.deferrable:
                return self.wait_here(client, note, context)
        return self.wait_in_triggerer(note, context)

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Prove the operation, now that its job is over."""
        from airflow.providers.common.compat.sdk import AirflowException

        from ..client.errors import JobFailedError, TransferFailedError
        from ..client.fileops import StartedOperation, cancel_operation, failed_first, finish_operation
        from ..client.job_json import job_from_dict

        note = event["carry"]
        memory = self._memory(client, context)[0]
        started = StartedOperation.from_dict(note["file_operation"])
        if event["status"] == "predecessor failed":
            cancel_operation(client, started)
            memory.fail()
            raise failed_first(job_from_dict(event["jobs"][0]), str(started.operation))
        if event["status"] != "done":
            why = event.get("message") or f"{note['system']} does not know it any more."
            self.cancel(client, note, "nobody knows what became of it")
            raise AirflowException(f"What became of job {note['job_id']} is not known: {why}")
        try:
            result = finish_operation(client, started, job_from_dict(event["jobs"][0]))
        except (JobFailedError, TransferFailedError):
            memory.fail()
            raise
        memory.succeed(result)
        return self._done(result)

    def wait_in_triggerer(self, note: dict[str, Any], context: Context) -> Any:
        """Defer; when the job would stay in the queue after its predecessor failed, watch that one too."""
        if note["waits_for"] is None:
            return super().wait_in_triggerer(note, context)
        from ..triggers.dependent_jobs import FirecrestDependentJobTrigger

        self._running = None
        deadline = self.deadline(context)
        crash_point("before_defer")
        self.defer(
            trigger=FirecrestDependentJobTrigger(
                firecrest_conn_id=self.firecrest_conn_id,
                system=note["system"],
                job_ids=[note["job_id"]],
                after_job_id=note["waits_for"],
                submitted_at=note["submitted_at"],
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill,
                keep_on_clear=self.reattach == "always",
                marked=self.reattach != "never",
                carry=note,
            ),
            method_name="execute_complete",
            timeout=framework_timeout(deadline, self.poll_interval),
        )

    def wait_here(self, client: FirecrestClient, note: dict[str, Any], context: Context) -> Any:
        """Wait in the worker; first for the predecessor where its failure would leave the job waiting."""
        if note["waits_for"] is not None:
            event = self._wait_for_predecessor(client, note, context)
            if event["status"] != "done":
                return self._end(client, event, context)
        return super().wait_here(client, note, context)

    def on_kill(self) -> None:
        """Cancel the job; one whose submit has not been answered is looked for."""
        attempt = self._attempt if self._running is None else None
        super().on_kill()
        if attempt is not None:
            what = "Cancelling the job that is being submitted"
            within_kill_budget(self.log, what, attempt.cancel, self.hook, wait=_LOOK_FOR_KILLED)

    def cancel(self, client: FirecrestClient, note: dict[str, Any], reason: str) -> None:
        """Cancel the job, and remove what it left: the log that we put beside it, and a part of a copy."""
        from ..client.fileops import StartedOperation, give_up

        super().cancel(client, note, reason)
        give_up(client, StartedOperation.from_dict(note["file_operation"]))

    def _wait_for_predecessor(
        self, client: FirecrestClient, note: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        from ..client.job_json import job_from_dict

        event = self._until_over(client, note["waits_for"], note, context)
        if event["status"] == "done" and not job_from_dict(event["jobs"][0]).succeeded:
            return {**event, "status": "predecessor failed"}
        return event

    def _begin(self, client: FirecrestClient, context: Context) -> FileOperationResult | StartedOperation:
        """Go on with what an earlier try has begun, or plan it and start it."""
        from airflow.providers.common.compat.sdk import AirflowFailException

        from ..client.errors import AmbiguousError
        from ._fileop_attempts import FileAttempt
        from ._fileop_by_name import Wanted
        from ._task_attempt import life_began

        memory, attempt, first_try = self._memory(client, context)
        arguments = self.arguments()
        wanted = Wanted(
            kind=self.operation,
            source=str(arguments["source"]),
            target=arguments.get("target"),
            system=self.system or str(client.system),
            name=self.job_name or f"firecrest-{self.operation}",
        )
        self._attempt = FileAttempt(
            client,
            wanted,
            memory,
            attempt,
            first_try=first_try,
            not_before=life_began(context),
            started=self.killable,
            log=self.log,
        )
        try:
            return self._attempt.begin(lambda: self._plan(client))
        except AmbiguousError as error:
            # A retry looks again; but what could not be told now, it can hardly tell later.
            raise AirflowFailException(str(error)) from None

    def _memory(self, client: FirecrestClient, context: Context) -> tuple[FileOperationMemory, Attempt, bool]:
        """Return the task's memory, its attempt, and whether this is the attempt's first try."""
        from ._fileop_memory import FileOperationMemory
        from ._task_attempt import attempt_of

        attempt, first_of_attempt = attempt_of(
            context,
            client,
            conn_id=self.firecrest_conn_id,
            system=self.system,
            reattach=self.reattach,
        )
        # One that begins anew cancels what the try before it left, so that is read all the same.
        first = getattr(context["ti"], "try_number", 1) == 1
        memory = FileOperationMemory(context.get("task_state_store"), attempt, first_try=first, log=self.log)
        return memory, attempt, first_of_attempt

    def _plan(self, client: FirecrestClient) -> FileOperation:
        from ..client.fileops import plan_operation

        return plan_operation(
            client,
            self.operation,  # type: ignore[arg-type]
            system=self.system,
            account=self.account,
            after_job_id=self.after_job_id,
            job_name=self.job_name,
            time_limit=self.time_limit,
            partition=self.partition,
            **self.arguments(),
        )

    def _note_of(self, client: FirecrestClient, started: StartedOperation) -> dict[str, Any]:
        from ..client.fileops import may_wait_forever

        watched = may_wait_forever(client, started.operation)
        return {
            "job_id": started.job_id,
            "system": started.operation.system,
            "submitted_at": time.time(),
            "waits_for": started.operation.after_job_id if watched else None,
            "file_operation": started.as_dict(),
        }

    def _done(self, result: FileOperationResult) -> dict[str, Any]:
        self.log.info("Done (%s): %s, %.1f s.", result.way, result.proof, result.seconds)
        return result.as_dict()
