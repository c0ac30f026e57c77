"""How a task of an operator waits for one job of the server, and what may happen to it meanwhile.

Knows deferring, waiting in the worker, deadlines, kills and broken triggers. Must not know what the job is
for: an operator gives a *note* (plain JSON, no secret) when it starts to wait, and gets it back with the
event in ``finish``. Imported whenever a DAG file is parsed, so it imports nothing of the client at the top.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from .._crash_points import crash_point
from ..hooks._task import FirecrestMixin, framework_timeout, within_kill_budget
from ._taken_over import is_taken_over

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient

XCOM_KEY = "firecrest_job"
"""XCom with ``job_id``, ``system`` and what else is known of the job, pushed before the task waits."""


class WaitsForJob(FirecrestMixin):
    """Waits for a job, in the triggerer or in the worker; goes in front of ``BaseOperator``."""

    poll_interval: float
    deferrable: bool
    cancel_on_kill: bool
    _running: dict[str, Any] | None = None
    _killed: bool = False
    _ti: Any = None
    """The task instance, once there is a job that a retry would go on with."""

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Make the task's result, or its failure, of an event with status ``done``, ``lost`` or ``error``."""
        raise NotImplementedError

    def started(self, note: dict[str, Any], context: Context) -> None:
        """Remember a job from now on: for a kill, and for a resumed task whose trigger broke.

        :param note: ``job_id``, ``system``, ``submitted_at`` and what ``finish`` needs.
        """
        self._ti = context["ti"]
        self.killable(note)
        context["ti"].xcom_push(key=XCOM_KEY, value=note)

    def killable(self, note: dict[str, Any]) -> None:
        """Remember a job for a kill. One that came while the job was being submitted is carried out now:

        Airflow calls ``on_kill`` in a signal handler, after which the submit goes on for up to five seconds.
        """
        self._running = note
        if self._killed:
            self.on_kill()

    def wait_in_triggerer(self, note: dict[str, Any], context: Context) -> Any:
        """Defer; the task goes on in ``execute_complete``. Does not return."""
        from ..triggers.jobs import FirecrestJobTrigger

        self._running = None
        deadline = self.deadline(context)
        crash_point("before_defer")
        self.defer(  # type: ignore[attr-defined]
            trigger=FirecrestJobTrigger(
                firecrest_conn_id=self.firecrest_conn_id,
                system=note["system"],
                job_ids=[note["job_id"]],
                submitted_at=note["submitted_at"],
                poll_interval=self.poll_interval,
                deadline=deadline,
                cancel_on_kill=self.cancel_on_kill,
                keep_on_clear=getattr(self, "reattach", None) == "always",
                # Other jobs nobody would find again: no name of theirs says whose they are.
                marked=getattr(self, "reattach", "never") != "never",
                carry=note,
            ),
            method_name="execute_complete",
            timeout=framework_timeout(deadline, self.poll_interval),
        )

    def wait_here(self, client: FirecrestClient, note: dict[str, Any], context: Context) -> Any:
        """Wait in the worker, then finish."""
        return self._end(client, self._until_over(client, note["job_id"], note, context), context)

    def _until_over(
        self, client: FirecrestClient, job_id: str, note: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        """Wait in the worker until a job is over; return what the trigger would have put into its event."""
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        from ._waiting import wait_for_jobs

        self._running = note
        try:
            return wait_for_jobs(
                client,
                [job_id],
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

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take up the task again when the trigger has fired."""
        crash_point("in_execute_complete")
        with self.firecrest() as client:
            note = self._note(context)
            if note is not None and _waited_for(event["carry"]) != _waited_for(note):
                return self._wait_again(client, event["carry"], note, context)
            return self._end(client, event, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Handle the ways a deferral ends without an event: out of time, or the trigger itself broke."""
        from .._compat import deferral_ended

        try:
            return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]
        except Exception as error:
            ended = deferral_ended(error)
            note = self._note(context) if ended else None
            if note is None:
                raise
            if ended == "timeout":
                with self.firecrest() as client:
                    self.cancel(client, note, "the task ran out of time while it was deferred")
                raise
            self.log.warning(
                "The trigger failed (%s); waiting for job %s in the worker.", error, note["job_id"]
            )
        # The job knows nothing of a broken trigger: waiting on loses nothing, a retry would start a second
        # job.
        with self.firecrest() as client:
            return self.wait_here(client, note, context)

    def on_kill(self) -> None:
        """Cancel the job of a task killed in the worker; within 4 s, since Airflow sends SIGKILL after 5."""
        if self.is_left_to_the_next_try():
            return
        self._killed = True
        note, self._running = self._running, None
        if note is None or not self.cancel_on_kill:
            return
        job_id, system = note["job_id"], note["system"]
        self.log.info("The task was killed: cancelling job %s.", job_id)
        within_kill_budget(
            self.log,
            f"Cancelling job {job_id}",
            lambda client: client.cancel_job(job_id, system=system),
            self.hook,
        )

    def is_left_to_the_next_try(self) -> bool:
        """Return True when this is no user's kill, and a retry goes on with the job that is waited for."""
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        if isinstance(sys.exception(), AirflowTaskTimeout):
            # Airflow calls `on_kill` then, too, while the task counts as running.
            return False
        note = self._running
        if note is None or self._ti is None or getattr(self, "reattach", "never") == "never":
            return False
        if not is_taken_over(self._ti, self.log):
            return False
        self.log.info("Airflow goes on with this task; %s is left to it.", _waited_for(note))
        return True

    def cancel(self, client: FirecrestClient, note: dict[str, Any], reason: str) -> None:
        """Cancel the job and look until it is over;

        a failure is logged, because the task fails for ``reason``.
        """
        from ..client import FirecrestError
        from ..client.waiting.cancel import cancel_and_verify

        self._running = None
        self.log.info("Cancelling job %s: %s.", note["job_id"], reason)
        try:
            done = client.run(cancel_and_verify(client.api, note["job_id"], system=note["system"]))
            self.log.log(logging.INFO if done.verified else logging.ERROR, "%s", done)
        except FirecrestError as error:
            self.log.error("Job %s could not be cancelled and may be running: %s", note["job_id"], error)

    def _wait_again(
        self, client: FirecrestClient, other: dict[str, Any], note: dict[str, Any], context: Context
    ) -> Any:
        """Go on waiting: the event was meant for the try before a clear.

        Airflow finds a trigger's task by the trigger's number, and SQLite gives the number of a row that is
        gone to the next one: to the trigger of the new try.
        """
        self.log.info(
            "%s is over, which an earlier try of this task waited for; still waiting for %s.",
            _waited_for(other),
            _waited_for(note),
        )
        if self.deferrable:
            return self.wait_in_triggerer(note, context)
        return self.wait_here(client, note, context)

    def _end(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout

        self._running = None
        note = event["carry"]
        if event["status"] == "timeout":
            self.cancel(client, note, "execution_timeout is over")
            raise AirflowTaskTimeout(
                f"execution_timeout is over; job {note['job_id']} on {note['system']} did not end in time."
            )
        try:
            return self.finish(client, event, context)
        except AirflowTaskTimeout as timeout:
            if str(timeout).startswith("execution_timeout"):
                raise
            # Airflow's own alarm, which names nothing but a process; what it interrupted is no cause.
            raise AirflowTaskTimeout(
                f"execution_timeout is over before the task was done; {_waited_for(note)} had ended."
            ) from None
        except Exception:
            if self._killed:
                # Not as a failed job: the kill has cancelled it.
                message = f"The task was killed while it waited for {_waited_for(note)}."
                raise AirflowException(message) from None
            raise

    @staticmethod
    def _note(context: Context) -> dict[str, Any] | None:
        ti = context["ti"]
        found: dict[str, Any] | None = ti.xcom_pull(
            task_ids=ti.task_id, key=XCOM_KEY, map_indexes=ti.map_index
        )
        return found


def _waited_for(note: dict[str, Any]) -> str:
    if note["job_id"] is None:
        return f"task {note['firecrest_task_id']}"
    return f"job {note['job_id']}"
