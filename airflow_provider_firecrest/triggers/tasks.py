"""Waits in the triggerer until FirecREST v1's tasks are over.

Knows how one Airflow task waits; what an answer means stands in ``client.waiting``. Not shared like the
questions about jobs: a look at a task costs the login node nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from .._compat import left_deferred, triggers_hear_kills
from ..client.errors import AuthenticationError, ConfigurationError, FirecrestError
from ..client.waiting.patience import Patience, jittered
from ..client.waiting.task_watch import TaskAnswer, TaskWatch, tasks_flow
from ..hooks._clients import SharedClient, shared_client
from ._base import FirecrestTrigger
from ._kills import is_waited_for, undisturbed
from ._leftovers import remove_leftover_of

_KILL_TIMEOUT = 25.0
"""Seconds the clearing up gets; the triggerer allows ``on_kill`` 30 by default."""

_LAST_LOOK = 30.0
"""Seconds that a first question may take although the deadline has passed."""


class FirecrestTaskTrigger(FirecrestTrigger):
    """Fires once when all tasks are over, however they ended; or at the deadline; or when it is pointless to
    wait.

    The event's ``status`` is ``done``, ``timeout``, ``lost`` (a task is unknown, another user's, or hangs;
    see ``message``) or ``error``; ``tasks`` holds ``task_id``, ``status``, ``meaning``, ``reason`` and
    ``job_id`` of each, never the tasks' data. A kill cancels nothing, since FirecREST v1 cannot cancel a
    task.

    :param task_ids: ids of the tasks.
    :param stuck_after: seconds without a change of status after which a task counts as hanging; None: never.
    :param leftover: what to remove on the system when a user marks or clears the task, as
        ``client.leftovers.Leftover`` in plain JSON.
    :param carry: plain JSON that comes back in the event. It is logged: no secrets.
    """

    def __init__(
        self,
        *,
        task_ids: Iterable[str],
        stuck_after: float | None = None,
        leftover: dict[str, Any] | None = None,
        carry: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.task_ids = [str(each) for each in task_ids]
        self.stuck_after = stuck_after
        self.leftover = leftover
        self.carry = carry or {}

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "task_ids": self.task_ids,
            "stuck_after": self.stuck_after,
            "leftover": self.leftover,
            "carry": self.carry,
        }

    async def wait(self) -> dict[str, Any]:
        watch = TaskWatch(self.task_ids, stuck_after=self.stuck_after)
        try:
            status, message = await self._follow(watch)
        except FirecrestError as error:
            status, message = "error", str(error)
        return {"status": status, "message": message, "tasks": watch.as_dicts(), "carry": self.carry}

    async def _follow(self, watch: TaskWatch) -> tuple[str, str | None]:
        patience = Patience(self.poll_interval, self.deadline)
        async with shared_client(self.firecrest_conn_id) as shared:
            # Triggers that a restart brings back together shall not ask together.
            await asyncio.sleep(patience.until_deadline(jittered(0.1)))
            while True:
                try:
                    answer = await self._ask(shared, watch, patience)
                except FirecrestError as error:
                    watch.unanswered()
                    self.log.warning("Waiting on; the last question failed: %s", error)
                    if isinstance(error, ConfigurationError):
                        raise
                    pause = patience.failed(error)
                else:
                    if answer is None:
                        return "timeout", None
                    news = watch.observe(answer)
                    for line in news:
                        self.log.info("%s", line)
                    if watch.done:
                        return "done", None
                    if problem := watch.problem:
                        return "lost", problem
                    pause = patience.answered(bool(news))
                if patience.expired:
                    return "timeout", None
                await asyncio.sleep(pause)

    async def _ask(self, shared: SharedClient, watch: TaskWatch, patience: Patience) -> TaskAnswer | None:
        """Ask; None when the answer did not come before the deadline. Past it one answer is still waited for:
        the tasks may have ended in time while no triggerer ran.
        """
        left = patience.left()
        limit = left if left is None or watch.seen else max(left, _LAST_LOOK)
        try:
            client = await shared.get()
            flow = tasks_flow(await client.get_api(), watch.pending)
            return await asyncio.wait_for(client.run(flow), limit)
        except AuthenticationError:
            shared.distrust()
            raise
        except TimeoutError:
            return None

    async def on_kill(self) -> None:
        """Clear up: a user marked or cleared the task. Airflow 3.3 and later."""
        if self._fired:
            return
        try:
            await undisturbed(self._clear_up_unless_waited_for(), within=_KILL_TIMEOUT)
        except TimeoutError:
            self.log.error("Clearing up took too long; see %s.", self.leftover)

    async def _clear_up_unless_waited_for(self) -> None:
        tasks = ", ".join(self.task_ids)
        if await is_waited_for(self):
            self.log.info("The task waits elsewhere, or again after a clear; %s is left alone.", tasks)
            return
        self.log.info("FirecREST v1 cannot cancel a task; %s goes on.", tasks)
        await remove_leftover_of(self.firecrest_conn_id, self.leftover, self.log)

    async def cleanup(self) -> None:
        """Do what :meth:`on_kill` does where the triggerer does not call it: Airflow before 3.3."""
        if triggers_hear_kills() or self._fired or self.leftover is None:
            return
        if await left_deferred(self):
            await self.on_kill()
