"""One question per interval for everybody who waits: the shared poller.

All tasks of a triggerer that wait for jobs on the same (event loop, connection, system) share one
:class:`JobPoller`. Two commands on the login node answer for one job as for a thousand; a question per task
would get the whole site banned.

Knows who waits for which ids. Must not know what an answer means to them (``client.waiting``) or to
Airflow.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..client.errors import AuthenticationError, FirecrestError
from ..client.waiting.patience import jittered
from ..hooks import _clients

if TYPE_CHECKING:
    from ..client.models import Job

logger = logging.getLogger(__name__)

_GATHER = 0.5
"""Seconds a newcomer waits for others: tasks that are deferred together are asked about together."""


@dataclass(frozen=True)
class Answer:
    """What one question brought: jobs by id, or the error."""

    jobs: dict[str, Job]
    error: FirecrestError | None = None


class Subscription:
    """One waiting task's place in a poller.

    :ivar spacing: seconds that this task allows between two questions at least.
    """

    def __init__(self, poller: JobPoller, job_ids: Iterable[str], spacing: float) -> None:
        self.job_ids = frozenset(job_ids)
        self.spacing = spacing
        self.wants_at = 0.0
        self._poller = poller
        self._answer: asyncio.Future[Answer] | None = None

    async def ask(self, pause: float, *, give_up_after: float | None = None) -> Answer | None:
        """Wait for the next answer, which comes after about ``pause`` seconds, or sooner when others ask.

        :param pause: seconds after which an answer is wanted.
        :param give_up_after: seconds after which None is returned; a question may hang in an outage.
        """
        self.wants_at = time.monotonic() + pause
        self._answer = asyncio.get_running_loop().create_future()
        self._poller.wake()
        try:
            return await asyncio.wait_for(self._answer, give_up_after)
        except TimeoutError:
            return None
        finally:
            self._answer = None

    @property
    def waits(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def deliver(self, answer: Answer | Exception) -> None:
        """Hand over an answer, or the failure of the poller itself. Who left meanwhile misses it."""
        if self._answer is None or self._answer.done():
            return
        if isinstance(answer, Exception):
            self._answer.set_exception(answer)
        else:
            self._answer.set_result(answer)


class JobPoller:
    """Asks for all subscribers at once, as often as the most impatient of them wants."""

    def __init__(self, conn_id: str, system: str | None) -> None:
        self.conn_id = conn_id
        self.system = system
        self.subscriptions: set[Subscription] = set()
        self.questions = 0
        self._asked_at = float("-inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look again at who wants an answer when; start the task with the first one."""
        self._wake.set()
        if self._task is None or self._task.done():
            # A clean context: log lines of a task started inside a trigger would go to that trigger's task
            # log for ever.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async with _clients.shared_client(self.conn_id) as shared:
            while True:
                await self._until_wanted()
                asked = [each for each in self.subscriptions if each.waits]
                try:
                    answer = await self._ask(
                        shared, sorted({job_id for each in asked for job_id in each.job_ids})
                    )
                except Exception as failure:
                    # A bug of ours must not leave tasks waiting for an answer that never comes.
                    logger.exception("The poller of connection %r failed.", self.conn_id)
                    for each in asked:
                        each.deliver(failure)
                    return
                for each in asked:
                    each.deliver(answer)

    async def _until_wanted(self) -> None:
        """Sleep until the first subscriber wants an answer; newcomers are heard meanwhile."""
        while True:
            self._wake.clear()
            waiting = [each for each in self.subscriptions if each.waits]
            pause = self._due(waiting) - time.monotonic() if waiting else None
            if pause is not None and pause <= 0:
                return
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                return

    def _due(self, waiting: list[Subscription]) -> float:
        """When to ask:

        as soon as one wants it, but not right after the last time, however many newcomers there are.
        """
        wanted = min(each.wants_at for each in waiting)
        return max(wanted, self._asked_at + min(each.spacing for each in waiting))

    async def _ask(self, shared: _clients.SharedClient, job_ids: list[str]) -> Answer:
        self.questions += 1
        self._asked_at = time.monotonic()
        try:
            client = await shared.get()
            return Answer(await client.find_jobs(job_ids, system=self.system))
        except FirecrestError as error:
            if isinstance(error, AuthenticationError):
                shared.distrust()
            return Answer({}, error)


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str | None], JobPoller]] = (
    WeakKeyDictionary()
)


@asynccontextmanager
async def subscribe(
    conn_id: str, system: str | None, job_ids: Iterable[str], *, spacing: float
) -> AsyncIterator[Subscription]:
    """Take a place in the running loop's poller for a connection and a system;

    the last one to leave ends it.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.setdefault((conn_id, system), JobPoller(conn_id, system))
    subscription = Subscription(poller, job_ids, spacing)
    poller.subscriptions.add(subscription)
    try:
        yield subscription
    finally:
        poller.subscriptions.discard(subscription)
        if not poller.subscriptions:
            pollers.pop((conn_id, system), None)
            await poller.stop()


def first_pause() -> float:
    """Return the pause before a newcomer's first question."""
    return jittered(_GATHER)
