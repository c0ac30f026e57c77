"""Waits in the triggerer until Slurm jobs are over.

Knows how one task waits; the question itself is shared with all others (``poller``), and what an answer
means stands in ``client.waiting``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._compat import left_deferred, triggers_hear_kills
from ..client.errors import FirecrestError
from ..client.waiting.job_watch import JobWatch
from ..client.waiting.patience import Patience
from ._base import FirecrestTrigger
from ._kills import is_waited_for, undisturbed
from ._leftovers import remove_leftover_of
from .poller import first_pause, subscribe

_KILL_TIMEOUT = 25.0
"""Seconds a cancellation gets; the triggerer allows ``on_kill`` 30 by default."""

_LAST_LOOK = 30.0
"""Seconds that a first question may take although the deadline has passed."""


class FirecrestJobTrigger(FirecrestTrigger):
    """Fires once when all jobs are over, whatever their states; or at the deadline; or when they cannot be
    asked about.

    The event's ``status`` is ``done``, ``timeout``, ``lost`` (the system has said for ten minutes that it
    does not know a job) or ``error``; ``jobs`` holds what is known of them, ``carry`` what the operator
    gave along.

    :param job_ids: ids of the jobs.
    :param submitted_at: seconds since the epoch of the submit; a job may be invisible for a minute after it.
    :param cancel_on_kill: cancel the jobs when a user marks the task or clears it. Never when a triggerer
        stops.
    :param keep_on_clear: leave them to the next attempt when a user clears the task.
    :param marked: a later attempt finds these jobs by their mark and cancels them itself. Only then they are
        left alone when the task is found to wait still; any others are cancelled at every kill.
    :param carry: plain JSON that comes back in the event. It is logged: no secrets.
    :param leftover: what to remove on the system after such a cancellation, as
        ``client.leftovers.Leftover`` in plain JSON.
    """

    def __init__(
        self,
        *,
        job_ids: Iterable[str],
        submitted_at: float | None = None,
        cancel_on_kill: bool = False,
        keep_on_clear: bool = False,
        marked: bool = False,
        carry: dict[str, Any] | None = None,
        leftover: dict[str, Any] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.job_ids = [str(each) for each in job_ids]
        self.submitted_at = submitted_at
        self.cancel_on_kill = cancel_on_kill
        self.keep_on_clear = keep_on_clear
        self.marked = marked
        self.carry = carry or {}
        self.leftover = leftover

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "job_ids": self.job_ids,
            "submitted_at": self.submitted_at,
            "cancel_on_kill": self.cancel_on_kill,
            "carry": self.carry,
            **({"keep_on_clear": True} if self.keep_on_clear else {}),
            **({"marked": True} if self.marked else {}),
            **({"leftover": self.leftover} if self.leftover else {}),
        }

    async def wait(self) -> dict[str, Any]:
        watch = JobWatch(self.job_ids, submitted_at=self.submitted_at)
        try:
            status, message = await self._follow(watch)
        except FirecrestError as error:
            status, message = "error", str(error)
        return {
            "status": status,
            "message": message,
            "job_ids": self.job_ids,
            "jobs": watch.as_dicts(),
            "lost": watch.lost,
            "carry": self.carry,
        }

    async def _follow(self, watch: JobWatch) -> tuple[str, str | None]:
        patience = Patience(self.poll_interval, self.deadline, quiet_since=self.submitted_at)
        places = subscribe(self.firecrest_conn_id, self.system, self.job_ids, spacing=patience.floor)
        async with places as place:
            pause = first_pause()
            while not watch.done:
                answer = await place.ask(pause, give_up_after=self._give_up_after(patience, watch))
                if answer is None or (patience.expired and answer.error is not None):
                    return "timeout", None
                if answer.error is not None:
                    watch.unanswered()
                    self.log.warning("Waiting on; the last question failed: %s", answer.error)
                    pause = patience.failed(answer.error)
                    continue
                news = watch.observe(answer.jobs)
                place.job_ids = frozenset(watch.pending)
                for line in news:
                    self.log.info("%s", line)
                pause = patience.answered(bool(news))
                if patience.expired and not watch.done:
                    return "timeout", None
        return ("lost", None) if watch.lost else ("done", None)

    @staticmethod
    def _give_up_after(patience: Patience, watch: JobWatch) -> float | None:
        """Past the deadline one answer is still waited for:

        the job may have ended in time while no triggerer ran.
        """
        left = patience.left()
        return left if left is None or watch.jobs else max(left, _LAST_LOOK)

    async def on_kill(self) -> None:
        """Cancel the jobs: a user marked or cleared the task. Airflow 3.3 and later.

        Runs when :meth:`run` has been cancelled already, so with a client of its own.
        """
        if self._fired or not self.cancel_on_kill:
            return
        try:
            await undisturbed(self._cancel_unless_waited_for(), within=_KILL_TIMEOUT)
        except TimeoutError:
            self.log.error("Cancelling jobs %s took too long; they may be running.", ", ".join(self.job_ids))

    async def _cancel_unless_waited_for(self) -> None:
        if self.marked and await is_waited_for(self, after_clear=self.keep_on_clear):
            self.log.info(
                "The task waits elsewhere, or again after a clear; jobs %s are left to what waits now.",
                ", ".join(self.job_ids),
            )
            return
        await self._cancel()

    async def cleanup(self) -> None:
        """Do what :meth:`on_kill` does where the triggerer does not call it: Airflow before 3.3."""
        if triggers_hear_kills() or self._fired or not self.cancel_on_kill:
            return
        if await left_deferred(self):
            await self.on_kill()

    async def _cancel(self) -> None:
        from ..client import AsyncFirecrestClient
        from ..client.waiting.cancel import cancel_and_verify
        from ..hooks._clients import known_settings, resolve

        settings = known_settings(self.firecrest_conn_id) or await resolve(self.firecrest_conn_id)
        async with AsyncFirecrestClient(settings) as client:
            for job_id in self.job_ids:
                self.log.info("The task was stopped by a user: cancelling job %s.", job_id)
                try:
                    flow = cancel_and_verify(
                        await client.get_api(), job_id, system=self.system, within=_KILL_TIMEOUT / 2
                    )
                    self.log.info("%s", await client.run(flow))
                except FirecrestError as error:
                    self.log.error("Job %s could not be cancelled and may be running: %s", job_id, error)
        await remove_leftover_of(self.firecrest_conn_id, self.leftover, self.log)
