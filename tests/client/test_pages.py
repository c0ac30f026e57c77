"""A web page where FirecREST should answer: a wrong address at once, or maintenance to be waited through.

A real HTTP server, over both drivers, with connections that name their generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_firecrest.client import FirecrestClient, Settings, StaticToken, detect, pages, rate
from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    NotFirecrestError,
    ProtocolError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Flow, Request, Response
from airflow_provider_firecrest.client.health import check_connection

from . import http_double
from .http_double import Answer, HttpDouble, answer, serving
from .subjects import SUBJECTS, Subject

SCRIPT = "#!/bin/bash\ntrue\n"
LOGIN = http_double.page(
    "<!DOCTYPE html><html><head><title>Sign in to Example</title><script>state = 's3cr3t'</script></head>"
    "<body><form action='/login?ticket=s3cr3t'><input value='s3cr3t'>Log&nbsp;in</form></body></html>"
)
HEALTHY = {"1": answer({"out": []}), "2": answer({"systems": []})}
"""To ``GET /status/systems``, by generation."""


@pytest.fixture(autouse=True)
def _nothing_heard_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports are used again."""
    monkeypatch.setattr(pages, "_heard", set())
    monkeypatch.setattr(detect, "_found", {})
    monkeypatch.setattr(rate, "_pacers", {})


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def server() -> Iterator[HttpDouble]:
    with serving() as double:
        yield double


def settings(server: HttpDouble, version: str) -> Settings:
    return Settings(
        f"{server.url}/portal",
        StaticToken("t0ken"),
        system="cluster",
        api_version=version,
        retry_budget=0.0,
        timeout=5.0,
    )


def submit(client: Any) -> Any:
    return client.submit_job(SCRIPT, working_dir="/scratch")


def stat(client: Any) -> Any:
    return client.stat("/scratch")


def look(client: Any) -> Any:
    return client.get_job("7")


def wait(client: Any) -> Any:
    return client.wait_for_job("7", poll_interval=0.1, timeout=30.0)


def copy(client: Any) -> Any:
    return client.transfer_cp("/a", "/b")


def ask_anything(client: Any) -> Any:
    """One call that is answered as by a healthy FirecREST."""
    return client.run(_systems())


def _systems() -> Flow[Response]:
    return (yield Request("GET", "/status/systems"))


@pytest.mark.parametrize("version", ["1", "2", "auto"])
@pytest.mark.parametrize("call", [submit, stat, look, wait, copy])
def test_a_login_page_is_told_as_a_wrong_address_at_once(
    call: Callable[[Any], Any], version: str, subject: Subject, server: HttpDouble
) -> None:
    server.otherwise = LOGIN

    with pytest.raises(NotFirecrestError) as raised:
        subject.one(settings(server, version), call)

    said = str(raised.value)
    assert f"{server.url}/portal is a web page ('Sign in to Example Log in')" in said
    assert "s3cr3t" not in said
    # The call itself, and, if it creates something, one question that is sure to change nothing.
    assert len(server.asked) <= 2
    assert len([each for each in server.paths() if each.startswith("POST")]) <= 1


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_page_for_a_submit_at_an_address_that_is_firecrest_leaves_it_open(
    version: str, subject: Subject, server: HttpDouble
) -> None:
    """A proxy may have put its page in the place of an answer, after the job was submitted."""
    server.answers = [LOGIN]
    server.otherwise = HEALTHY[version]

    with pytest.raises(AmbiguousError):
        subject.one(settings(server, version), submit)


@pytest.mark.parametrize(
    "then",
    [
        http_double.page(status=503),
        http_double.reset(),
        answer({"message": "down"}, 500),
        http_double.page(status=502),
    ],
    ids=["503", "reset", "500", "502"],
)
def test_a_page_for_a_submit_with_an_outage_after_it_leaves_it_open(
    then: Answer, subject: Subject, server: HttpDouble
) -> None:
    server.answers = [LOGIN]
    server.otherwise = then

    with pytest.raises(AmbiguousError):
        subject.one(settings(server, "2"), submit)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("call", [submit, stat, look])
def test_a_page_after_a_good_answer_is_maintenance(
    call: Callable[[Any], Any], version: str, subject: Subject, server: HttpDouble
) -> None:
    server.answers = [HEALTHY[version]]
    server.otherwise = LOGIN

    with pytest.raises(AmbiguousError if call is submit else ProtocolError) as raised:
        subject.each(settings(server, version), [ask_anything, call])

    assert not isinstance(raised.value, NotFirecrestError)


def test_what_one_client_heard_holds_for_the_next(subject: Subject, server: HttpDouble) -> None:
    server.answers = [HEALTHY["2"]]
    server.otherwise = LOGIN
    subject.one(settings(server, "2"), ask_anything)

    with pytest.raises(ProtocolError) as raised:
        subject.one(settings(server, "2"), stat)

    assert not isinstance(raised.value, NotFirecrestError)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_page_that_says_it_is_down_is_an_outage_from_the_start(
    version: str, status: int, subject: Subject, server: HttpDouble
) -> None:
    server.otherwise = http_double.page("<h1>Maintenance</h1>", status)

    with pytest.raises(UnavailableError):
        subject.one(settings(server, version), stat)
    with pytest.raises(AmbiguousError):
        subject.one(settings(server, version), submit)


def test_a_page_of_errors_does_not_make_an_address_known() -> None:
    """A portal has pages of its own for what it has not got."""
    request = Request("GET", "/status/systems")
    page = Response(200, {"content-type": "text/html"}, b"<h1>Hi</h1>")
    for status, kind in ((404, "text/html"), (404, "text/plain"), (302, ""), (502, "")):
        pages.not_firecrest("http://x", request, Response(status, {"content-type": kind}, b""))
    assert pages.not_firecrest("http://x", request, page) is not None

    pages.not_firecrest("http://x", request, Response(404, {"content-type": "application/json"}, b"{}"))
    assert pages.not_firecrest("http://x", request, page) is None


def test_the_words_of_a_page_are_those_that_one_reads() -> None:
    text = "<!-- no --><style>p {}</style ><title>A &amp; B</title>\n<p>c<br>d</p><script>let e"
    assert pages.plain_words(text) == "A & B c d"


def test_the_test_of_a_connection_says_it_once(server: HttpDouble) -> None:
    server.otherwise = LOGIN
    with FirecrestClient(settings(server, "2")) as client:
        well, said = check_connection(client)
    assert not well
    assert said.startswith(f"API failed: host: what answers at {server.url}/portal is a web page")
    assert said.count("FirecREST v1") == 1
