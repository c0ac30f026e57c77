"""What a tool on the system says decides whether the same call may pass later, on both generations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    FirecrestError,
    InvalidRequestError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Kind, Request, Response
from airflow_provider_firecrest.client.v1 import answers as v1
from airflow_provider_firecrest.client.v2 import answers as v2

WRONG = [
    "stat: cannot statx '/scratch/me/loop': Too many levels of symbolic links",
    "mkdir: cannot create directory '/scratch/me/xxx': File name too long",
    "mv: cannot move '/scratch/me/a' to a subdirectory of itself, '/scratch/me/a/b'",
]
AWAY = [
    "stat: cannot statx '/scratch/me/a': Input/output error",
    "ls: cannot open directory '/scratch/me': Stale file handle",
    "ls: cannot access '/scratch/me': Cannot send after transport endpoint shutdown",
]


def told(generation: int, words: str, kind: Kind) -> FirecrestError | None:
    """What the server makes of a tool's complaint that it knows nothing about."""
    request = Request("GET", "/utilities/stat", kind)
    body: dict[str, Any] = {"description": "Error on stat operation", "error": words}
    if generation == 1:
        return v1.error_of(request, Response(400, {"x-error": words}, json.dumps(body).encode()))
    message = f"Remote process failed with exit status:1 and error message:{words}"
    body = {"errorType": "error", "message": message, "data": None}
    return v2.error_of(request, Response(500, {}, json.dumps(body).encode()))


GENERATIONS = pytest.mark.parametrize("generation", [1, 2], ids=["v1", "v2"])


@GENERATIONS
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("words", WRONG)
def test_a_tools_refusal_is_no_outage(generation: int, kind: Kind, words: str) -> None:
    error = told(generation, words, kind)

    assert type(error) is InvalidRequestError
    assert words in str(error)


@GENERATIONS
@pytest.mark.parametrize("words", AWAY)
def test_a_file_system_that_is_away_may_be_back_later(generation: int, words: str) -> None:
    assert type(told(generation, words, Kind.READ)) is UnavailableError
    assert type(told(generation, words, Kind.IDEMPOTENT)) is UnavailableError
    assert type(told(generation, words, Kind.CREATE)) is AmbiguousError
