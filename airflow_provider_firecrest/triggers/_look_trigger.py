"""Base of the triggers that ask one question again and again: is it there, is it healthy?"""

from __future__ import annotations

import asyncio
from typing import Any

from ..client.errors import AuthenticationError, FirecrestError
from ..client.flow import Flow
from ..client.waiting.patience import Patience, jittered
from ..hooks._clients import SharedClient, shared_client
from ._base import FirecrestTrigger
from ._looks import Look


class LookTrigger(FirecrestTrigger):
    """Fires once when a look finds something, at the deadline, or when asking is refused for good.

    The event's ``status`` is ``done`` (with ``found``), ``timeout`` or ``error`` (with ``message``).
    """

    def flow(self, api: Any) -> Flow[Look]:
        """Return the question."""
        raise NotImplementedError

    async def wait(self) -> dict[str, Any]:
        patience = Patience(self.poll_interval, self.deadline)
        said = ""
        async with shared_client(self.firecrest_conn_id) as shared:
            # Triggers that a restart brings back together shall not ask together.
            await asyncio.sleep(patience.until_deadline(jittered(0.1)))
            while True:
                try:
                    found, remark = await self._look(shared)
                except FirecrestError as error:
                    self.log.warning("Waiting on; the last question failed: %s", error)
                    try:
                        pause = patience.failed(error)
                    except FirecrestError:
                        return {"status": "error", "message": str(error)}
                else:
                    if found is not None:
                        return {"status": "done", "found": found}
                    if remark != said:
                        self.log.info("%s.", remark)
                    said, pause = remark, self._pause(patience)
                if patience.expired:
                    return {"status": "timeout"}
                await asyncio.sleep(pause)

    def _pause(self, patience: Patience) -> float:
        """The sensor's own interval:

        unlike a job, a file that has been missing long is not the slower to come.
        """
        patience.answered(changed=True)
        return patience.until_deadline(jittered(patience.interval))

    async def _look(self, shared: SharedClient) -> Look:
        try:
            client = await shared.get()
            answer = await client.run(self.flow(await client.get_api()))
        except AuthenticationError:
            shared.distrust()
            raise
        return answer
