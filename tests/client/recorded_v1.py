"""Recorded answers of a real FirecREST v1, tasks included, and flows driven by hand with them.

Knows how a v1 recording is stored: a call, and beside it the polls of the task it started. Must not know what
any answer means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.client import Settings, StaticToken
from airflow_provider_firecrest.client.errors import FirecrestError
from airflow_provider_firecrest.client.flow import Flow, Response, Sleep
from airflow_provider_firecrest.client.v1 import V1

from .recorded import Played, T, as_response, ok

RECORDINGS = Path(__file__).parents[1] / "recordings" / "v1"
STORE = "http://127.0.0.1:9001/"
"""Where the recordings' object store was: its answers are not FirecREST's."""


def load(name: str) -> dict[str, Any]:
    """One recording, whole."""
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return content


def names() -> list[str]:
    """Names of all recordings that are kept here."""
    return sorted(path.stem for path in RECORDINGS.glob("*.json"))


def answered() -> dict[str, dict[str, Any]]:
    """The recordings of one call to FirecREST and its answer, by name."""
    found = {}
    for name in names():
        recorded = load(name)
        is_answer = isinstance(recorded.get("response"), dict) and "status" in recorded["response"]
        if is_answer and not recorded["request"]["url"].startswith(STORE):
            found[name] = recorded
    return found


def response(name: str) -> Response:
    """The recorded answer as a driver would hand it to a flow."""
    return as_response(load(name)["response"])


def polls(name: str) -> list[Response]:
    """The answers to the polls of a recorded task, in their order."""
    return [Response(each["http"], {}, json.dumps(each["json"]).encode()) for each in load(name)["sequence"]]


def last_task(name: str) -> dict[str, Any]:
    """What the last poll of a recorded task showed."""
    task: dict[str, Any] = load(name)["sequence"][-1]["json"]["task"]
    return task


def call(name: str) -> list[Response]:
    """A call that started a task, and the polls of the task."""
    return [response(name), *polls(f"{name}-task")]


def task(data: Any, status: str = "200", task_id: str = "7e57") -> list[Response]:
    """A made-up task: how it starts, and what it ends with."""
    started = ok({"success": "Task created", "task_id": task_id}, 201)
    return [started, ok({"task": {"task_id": task_id, "status": status, "data": data, "description": ""}})]


def api(**changes: Any) -> V1:
    """Flows of a connection that has a default machine, no patience, and nothing else."""
    given = {"system": "cluster", "retry_budget": 0.0, **changes}
    return V1(Settings("https://firecrest.example/v1", StaticToken("t0ken"), **given))


def play(
    flow: Flow[T], answers: Iterable[Response | FirecrestError], clock: Clock | None = None
) -> Played[T]:
    """Drive a flow as the drivers do. The last answer repeats for ever when there is a clock, which runs on
    with each sleep.
    """
    played: Played[T] = Played()
    queue = list(answers)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Sleep):
                played.sleeps.append(step.seconds)
                if clock is not None:
                    clock.now += step.seconds
                step = flow.send(None)
                continue
            played.requests.append(step)
            assert queue, f"the flow asked more than expected: {step}"
            assert len(played.requests) < 1000, "the flow does not end"
            answer = queue[0] if clock is not None and len(queue) == 1 else queue.pop(0)
            error = answer if isinstance(answer, FirecrestError) else V1.error_of(step, answer)
            step = flow.throw(error) if error is not None else flow.send(answer)
    except StopIteration as done:
        played.result = done.value
    except FirecrestError as error:
        played.error = error
    assert not queue or clock is not None, "the flow asked less than expected"
    return played


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """What ``time.monotonic`` would say."""
        return self.now
