"""Which generation of FirecREST answers: found out once, never guessed, and said when the connection errs.

With recorded answers of both generations behind a real HTTP server, over both drivers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import (
    AsyncFirecrestClient,
    FirecrestClient,
    Settings,
    StaticToken,
    detect,
    pages,
)
from airflow_provider_firecrest.client.errors import (
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    InvalidRequestError,
    ProtocolError,
    UnavailableError,
)

from . import http_double
from .http_double import Answer, HttpDouble, answer, serving
from .subjects import Awaitable, Blocking, Subject, run

RECORDINGS = Path(__file__).parents[1] / "recordings"
SCRIPT = "#!/bin/bash\ntrue\n"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was found out before."""
    monkeypatch.setattr(detect, "_found", {})
    monkeypatch.setattr(pages, "_heard", set())


@pytest.fixture(params=[Blocking(), Awaitable()], ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def server() -> Iterator[HttpDouble]:
    with serving() as double:
        yield double


def recorded(generation: str, name: str) -> Answer:
    """The answer of a real server, with its headers."""
    found = json.loads((RECORDINGS / generation / f"{name}.json").read_text())["response"]
    body = found["json"] if "json" in found else found["text"].encode()
    headers = {
        key: value
        for key, value in (found.get("headers") or {}).items()
        if key.lower() not in ("content-length", "via", "date", "server", "transfer-encoding", "connection")
    }
    return answer(body, found["status"], headers)


def like_v1(server: HttpDouble) -> None:
    """Answer like a v1 server: what it does not know is a page of its framework."""
    server.routes["/status/systems"] = recorded("v1", "status-systems")
    server.routes["/status/parameters"] = recorded("v1", "status-parameters")
    server.routes["/utilities/whoami"] = recorded("v1", "whoami-groups")
    server.otherwise = recorded("v1", "err-unknown-endpoint")


def like_v2(server: HttpDouble) -> None:
    server.routes["/status/systems"] = recorded("v2", "status_systems")
    server.routes["/status/cluster/userinfo"] = recorded("v2", "status_userinfo")
    server.otherwise = recorded("v2", "ops_unknown_endpoint")


def settings(server: HttpDouble, version: str = "auto") -> Settings:
    return Settings(
        server.url, StaticToken("t0ken"), system="cluster", api_version=version, retry_budget=0.0, timeout=5.0
    )


def user(client: Any) -> Any:
    return client.userinfo()


def files(client: Any) -> Any:
    return client.ls("/scratch")


def submit(client: Any) -> Any:
    return client.submit_job(SCRIPT, working_dir="/scratch")


def systems(client: Any) -> Any:
    return client.systems()


def test_v1_is_recognised_by_its_answer(subject: Subject, server: HttpDouble) -> None:
    like_v1(server)

    assert subject.one(settings(server), user).name == "fireuser"
    assert server.paths() == ["GET /status/systems", "GET /utilities/whoami"]


def test_v2_is_recognised_by_its_answer(subject: Subject, server: HttpDouble) -> None:
    like_v2(server)

    assert subject.one(settings(server), user).name == "fireuser"
    assert server.paths() == ["GET /status/systems", "GET /status/cluster/userinfo"]


def test_a_server_is_asked_once_per_process_whatever_client_talks_to_it(server: HttpDouble) -> None:
    like_v1(server)

    for each in (Blocking(), Awaitable(), Blocking()):
        each.one(settings(server), user)

    assert server.paths().count("GET /status/systems") == 1


def test_two_servers_do_not_share_what_was_found(subject: Subject, server: HttpDouble) -> None:
    like_v1(server)
    with serving() as other:
        like_v2(other)

        assert subject.one(settings(server), user).name == subject.one(settings(other), user).name

    assert "GET /status/cluster/userinfo" in other.paths()


def test_a_version_that_is_named_saves_the_question(subject: Subject, server: HttpDouble) -> None:
    like_v1(server)

    subject.one(settings(server, "1"), user)

    assert server.paths() == ["GET /utilities/whoami"]


@pytest.mark.parametrize("call", [user, files, submit, systems])
@pytest.mark.parametrize(
    ("real", "named", "like"), [("1", "2", like_v1), ("2", "1", like_v2)], ids=["v1 server", "v2 server"]
)
def test_a_wrong_version_is_told_in_one_line_that_names_the_setting(
    subject: Subject, server: HttpDouble, real: str, named: str, like: Any, call: Any
) -> None:
    like(server)

    with pytest.raises(ConfigurationError) as raised:
        subject.one(settings(server, named), call)

    assert str(raised.value) == (
        f"api_version: the connection says {named}, but what answers at {server.url} is FirecREST v{real};"
        f" set api_version to {real} or auto."
    )


def test_a_wrong_version_behind_a_gateway_is_told_too(subject: Subject, server: HttpDouble) -> None:
    """A gateway of v1 answers a path it does not know with 400."""
    like_v1(server)
    server.otherwise = recorded("v1", "gateway-unknown-route")

    with pytest.raises(ConfigurationError, match="set api_version to 1 or auto"):
        subject.one(settings(server, "2"), user)


NEITHER = {
    "page": http_double.page(),
    "missing page": http_double.page(status=404),
    "gateway": answer({"message": "no Route matched with those values"}, 404),
    "gateway of v1": answer({"message": "Invalid"}, 400),
    "other json": answer({"systems": "none"}),
    "list": answer([]),
    "nothing": answer(b""),
}


@pytest.mark.parametrize("other", NEITHER)
def test_what_is_neither_is_told_with_its_address(other: str, subject: Subject, server: HttpDouble) -> None:
    server.otherwise = NEITHER[other]

    with pytest.raises(ProtocolError, match="neither FirecREST v1 nor v2") as raised:
        subject.one(settings(server), user)
    assert server.url in str(raised.value)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_maintenance_page_does_not_look_like_a_wrong_setting(
    subject: Subject, server: HttpDouble, version: str
) -> None:
    """To somebody who waits for a job it must stay an outage."""
    server.otherwise = http_double.page()

    with pytest.raises(FirecrestError) as raised:
        subject.one(settings(server, version), user)
    assert not isinstance(raised.value, ConfigurationError)
    assert "api_version" not in str(raised.value)


def test_once_an_answer_was_understood_the_version_is_not_doubted(
    subject: Subject, server: HttpDouble
) -> None:
    server.answers = [recorded("v1", "whoami-groups"), http_double.page()]

    with pytest.raises(ProtocolError):
        subject.each(settings(server, "1"), [user, user])
    assert server.paths() == ["GET /utilities/whoami"] * 2


def test_a_refusal_that_is_no_sign_of_another_version_is_passed_on(
    subject: Subject, server: HttpDouble
) -> None:
    like_v1(server)
    server.routes["/utilities/ls"] = recorded("v1", "ls-under-file")

    with pytest.raises(InvalidRequestError, match="Not a directory"):
        subject.one(settings(server, "1"), files)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (answer({"message": "down"}, 503), UnavailableError),
        (answer({"description": "JWT token has expired"}, 401), AuthenticationError),
    ],
)
def test_no_answer_concludes_nothing(
    subject: Subject, server: HttpDouble, failure: Answer, expected: type[FirecrestError]
) -> None:
    server.otherwise = failure
    with pytest.raises(expected):
        subject.one(settings(server), user)

    like_v1(server)
    assert subject.one(settings(server), user).name == "fireuser"


def test_the_generation_can_be_read_from_either_client(server: HttpDouble) -> None:
    like_v1(server)

    with FirecrestClient(settings(server)) as client:
        assert client.api.generation == 1

    async def generation() -> int:
        async with AsyncFirecrestClient(settings(server)) as client:
            return (await client.get_api()).generation

    assert run(generation()) == 1
