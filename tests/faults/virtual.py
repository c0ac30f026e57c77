"""Half an hour in a second: a clock that jumps whenever everybody waits, and an event loop that runs by it.

Knows Python's time, asyncio and the two HTTP libraries. Must not know FirecREST. The server stays real: its
answers cost real milliseconds and no simulated ones.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import httpx
import pytest
import requests
import tenacity

from airflow_provider_firecrest.client import rate, tokens
from airflow_provider_firecrest.client.attempts import submission
from airflow_provider_firecrest.client.waiting import job_watch, patience, task_watch
from airflow_provider_firecrest.operators import _waiting

PACKAGE = "airflow_provider_firecrest"
_REAL_PAUSE = 0.002


class Clock:
    """Simulated time, which passes only while somebody waits. Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._origin, self._monotonic = time.time(), time.monotonic()
        self._agenda: list[tuple[float, Callable[[], None]]] = []
        self.hung = False

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        return self._origin + self.passed

    def monotonic(self) -> float:
        return self._monotonic + self.passed

    def sleep(self, seconds: float) -> None:
        """Let time pass, and do what is on the agenda for it."""
        # The server has work to do meanwhile, on real processors.
        time.sleep(_REAL_PAUSE)
        end = self.passed + max(0.0, seconds)
        while self._agenda and self._agenda[0][0] <= end:
            moment, action = self._agenda.pop(0)
            self.passed = max(self.passed, moment)
            action()
        self.passed = max(self.passed, end)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something when so many seconds have passed from now."""
        self._agenda.append((self.passed + seconds, action))
        self._agenda.sort(key=lambda entry: entry[0])


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer it lets simulated time pass."""

    clock: Clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        assert timeout is not None, "everything waits, and nothing is to come"
        self.clock.sleep(timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop in simulated time; threads would live in another time, so their work is done at once."""

    def __init__(self, clock: Clock) -> None:
        selector = _JumpingSelector()
        selector.clock = clock
        self._simulated = clock
        super().__init__(selector)

    def time(self) -> float:
        return self._simulated.monotonic()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


@contextmanager
def simulated() -> Iterator[Clock]:
    """Give the provider a clock that jumps, and HTTP that is real but takes no time."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch, httpx.HTTPTransport() as transport:
        for module in _modules():
            if getattr(module, "time", None) is time:
                patch.setattr(module, "time", clock)
        patch.setattr(tenacity, "time", clock)
        for function, argument, value in (
            (patience.Patience.__init__, "clock", clock.time),
            (job_watch.JobWatch.__init__, "clock", clock.time),
            (task_watch.TaskWatch.__init__, "clock", clock.time),
            (_waiting.wait_for_jobs, "sleep", clock.sleep),
            (submission.Submission.__init__, "sleep", clock.sleep),
        ):
            patch.setitem(function.__kwdefaults__, argument, value)
        # What a process remembers of a login and its pace is of the time it was learnt in.
        patch.setattr(rate, "_pacers", {})
        patch.setattr(tokens, "_caches", {})
        _patch_httpx(patch, clock, transport)
        _patch_requests(patch, clock)
        yield clock


def _modules() -> Iterator[ModuleType]:
    """Every module that runs in workers and triggers; operators load most of them only when a task runs."""
    for layer in ("client", "hooks", "operators", "sensors", "triggers"):
        package = importlib.import_module(f"{PACKAGE}.{layer}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def _patch_httpx(patch: pytest.MonkeyPatch, clock: Clock, real: httpx.HTTPTransport) -> None:
    async def handle(transport: Any, request: httpx.Request) -> httpx.Response:
        if clock.hung:
            await asyncio.sleep(request.extensions["timeout"]["read"])
            raise httpx.ReadTimeout("nothing came", request=request)
        content = await request.aread()
        same = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        answer = real.handle_request(same)
        body = answer.read()
        answer.close()
        return httpx.Response(answer.status_code, headers=answer.headers, content=body, request=request)

    patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)


def _patch_requests(patch: pytest.MonkeyPatch, clock: Clock) -> None:
    send = requests.adapters.HTTPAdapter.send

    def handle(adapter: Any, request: Any, *args: Any, timeout: Any = None, **more: Any) -> Any:
        if clock.hung:
            clock.sleep(timeout[1] if isinstance(timeout, tuple) else timeout)
            raise requests.exceptions.ReadTimeout("nothing came")
        return send(adapter, request, *args, timeout=timeout, **more)

    patch.setattr(requests.adapters.HTTPAdapter, "send", handle)


def first_event(clock: Clock, trigger: Any) -> dict[str, Any]:
    """Run a trigger to its event in simulated time."""

    async def first() -> Any:
        events = trigger.run()
        try:
            return (await anext(events)).payload
        finally:
            await events.aclose()

    with asyncio.Runner(loop_factory=lambda: Loop(clock)) as runner:
        return dict(runner.run(first()))
