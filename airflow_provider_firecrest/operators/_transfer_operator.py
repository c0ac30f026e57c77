"""What both directions of a transfer share as operators: arguments, and the order of the steps.

Knows the story of a file in a task: plan, move, wait for the server's job or task, prove. The data moves in
the worker; the waiting is done in the triggerer. Must not know which way a file goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from .._crash_points import crash_point
from ..hooks._task import DEFAULT_CONN_ID, default_deferrable
from ._resuming import REATTACH, ResumesTransfers

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers import DownloadPlan, StagedDownload, StagedUpload, TransferResult, UploadPlan
    from ._transfer_memory import TransferMemory

_POLL_INTERVAL = 15.0
_PROGRESS_EVERY = 30.0


class TransferOperator(ResumesTransfers, BaseOperator):
    """What both directions share: arguments, and the order of the steps."""

    template_fields: Sequence[str] = (
        "source_path",
        "target_path",
        "account",
        "partition",
        "time_limit",
        "system",
        "firecrest_conn_id",
    )
    ui_color = "#e2f0de"
    cancel_on_kill = True

    def __init__(
        self,
        *,
        source_path: str,
        target_path: str,
        if_exists: str = "fail",
        verify_checksum: bool = True,
        compression: str = "none",
        account: str | None = None,
        partition: str | None = None,
        time_limit: str | None = None,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = _POLL_INTERVAL,
        reattach: Literal["retry", "never"] = "retry",
        wait_for_quota: bool = True,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reattach not in REATTACH:
            raise ValueError(f"reattach: {reattach!r} is not one of {', '.join(REATTACH)}.")
        self.source_path = source_path
        self.target_path = target_path
        self.if_exists = if_exists
        self.verify_checksum = verify_checksum
        self.compression = compression
        self.account = account
        self.partition = partition
        self.time_limit = time_limit
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.poll_interval = poll_interval
        self.reattach = reattach
        self.wait_for_quota = wait_for_quota
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Check, move, and wait for the server's job where there is one."""
        with self.firecrest() as client, self.checksums(context):
            if self.within_quota(lambda: self._goes_in_steps(client), context):
                step = self.within_quota(lambda: self._begin_steps(client, context), context)
                return self._wait_or_return(client, step, context)
            note = self.within_quota(lambda: self._begin(client, context), context)
            if "result" in note:
                return note["result"]
            self.started(note, context)
            if not self.deferrable or "staged" not in note:
                return self.wait_here(client, note, context)
        crash_point("before_defer")
        return self.wait_in_triggerer(note, context)

    def _begin(self, client: FirecrestClient, context: Context) -> dict[str, Any]:
        """Move a file as far as it goes now; return ``result``, or the note of what to wait for."""
        from ..client.errors import TooLargeError
        from ..client.transfers import staged_instead

        memory = self.memory(client, context)
        known = self.known(client, memory)
        self._end_steps(client, memory)
        plan = self._plan(client, known, memory, context)
        if plan.way == "skip":
            self.log.info("%s is there already, with the same size and SHA-256.", plan.target)
            memory.forget()
            return {"result": _skipped(plan)}
        self.log.info("%s -> %s: %d bytes, %s.", plan.source, plan.target, plan.size, plan.way)
        if plan.way == "direct":
            try:
                result = self._done(self._direct(client, plan, memory))
                memory.forget()
                return {"result": result}
            except TooLargeError as error:
                self.log.warning("The direct way cannot carry it after all: %s", error)
                plan = staged_instead(client, plan)
        return self._staged_note(client, plan, memory, known, context)

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Prove the transfer, now that what it waited for is over."""
        from airflow.providers.common.compat.sdk import AirflowException

        from ..client.job_json import job_from_dict

        note = event["carry"]
        if event["status"] != "done":
            why = event.get("message") or f"{note['system']} does not know it any more."
            self.cancel(client, note, "nobody knows what became of it")
            what = f"job {note['job_id']}" if note["job_id"] else f"task {note['firecrest_task_id']}"
            raise AirflowException(f"What became of the server's {what} is not known: {why}")
        with self.checksums(context):
            if "steps" in note:
                return self._finish_steps(client, event, context)
            job = job_from_dict(event["jobs"][0]) if note["job_id"] else None
            return self._finish_file(client, note, job, context)

    def _finish_file(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        """Prove a file; what failed for good is not gone on with."""
        from ..client.errors import FirecrestError
        from ..client.staging import may_pass

        memory = self.memory(client, context)
        try:
            result = self._finish(client, note, job, context)
        except FirecrestError as error:
            if not may_pass(error):
                memory.forget()
            raise
        memory.forget()
        return result

    def _goes_in_steps(self, client: FirecrestClient) -> bool:
        raise NotImplementedError

    def _plan(
        self,
        client: FirecrestClient,
        known: dict[str, Any] | None,
        memory: TransferMemory,
        context: Context,
    ) -> Any:
        raise NotImplementedError

    def _direct(self, client: FirecrestClient, plan: Any, memory: TransferMemory) -> TransferResult:
        raise NotImplementedError

    def _staged_note(
        self,
        client: FirecrestClient,
        plan: Any,
        memory: TransferMemory,
        known: dict[str, Any] | None,
        context: Context,
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        raise NotImplementedError

    def _note_for(self, staged: StagedUpload | StagedDownload) -> dict[str, Any]:
        return {
            "job_id": staged.job_id,
            "firecrest_task_id": staged.task_id,
            "system": staged.system,
            "submitted_at": time.time(),
        }

    def _done(self, result: TransferResult) -> dict[str, Any]:
        self.log.info(
            "Done: %s, %d bytes, SHA-256 %s, %.1f s.",
            result.target,
            result.size,
            result.sha256,
            result.seconds,
        )
        return result.as_dict()

    def _progress(self) -> Callable[[int, int], None]:
        """Return a callback that logs twice a minute."""
        last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY:
                last = time.monotonic()
                self.log.info("%d of %d MiB", done >> 20, total >> 20)

        return tell


def _skipped(plan: UploadPlan | DownloadPlan) -> dict[str, Any]:
    from ..client.transfers import TransferResult

    return TransferResult(
        source=str(plan.source),
        target=str(plan.target),
        size=plan.size,
        sha256=plan.sha256,
        way="skip",
        system=plan.system,
    ).as_dict()
