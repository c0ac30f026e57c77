"""What holds for both drivers, blocking and awaitable, against a real HTTP server that misbehaves on demand.

The oracle is what the server was asked, not what the client says.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
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
    rate,
    retry,
)
from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Flow, Kind, Request, Sleep, Upload

from . import http_double
from .http_double import HttpDouble, answer, serving
from .subjects import SUBJECTS, Awaitable, Subject, run

SCRIPT = "#!/bin/bash\ntrue\n"
JOB = answer({"jobs": [{"jobId": "7", "name": "n", "status": {"state": "RUNNING"}}]})
SUBMITTED = answer({"jobId": 7}, 201)
DOWN = answer({"errorType": "error", "message": "The ssh service is unhealthy."}, 503)


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.param
    return found


@pytest.fixture(autouse=True)
def _nothing_left_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts are short here, and nothing learnt of another server is kept."""
    monkeypatch.setattr(retry, "_MAX_BACKOFF", 0.02)
    monkeypatch.setattr(rate, "_pacers", {})
    monkeypatch.setattr(detect, "_found", {})
    monkeypatch.setattr(pages, "_heard", set())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[HttpDouble]:
    with serving() as double:
        yield double


def settings(url: str, **changes: Any) -> Settings:
    defaults: dict[str, Any] = {
        "api_version": "2",
        "system": "cluster",
        "working_dir": "/scratch",
        "timeout": 5.0,
        "retry_budget": 5.0,
        "max_requests_per_second": 1000.0,
    }
    return Settings(url, StaticToken("t0ken"), **{**defaults, **changes})


def get_job(client: Any) -> Any:
    return client.get_job("7")


def submit(client: Any) -> Any:
    return client.submit_job(SCRIPT)


def cancel(client: Any) -> Any:
    return client.cancel_job("7")


# One request


def test_a_call_arrives_with_its_token_and_an_id_the_server_accepts(
    subject: Subject, server: HttpDouble
) -> None:
    server.answers = [JOB]

    job = subject.one(settings(server.url + "/firecrest/v2/"), get_job)

    (asked,) = server.asked
    assert job.state == "RUNNING"
    assert (asked.method, asked.path) == ("GET", "/firecrest/v2/compute/cluster/jobs/7")
    assert asked.headers["authorization"] == "Bearer t0ken"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"].startswith("airflow-provider-firecrest")
    assert len(asked.headers["x-request-id"].replace("-", "")) == 32


def test_parameters_arrive_as_they_were_meant(subject: Subject, server: HttpDouble) -> None:
    server.answers = [answer({"output": []})]
    path = "/scratch/ü ñ+&=#?%25/日本;,"

    subject.one(settings(server.url), lambda client: client.ls(path, show_hidden=True))

    assert server.asked[0].query == {"path": [path], "showHidden": ["true"]}


def test_a_body_arrives_as_json(subject: Subject, server: HttpDouble) -> None:
    server.answers = [SUBMITTED]

    assert subject.one(settings(server.url), submit) == "7"

    assert server.asked[0].headers["content-type"] == "application/json"
    assert server.asked[0].json() == {"job": {"script": SCRIPT, "workingDirectory": "/scratch"}}


def test_an_answer_in_chunks_is_read_whole(subject: Subject, server: HttpDouble) -> None:
    server.answers = [http_double.chunked({"jobs": [{"jobId": 7, "status": {"state": "PENDING"}}]})]

    assert subject.one(settings(server.url), get_job).state == "PENDING"


def test_bytes_come_back_as_they_are(subject: Subject, server: HttpDouble) -> None:
    content = bytes(range(256)) * 100
    server.answers = [answer(content, headers={"Content-Type": "application/octet-stream"})]

    assert subject.one(settings(server.url), lambda client: client.download("/scratch/f")) == content


@pytest.mark.parametrize(
    "filename", ["plain.txt", "sp ace.txt", "ünï-日本.txt", "back\\slash.txt", "p%25&.txt"]
)
def test_a_file_arrives_under_its_own_name(
    filename: str, subject: Subject, server: HttpDouble, tmp_path: Path
) -> None:
    """A backslash was recorded to arrive when it is written twice."""
    source = tmp_path / "source"
    source.write_bytes(b"\x00\xff\r\n--x\r\n" * 1000)
    server.answers = [answer(b"", 204)]

    subject.one(settings(server.url), lambda client: client.upload("/scratch", filename, source))

    head, _, rest = server.asked[0].body.partition(b"\r\n\r\n")
    written = filename.replace("\\", "\\\\")
    assert f'filename="{written}"'.encode() in head
    assert b'name="file"' in head
    assert rest.startswith(source.read_bytes() + b"\r\n--")


def test_a_web_page_is_no_answer_of_firecrest(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = http_double.page()

    with pytest.raises(ProtocolError) as raised:
        subject.one(settings(server.url), get_job)

    assert "<" not in str(raised.value)
    assert server.paths() == ["GET /compute/cluster/jobs/7"]


def test_a_web_page_after_a_submit_leaves_it_open_whether_it_happened(
    subject: Subject, server: HttpDouble
) -> None:
    """Something else has answered there before, so it is no wrong address."""
    server.answers = [answer({"systems": []})]
    server.otherwise = http_double.page()

    with pytest.raises(AmbiguousError):
        subject.each(settings(server.url), [lambda client: client.systems(), submit])
    assert server.paths() == ["GET /status/systems", "POST /compute/cluster/jobs"]


# Repeating


@pytest.mark.parametrize(
    "failure",
    [
        http_double.lose(),
        http_double.reset(),
        http_double.cut_short(),
        DOWN,
        answer({}, 502),
        answer({}, 429),
    ],
    ids=["lost", "reset", "cut short", "503", "502", "429"],
)
def test_a_question_is_asked_again_until_it_is_answered(
    failure: http_double.Answer, subject: Subject, server: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_DELAY", 0.0)
    server.answers = [failure, failure, JOB]

    assert subject.one(settings(server.url, retry_budget=30.0), get_job).state == "RUNNING"

    assert server.paths() == ["GET /compute/cluster/jobs/7"] * 3
    assert len({asked.headers["x-request-id"] for asked in server.asked}) == 3


@pytest.mark.parametrize(
    "failure",
    [
        http_double.lose(),
        http_double.reset(),
        http_double.cut_short(b'{"jobId": '),
        answer({}, 502),
        answer({"errorType": "error", "message": "('Channel not open for sending',)"}, 500),
        answer({"errorType": "error", "message": "Command execution timeout limit exceeded."}, 408),
        http_double.page("<h1>Gateway Timeout</h1>", 504),
    ],
    ids=["lost", "reset", "cut short", "502", "500", "408", "504 page"],
)
def test_a_submit_that_may_have_happened_is_never_sent_again(
    failure: http_double.Answer, subject: Subject, server: HttpDouble
) -> None:
    server.answers = [failure]
    server.otherwise = SUBMITTED

    with pytest.raises(AmbiguousError):
        subject.one(settings(server.url), submit)

    assert server.paths() == ["POST /compute/cluster/jobs"]


@pytest.mark.parametrize(
    "failure",
    [
        DOWN,
        answer({}, 429),
        answer({"errorType": "error", "message": "(111, 'Connection refused')"}, 500),
    ],
    ids=["503 unhealthy", "429", "no login node"],
)
def test_a_submit_that_surely_did_not_happen_is_sent_again(
    failure: http_double.Answer, subject: Subject, server: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_DELAY", 0.0)
    server.answers = [failure, SUBMITTED]

    assert subject.one(settings(server.url, retry_budget=30.0), submit) == "7"
    assert len(server.asked) == 2


def test_a_submit_that_timed_out_here_is_ambiguous(subject: Subject, server: HttpDouble) -> None:
    server.answers = [http_double.silence()]

    with pytest.raises(AmbiguousError):
        subject.one(settings(server.url, timeout=0.3), submit)
    assert len(server.asked) == 1


def test_a_question_that_timed_out_here_is_asked_again(subject: Subject, server: HttpDouble) -> None:
    server.answers = [http_double.silence(), JOB]

    assert subject.one(settings(server.url, timeout=0.3), get_job).state == "RUNNING"


@pytest.mark.parametrize("call", [get_job, cancel, submit], ids=["get", "cancel", "submit"])
def test_a_port_where_nobody_listens_is_unavailable_for_every_kind_of_call(
    call: Any, subject: Subject
) -> None:
    """Nothing was sent, so even a submit may be repeated by whoever made it."""
    nobody = f"127.0.0.1:{http_double.refused_port()}"
    with pytest.raises(UnavailableError, match=f"cannot be reached at {nobody} ") as raised:
        subject.one(settings(f"http://{nobody}/v2", retry_budget=0.0), call)

    assert not isinstance(raised.value, RequestTimeoutError)


def test_a_submit_waits_for_a_server_that_is_just_starting(subject: Subject) -> None:
    bound = http_double.bound_socket()
    asked: list[str] = []
    done = threading.Event()

    def start() -> None:
        time.sleep(0.3)
        with serving(bound=bound) as late:
            late.otherwise = SUBMITTED
            done.wait(30)
            asked.extend(late.paths())

    thread = threading.Thread(target=start)
    thread.start()
    try:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        found = subject.one(settings(url, retry_budget=20.0), submit)
    finally:
        done.set()
        thread.join(10)

    assert found == "7"
    assert asked == ["POST /compute/cluster/jobs"]


def test_no_attempt_is_made_after_the_budget(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = DOWN
    began = time.monotonic()

    with pytest.raises(UnavailableError) as raised:
        subject.one(settings(server.url, retry_budget=0.3), get_job)

    assert "unhealthy" in str(raised.value)
    assert len(server.asked) > 2
    assert server.asked[-1].began - began < 3.0


def test_a_file_sent_again_is_sent_whole(subject: Subject, server: HttpDouble, tmp_path: Path) -> None:
    content = b"0123456789" * 50_000
    source = tmp_path / "f"
    source.write_bytes(content)
    server.answers = [DOWN, http_double.lose(), answer(b"", 204)]

    subject.one(settings(server.url), lambda client: client.upload("/scratch", "f", source))

    assert [asked.file() for asked in server.asked] == [("f", content)] * 3


def test_the_server_is_not_asked_again_before_the_time_it_named(subject: Subject, server: HttpDouble) -> None:
    server.answers = [answer({}, 429, {"Retry-After": "1"}), JOB]

    subject.one(settings(server.url), get_job)

    first, second = server.asked
    assert second.began - first.began >= 1.0


@pytest.mark.parametrize("wrong", [7200, -7200], ids=["ahead", "behind"])
def test_the_servers_clock_is_known_from_its_last_answer(
    wrong: int, subject: Subject, server: HttpDouble
) -> None:
    date = formatdate(time.time() - wrong, usegmt=True)
    server.answers = [
        answer({"jobs": [{"jobId": "7", "name": "n", "status": {"state": "RUNNING"}}]}, 200, {"Date": date})
    ]
    asked: list[Any] = []

    def ask(client: Any) -> Any:
        asked.append(client)
        return client.get_job("7")

    subject.one(settings(server.url), ask)

    assert abs(asked[0].server_time(time.time()) - (time.time() - wrong)) < 5


def test_a_pause_asked_of_one_call_holds_for_the_next(subject: Subject, server: HttpDouble) -> None:
    server.answers = [answer({}, 429, {"Retry-After": "1"}), JOB]

    def patient(client: Any) -> Any:
        return client.get_job("7")

    def failing(client: Any) -> Any:
        if isinstance(subject, Awaitable):

            async def hide() -> None:
                with pytest.raises(RateLimitError):
                    await client.get_job("7")

            return hide()
        with pytest.raises(RateLimitError):
            client.get_job("7")
        return None

    # The first call's budget is too short to wait; the second one's client is another of the same connection.
    short, long = settings(server.url, retry_budget=0.5), settings(server.url, retry_budget=10.0)
    subject.one(short, failing)
    subject.one(long, patient)

    assert server.asked[1].began - server.asked[0].began >= 0.9


def test_a_pause_longer_than_a_call_may_last_is_told_at_once_and_nothing_is_sent(
    subject: Subject, server: HttpDouble
) -> None:
    server.answers = [answer({}, 429, {"Retry-After": "3600"})]
    began = time.monotonic()

    for _ in range(2):
        with pytest.raises(RateLimitError) as raised:
            subject.one(settings(server.url), get_job)
        assert raised.value.retry_after == pytest.approx(3600, abs=5)

    assert time.monotonic() - began < 5
    assert len(server.asked) == 1


# Where credentials go


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", [get_job, submit], ids=["get", "submit"])
def test_a_redirect_is_not_followed(call: Any, status: int, subject: Subject, server: HttpDouble) -> None:
    with serving() as elsewhere:
        server.otherwise = answer({}, status, {"Location": f"{elsewhere.url}/x?code=s3cr3t"})

        with pytest.raises(ProtocolError) as raised:
            subject.one(settings(server.url), call)

        assert elsewhere.asked == []
    assert len(server.asked) == 1
    assert "s3cr3t" not in str(raised.value)
    assert elsewhere.url in str(raised.value)


# TLS


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    return http_double.certificate(tmp_path)


@pytest.mark.parametrize("call", [get_job, submit], ids=["get", "submit"])
def test_a_certificate_nobody_vouches_for_is_refused_at_once(
    call: Any, subject: Subject, tls: tuple[ssl.SSLContext, Path]
) -> None:
    with serving(tls[0]) as server:
        with pytest.raises(ConfigurationError, match=r"^host: .*certificate"):
            subject.one(settings(server.url, retry_budget=60.0), call)
        assert server.asked == []


def test_a_certificate_of_the_connections_own_bundle_is_accepted(
    subject: Subject, tls: tuple[ssl.SSLContext, Path]
) -> None:
    with serving(tls[0]) as server:
        server.otherwise = JOB
        assert subject.one(settings(server.url, verify=str(tls[1])), get_job).state == "RUNNING"


def test_the_check_can_be_switched_off(subject: Subject, tls: tuple[ssl.SSLContext, Path]) -> None:
    with serving(tls[0]) as server:
        server.otherwise = JOB
        quiet = contextlib.nullcontext()
        with pytest.warns(match="Unverified HTTPS") if subject.name == "blocking" else quiet:
            assert subject.one(settings(server.url, verify=False), get_job).state == "RUNNING"


def test_the_environments_bundle_does_not_override_the_connections(
    subject: Subject, tls: tuple[ssl.SSLContext, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    _, other = http_double.certificate(tmp_path / "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))

    with serving(tls[0]) as server:
        server.otherwise = JOB
        assert subject.one(settings(server.url, verify=str(tls[1])), get_job).state == "RUNNING"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_without_a_bundle_of_its_own_both_drivers_take_the_environments(
    name: str, subject: Subject, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests and httpx look at different variables; a site sets one of them."""
    monkeypatch.setenv(name, str(tls[1]))

    with serving(tls[0]) as server:
        server.otherwise = JOB
        assert subject.one(settings(server.url), get_job).state == "RUNNING"


def test_a_bundle_that_is_not_there_is_named(subject: Subject) -> None:
    with pytest.raises(ConfigurationError, match=r"^verify: .*/nowhere\.pem"):
        subject.one(settings("https://127.0.0.1:1", verify="/nowhere.pem"), get_job)


def test_a_bundle_without_a_certificate_is_named(subject: Subject, tmp_path: Path) -> None:
    bundle = tmp_path / "key.pem"
    bundle.write_text("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigurationError, match=rf"^verify: no certificate .* {bundle}\.$"):
        subject.one(settings("https://127.0.0.1:1", verify=str(bundle)), get_job)


def test_the_environments_bundle_is_named_when_it_is_not_there(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE in the environment: .*/nowhere\.pem"):
        subject.one(settings("https://127.0.0.1:1"), get_job)


def test_a_proxy_that_refuses_is_not_taken_for_firecrest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{http_double.refused_port()}")
    with (
        pytest.raises(UnavailableError, match=r"api\.example\.org .*by the proxy that the environment names"),
        FirecrestClient(settings("http://api.example.org/v2", retry_budget=0.0)) as client,
    ):
        client.get_job("1")


def test_https_where_http_is_spoken_is_named(subject: Subject, server: HttpDouble) -> None:
    with pytest.raises(ConfigurationError, match=r"^host: .*does not speak TLS.*http://\.$"):
        subject.one(settings(server.url.replace("http:", "https:")), get_job)


# Flows


def test_a_flow_sleeps_without_blocking_and_goes_on(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = JOB

    def flow() -> Flow[float]:
        began = time.monotonic()
        yield Request("GET", "/before")
        yield Sleep(0.2)
        yield Request("GET", "/after")
        return time.monotonic() - began

    assert subject.one(settings(server.url), lambda client: client.run(flow())) >= 0.2
    assert server.paths() == ["GET /before", "GET /after"]


def test_a_flow_is_thrown_its_error_and_may_go_another_way(subject: Subject, server: HttpDouble) -> None:
    server.answers = [answer({"errorType": "error", "message": "No such file"}, 404), answer({"ok": 1})]

    def flow() -> Flow[str]:
        try:
            yield Request("GET", "/first")
        except NotFoundError as error:
            response = yield Request("GET", "/second")
            return f"{error.status} {response.json()['ok']}"
        return "no error"

    assert subject.one(settings(server.url), lambda client: client.run(flow())) == "404 1"


def test_an_error_that_a_flow_lets_pass_reaches_the_caller(subject: Subject, server: HttpDouble) -> None:
    server.answers = [answer({"errorType": "error", "message": "No such file"}, 404)]

    def flow() -> Flow[None]:
        yield Request("GET", "/first")

    with pytest.raises(NotFoundError):
        subject.one(settings(server.url), lambda client: client.run(flow()))


def test_a_flow_that_asks_nothing_returns_at_once(subject: Subject) -> None:
    def flow() -> Flow[str]:
        return "done"
        yield Request("GET", "/never")

    assert subject.one(settings("http://127.0.0.1:1"), lambda client: client.run(flow())) == "done"


def test_a_failed_upload_closes_its_file(subject: Subject, server: HttpDouble) -> None:
    opened: list[Any] = []

    class Watched:
        def __call__(self) -> Any:
            opened.append(Path("/dev/null").open("rb"))  # noqa: SIM115
            return opened[-1]

    def flow() -> Flow[None]:
        yield Request("POST", "/up", Kind.IDEMPOTENT, upload=Upload("file", "f", Watched()))

    server.answers = [http_double.lose(), answer({}, 400)]
    with pytest.raises(FirecrestError):
        subject.one(settings(server.url), lambda client: client.run(flow()))

    assert len(opened) == 2
    assert all(stream.closed for stream in opened)


# Pace


def test_no_more_requests_are_under_way_at_once_than_allowed(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = answer({"jobs": [{"jobId": 7, "status": {"state": "RUNNING"}}]}, after=0.05)

    subject.together(settings(server.url, max_concurrent_requests=3), get_job, 20)

    assert len(server.asked) == 20
    assert max(asked.under_way for asked in server.asked) == 3


def test_requests_keep_to_the_connections_pace(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = JOB

    subject.together(settings(server.url, max_requests_per_second=20.0), get_job, 40)

    times = sorted(asked.began for asked in server.asked)
    assert times[-1] - times[0] >= 0.9
    # A burst of one second's worth, then the pace; the first one may be noted a little late.
    assert sum(1 for each in times if each - times[0] < 0.2) <= 32


def test_two_clients_of_a_connection_share_its_pace(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = JOB
    config = settings(server.url, max_requests_per_second=10.0)

    for _ in range(2):
        subject.together(config, get_job, 10)

    times = sorted(asked.began for asked in server.asked)
    assert times[-1] - times[0] >= 0.9


# Which FirecREST


def test_a_v2_server_is_recognised_and_asked_once(subject: Subject, server: HttpDouble) -> None:
    server.routes["/status/systems"] = answer({"systems": []})
    server.otherwise = JOB

    subject.each(settings(server.url, api_version="auto"), [get_job, get_job])
    subject.one(settings(server.url, api_version="auto"), get_job)

    assert server.paths() == ["GET /status/systems"] + ["GET /compute/cluster/jobs/7"] * 3


@pytest.mark.parametrize(
    "other", [http_double.page(), http_double.page(status=404), answer({}), answer([]), answer(b"")]
)
def test_what_is_no_firecrest_is_told_with_its_address(
    other: http_double.Answer, subject: Subject, server: HttpDouble
) -> None:
    server.otherwise = other

    with pytest.raises(ProtocolError, match="neither FirecREST v1 nor v2") as raised:
        subject.one(settings(server.url, api_version="auto"), get_job)
    assert server.url in str(raised.value)


def test_an_outage_is_not_taken_for_another_generation(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = DOWN

    with pytest.raises(UnavailableError):
        subject.one(settings(server.url, api_version="auto", retry_budget=0.0), get_job)

    server.routes["/status/systems"] = answer({"systems": []})
    server.otherwise = JOB
    assert subject.one(settings(server.url, api_version="auto"), get_job).state == "RUNNING"


# Lives of clients


def test_a_client_can_be_used_from_many_threads(server: HttpDouble) -> None:
    server.otherwise = JOB
    client = FirecrestClient(settings(server.url))
    found: list[str] = []

    def use() -> None:
        found.extend(client.get_job("7").state for _ in range(5))

    threads = [threading.Thread(target=use) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    client.close()

    assert found == ["RUNNING"] * 50


def test_the_connection_of_a_thread_that_ended_is_not_kept(server: HttpDouble) -> None:
    server.otherwise = JOB
    with FirecrestClient(settings(server.url)) as client:
        for _ in range(10):
            thread = threading.Thread(target=client.get_job, args=("7",))
            thread.start()
            thread.join(30)
        gc.collect()

        assert len(client._sessions) <= 1


def test_a_closed_client_can_be_closed_again_and_used_again(server: HttpDouble) -> None:
    server.otherwise = JOB
    client = FirecrestClient(settings(server.url))
    client.get_job("7")
    client.close()
    client.close()

    assert client.get_job("7").state == "RUNNING"
    client.close()


def test_an_awaitable_client_on_a_second_loop_says_so(server: HttpDouble) -> None:
    server.otherwise = JOB
    client = AsyncFirecrestClient(settings(server.url))

    async def first() -> None:
        await client.get_job("7")
        await client.aclose()

    run(first())

    with pytest.raises(RuntimeError, match="another event loop"):
        run(client.get_job("7"))


def test_waiting_for_an_answer_does_not_hold_up_the_loop(server: HttpDouble) -> None:
    server.otherwise = answer({"jobs": [{"jobId": 7, "status": {"state": "RUNNING"}}]}, after=0.3)
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        async with AsyncFirecrestClient(settings(server.url)) as client:
            question = asyncio.ensure_future(client.get_job("7"))
            while not question.done():
                ticks += 1
                await asyncio.sleep(0.01)
            await question

    run(main())
    assert ticks >= 10


def test_a_call_that_is_cancelled_gives_its_place_back(server: HttpDouble) -> None:
    server.answers = [http_double.silence()]
    server.otherwise = JOB

    async def main() -> str:
        async with AsyncFirecrestClient(settings(server.url, max_concurrent_requests=1)) as client:
            question = asyncio.ensure_future(client.get_job("7"))
            await asyncio.sleep(0.2)
            question.cancel()
            with pytest.raises(asyncio.CancelledError):
                await question
            return str((await client.get_job("7")).state)

    assert run(main()) == "RUNNING"


def test_a_refused_static_token_says_what_to_do(subject: Subject, server: HttpDouble) -> None:
    server.otherwise = answer({"errorType": "error", "message": "Access token expired"}, 401)

    with pytest.raises(AuthenticationError, match="put a new one into it"):
        subject.one(settings(server.url), get_job)
    assert len(server.asked) == 1


def test_every_call_leaves_one_debug_line_without_its_query(
    subject: Subject, server: HttpDouble, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [answer({"output": []})]

    with caplog.at_level(logging.DEBUG, logger="airflow_provider_firecrest"):
        subject.one(settings(server.url), lambda client: client.ls("/scratch/private name"))

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider")]
    assert len(lines) == 1
    assert lines[0].startswith("GET /filesystem/cluster/ops/ls -> 200")
    assert "private" not in lines[0]
