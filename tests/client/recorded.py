"""Recorded answers of real servers, and flows driven by hand with them: no sockets, no sleeping.

Knows how a recording is stored and what a driver owes a flow. Must not know what any answer means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from airflow_provider_firecrest.client import Settings, StaticToken
from airflow_provider_firecrest.client.errors import FirecrestError
from airflow_provider_firecrest.client.flow import Flow, Request, Response, Sleep
from airflow_provider_firecrest.client.v2 import V2

RECORDINGS = Path(__file__).parents[1] / "recordings" / "v2"

T = TypeVar("T")


def names() -> list[str]:
    """Names of all recordings that are kept here."""
    return sorted(path.stem for path in RECORDINGS.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """One recording, whole."""
    content: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return content


def response(name: str) -> Response:
    """The recorded answer as a driver would hand it to a flow."""
    return as_response(load(name)["response"])


def as_response(recorded: dict[str, Any]) -> Response:
    """An answer out of a recording's ``response``."""
    content = json.dumps(recorded["json"]) if "json" in recorded else recorded.get("text") or ""
    headers = {key.lower(): str(value) for key, value in (recorded.get("headers") or {}).items()}
    return Response(recorded["status"], headers, content.encode())


def ok(body: Any = None, status: int = 200) -> Response:
    """A success with a JSON body."""
    return Response(status, {"content-type": "application/json"}, json.dumps(body).encode())


def api(**changes: Any) -> V2:
    """Flows of a connection that has a default system and nothing else."""
    return V2(
        Settings("https://firecrest.example/v2", StaticToken("t0ken"), **{"system": "cluster", **changes})
    )


@dataclass
class Played(Generic[T]):
    """What a flow asked for, and how it ended: ``result`` or ``error``."""

    requests: list[Request] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)
    result: T | None = None
    error: FirecrestError | None = None

    @property
    def request(self) -> Request:
        """The only request."""
        (request,) = self.requests
        return request

    def value(self) -> T:
        """The result of a flow that must have succeeded."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


def play(flow: Flow[T], answers: Iterable[Response | FirecrestError]) -> Played[T]:
    """Drive a flow as the drivers do: an error answer is thrown into it where the call failed."""
    played: Played[T] = Played()
    queue = iter(answers)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Sleep):
                played.sleeps.append(step.seconds)
                step = flow.send(None)
                continue
            played.requests.append(step)
            answer = next(queue, None)
            assert answer is not None, f"the flow asked more than expected: {step}"
            error = answer if isinstance(answer, FirecrestError) else V2.error_of(step, answer)
            step = flow.throw(error) if error is not None else flow.send(answer)
    except StopIteration as done:
        played.result = done.value
    except FirecrestError as error:
        played.error = error
    assert next(queue, None) is None, "the flow asked less than expected"
    return played
