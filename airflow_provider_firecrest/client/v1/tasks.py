"""FirecREST v1's tasks: nearly everything about jobs and transfers is asked for by one call and answered by
another.

Knows that a task can hang for ever: every wait here has a deadline of its own. What a status means stands in
``models.tasks``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..errors import AmbiguousError, FirecrestError, InvalidRequestError, ProtocolError, UnavailableError
from ..flow import Flow, Kind, Request, Sleep
from ..models.tasks import FINAL, Task
from . import answers
from .base import Base

T = TypeVar("T")

TASK_TIMEOUT = 90.0
"""Seconds for a task that runs one command on the system; Slurm's own time-outs take up to twenty."""

_PAUSES = (0.2, 0.3, 0.5, 1.0)

# Seconds between two attempts while Slurm is down.
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 20.0


class Tasks(Base):
    """Flows over `/tasks`."""

    def task(self, task_id: str) -> Flow[Task]:
        """Return one task.

        :param task_id: the id a call returned.
        :raises NotFoundError: unknown, or forgotten (a day for compute, a month for storage).
        :raises PermissionDeniedError: another user's.
        :endpoint: GET /tasks/{task_id}
        """
        request = Request("GET", f"/tasks/{_checked(task_id)}")
        return (yield from self._ask(request, lambda body: Task.from_v1(body["task"])))

    def tasks(self, task_ids: Iterable[str]) -> Flow[dict[str, Task]]:
        """Return many tasks at once.

        :param task_ids: ids; at least one (without any the server would send everything it has).
        :returns: by id; unknown ones and other users' are missing.
        :endpoint: GET /tasks?tasks=a,b
        """
        wanted = [_checked(each) for each in task_ids]
        if not wanted:
            return {}
        request = Request("GET", "/tasks", params={"tasks": ",".join(wanted)})
        return (
            yield from self._ask(
                request,
                lambda body: {str(key): Task.from_v1(row) for key, row in dict(body["tasks"]).items()},
            )
        )

    def _run_task(self, request: Request, what: str, *, timeout: float = TASK_TIMEOUT) -> Flow[Any]:
        """Start a task and return its data once it is done.

        Slurm's outages come as failed tasks, which a driver does not see: they are repeated here, for as long
        as it repeats those of HTTP.

        :param request: the call that starts it.
        :param what: the call in words, for errors.
        :param timeout: seconds to wait for it.
        :raises AmbiguousError: for a call that creates something, when its end was not seen.
        """
        started, pause = time.monotonic(), _FIRST_PAUSE
        creates = request.kind is Kind.CREATE
        while True:
            task = yield from self._one_task(request, what, timeout)
            if task.succeeded:
                return task.data
            error = answers.task_error(task.data, what=what, creates=creates)
            left = self.settings.retry_budget - (time.monotonic() - started)
            if not isinstance(error, UnavailableError) or pause > left:
                raise error
            yield Sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _ask_task(self, request: Request, what: str, read: Callable[[Any], T]) -> Flow[T]:
        """Run a task and read its data; what cannot be read is a protocol error, not a crash."""
        data = yield from self._run_task(request, what)
        try:
            return read(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"{what}: the task's data are not what FirecREST v1 sends ({type(error).__name__})."
            raise ProtocolError(problem, method=request.method, path=request.path) from None

    def _one_task(self, request: Request, what: str, timeout: float) -> Flow[Task]:
        task_id = yield from self._start_task(request)
        try:
            return (yield from self._end_of_task(task_id, FINAL, timeout))
        except FirecrestError as error:
            if request.kind is Kind.CREATE:
                raise AmbiguousError(
                    f"{what}: the task {task_id} behind it cannot be followed ({error.message});"
                    " what was asked may have happened.",
                    server_message=error.server_message,
                ) from None
            raise

    def _start_task(self, request: Request) -> Flow[str]:
        return (yield from self._ask(request, lambda body: _task_id(body["task_id"])))

    def _end_of_task(self, task_id: str, wanted: frozenset[str], timeout: float) -> Flow[Task]:
        """Poll a task until its status is among ``wanted``."""
        started, turn = time.monotonic(), 0
        while True:
            task = yield from self.task(task_id)
            if task.status in wanted:
                return task
            if time.monotonic() - started > timeout:
                raise UnavailableError(
                    f"Task {task_id} still says {task.status} ({task.meaning}) after {timeout:.0f} s;"
                    " FirecREST v1 leaves tasks hanging when one of its services was restarted."
                )
            yield Sleep(_PAUSES[min(turn, len(_PAUSES) - 1)])
            turn += 1


def _checked(task_id: str) -> str:
    text = str(task_id).strip()
    if not (text.isascii() and text.isalnum()):
        raise InvalidRequestError(f"task_id: {task_id!r} is not a task id.")
    return text


def _task_id(value: Any) -> str:
    if not value:
        raise ValueError("no task id")
    return str(value)
