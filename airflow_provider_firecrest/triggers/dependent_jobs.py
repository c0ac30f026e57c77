"""Waits in the triggerer for a job that waits for another one, and notices when that one failed.

FirecREST v1's own file jobs stay in the queue for ever in that case. Knows the two jobs; the waiting itself
is ``jobs``'.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..client.job_json import job_from_dict
from .jobs import FirecrestJobTrigger


class FirecrestDependentJobTrigger(FirecrestJobTrigger):
    """Fires like ``FirecrestJobTrigger`` for a job, or when the job that it depends on has not succeeded.

    In the second case the event's ``status`` is ``predecessor failed`` and ``jobs`` holds that other job. A
    user's kill cancels the waiting job only, never the one that it depends on.

    :param after_job_id: id of the job that has to succeed first.
    """

    def __init__(self, *, after_job_id: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.after_job_id = after_job_id

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "after_job_id": self.after_job_id}

    async def wait(self) -> dict[str, Any]:
        own = asyncio.ensure_future(super().wait())
        first = asyncio.ensure_future(self._predecessor().wait())
        try:
            await asyncio.wait({own, first}, return_when=asyncio.FIRST_COMPLETED)
            if not own.done() and self._has_failed(first.result()):
                return {**first.result(), "status": "predecessor failed", "carry": self.carry}
            return await own
        finally:
            for task in (own, first):
                task.cancel()
            await asyncio.gather(own, first, return_exceptions=True)

    def _predecessor(self) -> FirecrestJobTrigger:
        return FirecrestJobTrigger(
            firecrest_conn_id=self.firecrest_conn_id,
            system=self.system,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            job_ids=[self.after_job_id],
        )

    @staticmethod
    def _has_failed(event: dict[str, Any]) -> bool:
        return event["status"] == "done" and not job_from_dict(event["jobs"][0]).succeeded
