"""How the task of a transfer waits: for a job, or for a task of FirecREST v1; and what a kill has to remove.

Knows the two kinds of waiting. Must not know what is moved. A note says what is waited for: ``job_id`` or
``firecrest_task_id``, ``system``, ``submitted_at``, and ``leftover``, the directory or the file on the system
that belongs to the transfer alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..hooks._task import framework_timeout, within_kill_budget
from ._checksums import TakesChecksums, cancel_checksum
from ._deferral import WaitsForJob

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient

STUCK_AFTER = 3600.0
"""Seconds without a change after which a task of FirecREST v1 counts as hanging. At 5 GiB for one file, a
copy that is alive takes minutes."""

_ENDS_WITHIN = 2.0
"""Seconds a cancelled job is given to end before what it writes into is removed, of the four that a kill
has."""


class WaitsForTransfer(TakesChecksums, WaitsForJob):
    """Waits for a transfer's job or task, in the triggerer or in the worker."""

    _stop: threading.Event | None = None

    @property
    def stop(self) -> threading.Event:
        """Set by a kill: whatever is being packed, sent or fetched here ends. Made when a task runs, since an
        operator is copied before.
        """
        if self._stop is None:
            self._stop = threading.Event()
        return self._stop

    def wait_in_triggerer(self, note: dict[str, Any], context: Context) -> Any:
        """Defer; the task goes on in ``execute_complete``. Does not return."""
        from ..triggers.jobs import FirecrestJobTrigger
        from ..triggers.tasks import FirecrestTaskTrigger

        self._running = None
        deadline = self.deadline(context)
        common: dict[str, Any] = {
            "firecrest_conn_id": self.firecrest_conn_id,
            "system": note["system"],
            "poll_interval": self.poll_interval,
            "deadline": deadline,
            "leftover": note.get("leftover"),
            "carry": note,
        }
        if note["job_id"] is None:
            task_id = note["firecrest_task_id"]
            trigger: Any = FirecrestTaskTrigger(task_ids=[task_id], stuck_after=STUCK_AFTER, **common)
        else:
            trigger = FirecrestJobTrigger(
                job_ids=[note["job_id"]],
                submitted_at=note["submitted_at"],
                cancel_on_kill=self.cancel_on_kill,
                marked=note.get("marked", False),
                **common,
            )
        self.defer(  # type: ignore[attr-defined]
            trigger=trigger,
            method_name="execute_complete",
            timeout=framework_timeout(deadline, self.poll_interval),
        )

    def wait_here(self, client: FirecrestClient, note: dict[str, Any], context: Context) -> Any:
        """Wait in the worker, then finish."""
        if note["job_id"] is not None:
            return super().wait_here(client, note, context)
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        self._running = note
        try:
            event = wait_for_tasks(
                client,
                [note["firecrest_task_id"]],
                poll_interval=self.poll_interval,
                deadline=self.deadline(context),
                carry=note,
                log=self.log,
            )
        except AirflowTaskTimeout:
            # Airflow's own alarm may ring a moment before our deadline does.
            event = {"status": "timeout", "carry": note}
        return self._end(client, event, context)

    def cancel(self, client: FirecrestClient, note: dict[str, Any], reason: str) -> None:
        """Cancel the job, where there is one, and remove what the transfer has on the system."""
        if note["job_id"] is not None:
            super().cancel(client, note, reason)
        elif note["firecrest_task_id"] is not None:
            self.log.info("FirecREST v1 cannot cancel a task; %s goes on.", note["firecrest_task_id"])
        self._running = None
        if note.get("leftover"):
            _remove(client, note["leftover"])

    def on_kill(self) -> None:
        """Cancel the jobs and remove what is left on the system, in 4 s: Airflow sends SIGKILL after 5."""
        if self.is_left_to_the_next_try():
            return
        self._killed = True
        self.stop.set()
        note, self._running = self._running, None
        checksum, self._checksum_job = self._checksum_job, None
        if note is None and checksum is None:
            return
        if note is not None and note["job_id"] is None and note.get("firecrest_task_id"):
            self.log.info("FirecREST v1 cannot cancel a task; %s goes on.", note["firecrest_task_id"])
        self.log.info("The task was killed: cancelling its job and removing what it has on the system.")

        def clear_up(client: FirecrestClient) -> None:
            if checksum is not None:
                cancel_checksum(client, checksum)
            if note is not None:
                _clear_up(client, note)

        within_kill_budget(self.log, "Clearing up", clear_up, self.hook)

    def _end(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        note = event["carry"]
        if note["job_id"] is not None or event["status"] != "timeout":
            return super()._end(client, event, context)
        self.cancel(client, note, "execution_timeout is over")
        raise AirflowTaskTimeout(
            f"execution_timeout is over; FirecREST's task {note['firecrest_task_id']} did not end in time."
        )


def wait_for_tasks(
    client: FirecrestClient,
    task_ids: list[str],
    *,
    poll_interval: float,
    deadline: float | None,
    carry: dict[str, Any],
    log: Any,
    stuck_after: float | None = STUCK_AFTER,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Wait until tasks of FirecREST v1 are over.

    :returns: what ``FirecrestTaskTrigger`` would have put into its event.
    """
    from ..client.errors import FirecrestError
    from ..client.waiting.patience import Patience
    from ..client.waiting.task_watch import TaskWatch, tasks_flow
    from ._waiting import follow

    watch = TaskWatch(task_ids, stuck_after=stuck_after)

    def look() -> list[str]:
        return watch.observe(client.run(tasks_flow(client.api, watch.pending)))

    def outcome() -> str | None:
        return "done" if watch.done else "lost" if watch.problem else None

    try:
        status = follow(look, outcome, watch, Patience(poll_interval, deadline), log, sleep)
        message = watch.problem if status == "lost" else None
    except FirecrestError as error:
        status, message = "error", str(error)
    return {"status": status, "message": message, "tasks": watch.as_dicts(), "carry": carry}


def _remove(client: FirecrestClient, leftover: dict[str, Any]) -> None:
    from ..client.leftovers import Leftover, remove_leftover

    client.run(remove_leftover(client.api, Leftover.from_dict(leftover)))


def _clear_up(client: FirecrestClient, note: dict[str, Any]) -> None:
    """Cancel, and remove what the job wrote into once it has ended: before, it would write on."""
    from ..client.waiting.cancel import cancel_and_verify

    leftover = note.get("leftover")
    try:
        if note["job_id"] is not None:
            within = _ENDS_WITHIN if leftover else 0.0
            client.run(cancel_and_verify(client.api, note["job_id"], system=note["system"], within=within))
    finally:
        if leftover:
            _remove(client, leftover)
