"""How a file operation on the system goes in a task: plan, start, wait for its job, prove.

Knows the story only; what the steps do stands in ``client.fileops``, loaded when a task runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from ..hooks._task import DEFAULT_CONN_ID, default_deferrable, framework_timeout
from ._deferral import WaitsForJob

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.fileops import FileOperationResult, StartedOperation


class FileOperator(WaitsForJob, BaseOperator):
    """What all file operators share; an operator says what it does in ``operation`` and ``arguments``.

    :param account: Slurm account of the job; default: the connection's.
    :param after_job_id: job that must succeed first.
    :param job_name: name of the job.
    :param time_limit: time limit of the job.
    :param partition: partition of the job.
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
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.after_job_id = after_job_id
        self.job_name = job_name
        self.time_limit = time_limit
        self.partition = partition
        self.account = account
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.poll_interval = poll_interval
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def arguments(self) -> dict[str, Any]:
        """Return source, target and options of the operation."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Do it at once, or submit the job that does it and wait."""
        from ..client.fileops import FileOperationResult

        with self.firecrest() as client:
            started = self._start(client)
            if isinstance(started, FileOperationResult):
                return self._done(started)
            note = self._note_of(client, started)
            self.started(note, context)
            self.log.info("Job %s does it (%s).", started.job_id, started.operation.way)
            if not self.deferrable:
                return self.wait_here(client, note, context)
        return self.wait_in_triggerer(note, context)

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Prove the operation, now that its job is over."""
        from airflow.providers.common.compat.sdk import AirflowException

        from ..client.fileops import StartedOperation, cancel_operation, failed_first, finish_operation
        from ..client.job_json import job_from_dict

        note = event["carry"]
        started = StartedOperation.from_dict(note["file_operation"])
        if event["status"] == "predecessor failed":
            cancel_operation(client, started)
            raise failed_first(job_from_dict(event["jobs"][0]), str(started.operation))
        if event["status"] != "done":
            why = event.get("message") or f"{note['system']} does not know it any more."
            self.cancel(client, note, "nobody knows what became of it")
            raise AirflowException(f"What became of job {note['job_id']} is not known: {why}")
        return self._done(finish_operation(client, started, job_from_dict(event["jobs"][0])))

    def wait_in_triggerer(self, note: dict[str, Any], context: Context) -> Any:
        """Defer; when the job would stay in the queue after its predecessor failed, watch that one too."""
        if note["waits_for"] is None:
            return super().wait_in_triggerer(note, context)
        from ..triggers.dependent_jobs import FirecrestDependentJobTrigger

        self._running = None
        deadline = self.deadline(context)
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

    def cancel(self, client: FirecrestClient, note: dict[str, Any], reason: str) -> None:
        """Cancel the job, and remove the log that we put beside it."""
        from ..client.fileops import StartedOperation, tidy_up

        super().cancel(client, note, reason)
        tidy_up(client, StartedOperation.from_dict(note["file_operation"]))

    def _wait_for_predecessor(
        self, client: FirecrestClient, note: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        from ..client.job_json import job_from_dict
        from ._waiting import wait_for_jobs

        self._running = note
        try:
            event = wait_for_jobs(
                client,
                [note["waits_for"]],
                system=note["system"],
                poll_interval=self.poll_interval,
                deadline=self.deadline(context),
                submitted_at=note["submitted_at"],
                carry=note,
                log=self.log,
            )
        except AirflowTaskTimeout:
            # Airflow's own alarm may ring a moment before our deadline does.
            return {"status": "timeout", "carry": note}
        if event["status"] == "done" and not job_from_dict(event["jobs"][0]).succeeded:
            return {**event, "status": "predecessor failed"}
        return event

    def _start(self, client: FirecrestClient) -> FileOperationResult | StartedOperation:
        from airflow.providers.common.compat.sdk import AirflowFailException

        from ..client.errors import AmbiguousError
        from ..client.fileops import plan_operation, start_operation

        plan = plan_operation(
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
        self.log.info("%s (%s).", plan, plan.way)
        try:
            return start_operation(client, plan)
        except AmbiguousError as error:
            # A retry would submit again, and there may be a job.
            raise AirflowFailException(str(error)) from None

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
