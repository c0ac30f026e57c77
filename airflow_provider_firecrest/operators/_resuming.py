"""How a retry of a transfer's task goes on with what the try before it had done.

Knows which attempt a task is in, and whether another try follows. What a state means stands in
``client.transfers``, where it is kept in ``_transfer_memory``; both are loaded when a task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._quota import WaitsForQuota
from ._steps import GoesInSteps

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ._transfer_memory import TransferMemory

REATTACH = ("retry", "never")


class ResumesTransfers(WaitsForQuota, GoesInSteps):
    """The part of the transfer operators that remembers, between tries, how far a transfer has got."""

    reattach: str

    def memory(self, client: FirecrestClient, context: Context) -> TransferMemory:
        """Return the task's memory."""
        from ._task_attempt import attempt_of
        from ._transfer_memory import TransferMemory

        attempt, _ = attempt_of(
            context,
            client,
            conn_id=self.firecrest_conn_id,
            system=self.system,
            reattach=self.reattach,  # type: ignore[arg-type]
        )
        # Not whether this is its attempt's first try: one that starts anew cancels what the last one left.
        first = getattr(context["ti"], "try_number", 1) == 1 and self.quota_pauses == 0
        return TransferMemory(context.get("task_state_store"), attempt, first_try=first, log=self.log)

    def known(self, client: FirecrestClient, memory: TransferMemory) -> dict[str, Any] | None:
        """Return what an earlier try of this attempt left, and end what a clear gave up."""
        from ..client.transfers.resume import give_up_known

        return memory.known(lambda job_id, system, state: give_up_known(client, job_id, system, state))

    def mark(self, client: FirecrestClient, context: Context) -> str:
        """Return what names the task's partial files: the same for all tries, clears included, so that
        each finds, and goes on with or replaces, what the one before it left.
        """
        from ._task_attempt import attempt_of

        attempt, _ = attempt_of(
            context,
            client,
            conn_id=self.firecrest_conn_id,
            system=self.system,
            reattach="always",
        )
        return attempt.mark

    def goes_on(self, context: Context) -> bool:
        """Return True when a failure of this try leads to a retry that goes on from here."""
        if self.reattach == "never":
            return False
        ti = context["ti"]
        tries, most = getattr(ti, "try_number", 1), getattr(ti, "max_tries", 0)
        return isinstance(tries, int) and isinstance(most, int) and tries <= most
