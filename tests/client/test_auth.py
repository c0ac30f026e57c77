"""Where tokens come from, when they are renewed, and that no secret shows anywhere."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from airflow_provider_firecrest.client import (
    ApiKey,
    AsyncFirecrestClient,
    ClientCredentials,
    FirecrestClient,
    Settings,
    StaticToken,
    TokenCommand,
    auth,
    detect,
    rate,
    retry,
    tokens,
)
from airflow_provider_firecrest.client.auth import Auth, Token, expiry_of
from airflow_provider_firecrest.client.errors import (
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    RateLimitError,
    UnavailableError,
)

from . import http_double
from .http_double import HttpDouble, answer, serving
from .recorded import as_response, load
from .subjects import SUBJECTS, Subject, run

SECRET = "s3cr3t-Cl1ent/+=Secret"
JOB = answer({"jobs": [{"jobId": "7", "name": "n", "status": {"state": "RUNNING"}}]})
REFUSED = answer(
    {"errorType": "error", "message": "Access token expired"}, 401, {"auth-token": "echoed-t0ken"}
)


def token(value: str, life: Any = 300) -> http_double.Answer:
    return answer({"access_token": value, "expires_in": life, "token_type": "Bearer"})


def only_with(authorization: str) -> http_double.Answer:
    """Accept one token and refuse every other one."""

    def act(handler: Any) -> None:
        (JOB if handler.headers["Authorization"] == authorization else REFUSED)(handler)

    return act


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.param
    return found


@pytest.fixture(autouse=True)
def _nothing_left_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_MAX_BACKOFF", 0.02)
    monkeypatch.setattr(tokens, "_caches", {})
    monkeypatch.setattr(rate, "_pacers", {})
    monkeypatch.setattr(detect, "_found", {})


@pytest.fixture
def idp() -> Iterator[HttpDouble]:
    """The token server."""
    with serving() as double:
        double.otherwise = token("t-1")
        yield double


@pytest.fixture
def server() -> Iterator[HttpDouble]:
    """FirecREST."""
    with serving() as double:
        double.otherwise = JOB
        yield double


def login(idp: HttpDouble, **changes: Any) -> ClientCredentials:
    return ClientCredentials(
        **{"auth_url": f"{idp.url}/token", "client_id": "me", "client_secret": SECRET, **changes}
    )


def settings(server: HttpDouble, how: Auth, **changes: Any) -> Settings:
    defaults: dict[str, Any] = {
        "api_version": "2",
        "system": "cluster",
        "timeout": 5.0,
        "retry_budget": 5.0,
        "max_requests_per_second": 1000.0,
        "max_concurrent_requests": 64,
    }
    return Settings(server.url, how, **{**defaults, **changes})


def get_job(client: Any) -> Any:
    return client.get_job("7")


def bearers(server: HttpDouble) -> list[str]:
    return [asked.headers.get("authorization", "") for asked in server.asked]


# Asking for a token


def test_client_credentials_are_posted_in_the_form(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    subject.one(settings(server, login(idp, scope="firecrest")), get_job)

    (asked,) = idp.asked
    assert (asked.method, asked.path) == ("POST", "/token")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me"],
        "client_secret": [SECRET],
        "scope": ["firecrest"],
    }
    assert "authorization" not in asked.headers
    assert bearers(server) == ["Bearer t-1"]


@pytest.mark.parametrize("secret", [SECRET, "pässwörd€", "a:b c"])
def test_basic_style_sends_the_secret_in_the_header_only(
    secret: str, subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    subject.one(settings(server, login(idp, client_secret=secret, style="basic")), get_job)

    (asked,) = idp.asked
    scheme, _, encoded = asked.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", f"me:{secret}")
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"]}


@pytest.mark.parametrize("name", ["token_post", "token_basic"])
def test_the_recorded_answer_of_a_token_server_is_understood(name: str, idp: HttpDouble) -> None:
    recorded = load(name)["response"]

    found = login(idp).accept(as_response(recorded))

    assert found.value == recorded["json"]["access_token"]
    life = found.renew_at - time.time()
    assert 0 < life < recorded["json"]["expires_in"] - 60


def test_a_refused_secret_is_told_with_the_servers_words_and_not_tried_again(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    refused = load("token_bad_secret")["response"]
    idp.otherwise = answer(refused["json"], refused["status"])

    with pytest.raises(AuthenticationError) as raised:
        subject.one(settings(server, login(idp)), get_job)

    assert "Invalid client or Invalid client credentials" in str(raised.value)
    assert "127.0.0.1" in str(raised.value)
    assert SECRET not in str(raised.value)
    assert (len(idp.asked), server.asked) == (1, [])


@pytest.mark.parametrize(
    "odd",
    [
        http_double.page(),
        answer({}),
        answer([]),
        answer({"access_token": None, "expires_in": 300}),
        answer({"access_token": ""}),
        answer({"access_token": "two words"}),
        answer({"access_token": "line\nbreak"}),
        answer({"access_token": "t", "expires_in": "soon"}),
        answer(b'{"access_token": "t", "expires_in": NaN}'),
        http_double.page("<h1>Not Found</h1>", 404),
        answer({}, 302, {"Location": "https://elsewhere.example/"}),
    ],
)
def test_what_is_no_token_endpoint_is_told_by_its_field(
    odd: http_double.Answer, subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    idp.otherwise = odd

    with pytest.raises(AuthenticationError, match="auth_url"):
        subject.one(settings(server, login(idp)), get_job)
    assert server.asked == []


@pytest.mark.parametrize("failure", [answer({}, 503), answer({}, 500), answer({}, 408), http_double.lose()])
def test_an_outage_of_the_token_server_is_waited_through(
    failure: http_double.Answer, subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    idp.answers = [failure, failure]

    assert subject.one(settings(server, login(idp)), get_job).state == "RUNNING"
    assert len(idp.asked) == 3


@pytest.mark.parametrize("call", [get_job, lambda client: client.submit_job("#!/bin/sh\n", working_dir="/s")])
def test_a_token_server_that_is_not_there_is_an_outage_for_every_kind_of_call(
    call: Any, subject: Subject, server: HttpDouble
) -> None:
    how = ClientCredentials(f"http://127.0.0.1:{http_double.refused_port()}/token", "me", SECRET)

    with pytest.raises(UnavailableError, match="token server"):
        subject.one(settings(server, how, retry_budget=0.0), call)
    assert server.asked == []


def test_the_token_servers_own_rate_limit_is_obeyed(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    idp.answers = [answer({}, 429, {"Retry-After": "1"})]

    subject.one(settings(server, login(idp)), get_job)

    assert idp.asked[1].began - idp.asked[0].began >= 1.0

    idp.answers = [answer({}, 429, {"Retry-After": "3600"})]
    with pytest.raises(RateLimitError):
        subject.one(settings(server, login(idp, client_id="other")), get_job)


# Renewing


def test_a_token_is_used_until_it_is_due(subject: Subject, server: HttpDouble, idp: HttpDouble) -> None:
    subject.each(settings(server, login(idp)), [get_job] * 5)
    subject.one(settings(server, login(idp)), get_job)

    assert len(idp.asked) == 1
    assert bearers(server) == ["Bearer t-1"] * 6


@pytest.mark.parametrize(
    ("life", "used_for"),
    [(36_000, 35_910), (300, 210), (120, 60), (90, 45), (60, 25), (45, 10)],
)
def test_a_token_is_renewed_before_the_server_refuses_it(
    life: int, used_for: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens with less than 30 s left are refused; one of 45 s cannot be renewed 60 s before its end."""
    found = auth._token("t", life)
    cache = tokens.TokenCache()
    cache.store(found)
    now = time.time()

    assert found.renew_at - now == pytest.approx(used_for, abs=0.5)
    assert cache.current() == "t"
    monkeypatch.setattr(time, "time", lambda: now + used_for + 1)
    assert cache.current() is None
    assert life - used_for > 30


def test_a_token_whose_time_has_come_is_renewed(
    subject: Subject, server: HttpDouble, idp: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    idp.answers = [token("t-1"), token("t-2")]
    how = settings(server, login(idp))
    subject.one(how, get_job)
    later = time.time() + 211

    monkeypatch.setattr(time, "time", lambda: later)
    subject.one(how, get_job)

    assert bearers(server) == ["Bearer t-1", "Bearer t-2"]


def test_a_token_that_lives_too_short_is_used_all_the_same_and_warned_about(
    subject: Subject, server: HttpDouble, idp: HttpDouble, caplog: pytest.LogCaptureFixture
) -> None:
    idp.otherwise = token("t-1", 20)

    subject.one(settings(server, login(idp)), get_job)

    assert bearers(server) == ["Bearer t-1"]
    assert "refuses tokens with less than 30 s left" in caplog.text


def test_a_401_renews_the_token_once_and_asks_again(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    idp.answers = [token("t-1"), token("t-2")]
    server.answers = [REFUSED]

    assert subject.one(settings(server, login(idp)), get_job).state == "RUNNING"

    assert bearers(server) == ["Bearer t-1", "Bearer t-2"]
    assert len(idp.asked) == 2


def test_a_submit_refused_by_401_is_sent_again_with_the_new_token(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    """401 says that nothing was done."""
    server.answers = [REFUSED, answer({"jobId": 7}, 201)]

    found = subject.one(
        settings(server, login(idp), working_dir="/s"), lambda client: client.submit_job("#!/bin/sh\n")
    )

    assert found == "7"


def test_a_401_with_a_new_token_too_is_told_and_not_repeated(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    server.otherwise = REFUSED

    with pytest.raises(AuthenticationError, match="Access token expired"):
        subject.one(settings(server, login(idp)), get_job)

    assert (len(server.asked), len(idp.asked)) == (2, 2)


def test_fifty_at_once_ask_for_one_token(subject: Subject, server: HttpDouble, idp: HttpDouble) -> None:
    idp.otherwise = answer({"access_token": "t-1", "expires_in": 300}, after=0.2)

    subject.together(settings(server, login(idp)), get_job, 50)

    assert len(idp.asked) == 1
    assert bearers(server) == ["Bearer t-1"] * 50


def test_fifty_refused_at_once_ask_for_one_new_token(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    idp.answers = [token("t-1"), answer({"access_token": "t-2", "expires_in": 300}, after=0.1)]
    subject.one(settings(server, login(idp)), get_job)
    server.otherwise = only_with("Bearer t-2")

    subject.together(settings(server, login(idp)), get_job, 50)

    assert len(idp.asked) == 2
    assert bearers(server).count("Bearer t-2") == 50


def test_threads_and_loops_of_one_process_renew_one_at_a_time(server: HttpDouble, idp: HttpDouble) -> None:
    idp.otherwise = answer({"access_token": "t-1", "expires_in": 300}, after=0.2)
    how = settings(server, login(idp))
    start = threading.Barrier(8)

    def blocking() -> None:
        start.wait(10)
        with FirecrestClient(how) as client:
            client.get_job("7")

    async def awaitable() -> None:
        async with AsyncFirecrestClient(how) as client:
            await client.get_job("7")

    def looping() -> None:
        start.wait(10)
        run(awaitable())

    threads = [threading.Thread(target=each) for each in [blocking, looping] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(server.asked) == 8
    assert len(idp.asked) == 1


def test_a_renewal_that_hangs_does_not_hold_up_the_others_for_ever(
    subject: Subject, server: HttpDouble, idp: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_RENEWAL_PATIENCE", 0.2)
    how = login(idp)

    with tokens.shared_cache(how).renewing():
        assert subject.one(settings(server, how), get_job).state == "RUNNING"


def test_a_failed_renewal_leaves_the_way_free_for_the_next(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    idp.answers = [answer({"error": "invalid_client"}, 401)]
    how = settings(server, login(idp))
    with pytest.raises(AuthenticationError):
        subject.one(how, get_job)

    assert subject.one(how, get_job).state == "RUNNING"


def test_two_logins_do_not_share_a_token(subject: Subject, server: HttpDouble, idp: HttpDouble) -> None:
    idp.answers = [token("mine"), token("yours"), token("scoped")]

    subject.one(settings(server, login(idp)), get_job)
    subject.one(settings(server, login(idp, client_secret="other")), get_job)
    subject.one(settings(server, login(idp, scope="x")), get_job)

    assert bearers(server) == ["Bearer mine", "Bearer yours", "Bearer scoped"]


# Other ways to log in


def test_a_static_token_is_sent_as_it_is(subject: Subject, server: HttpDouble) -> None:
    subject.one(settings(server, StaticToken("abc.def")), get_job)

    assert bearers(server) == ["Bearer abc.def"]


def test_an_api_key_goes_into_its_header_and_no_bearer_beside_it(
    subject: Subject, server: HttpDouble
) -> None:
    subject.one(settings(server, ApiKey("k3y", "X-Gateway-Key")), get_job)

    (asked,) = server.asked
    assert asked.headers["x-gateway-key"] == "k3y"
    assert "authorization" not in asked.headers


def command(code: str) -> TokenCommand:
    return TokenCommand(f'{sys.executable} -c "{code}"')


def jwt(expires_in: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + expires_in}).encode()).decode()
    return f"eyJhbGciOiJub25lIn0.{claims.rstrip('=')}.c2ln"


def test_a_commands_token_is_used_and_kept(subject: Subject, server: HttpDouble, tmp_path: Path) -> None:
    count = tmp_path / "count"
    how = command(f"open('{count}', 'a').write('x'); print('from-command')")

    subject.each(settings(server, how), [get_job] * 3)

    assert bearers(server) == ["Bearer from-command"] * 3
    assert count.read_text() == "x"


def test_a_commands_json_is_used_with_its_life() -> None:
    how = command("print('{' + chr(34) + 'access_token' + chr(34) + ':' + chr(34) + 'j' + chr(34) + '}')")
    assert how.fetch().value == "j"

    found = TokenCommand._parse('{"access_token": "j", "expires_in": 300}')
    assert found.value == "j"
    assert found.renew_at - time.time() == pytest.approx(210, abs=1)


def test_a_jwts_own_expiry_is_heeded() -> None:
    found = TokenCommand._parse(jwt(300))

    assert found.renew_at - time.time() == pytest.approx(210, abs=2)


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.!!.c", "a.bnVsbA.c", "opaque", "a.W10.c", "a.eyJleHAiOiJ4In0.c"]
)
def test_an_expiry_that_cannot_be_read_is_none(text: str) -> None:
    assert expiry_of(text) is None


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("print('')", AuthenticationError, "print the token and nothing else"),
        ("print('two words')", AuthenticationError, "print the token and nothing else"),
        ("print('a'); print('b')", AuthenticationError, "print the token and nothing else"),
        ("print('{}')", AuthenticationError, "JSON without access_token"),
        ("print('{')", AuthenticationError, "JSON without access_token"),
        ("import sys; sys.exit('no such key')", AuthenticationError, "exit code 1: no such key"),
        ("import sys; sys.exit(3)", AuthenticationError, "exit code 3"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", ConfigurationError, "auth_command"),
    ],
)
def test_a_command_that_yields_no_token_is_told(code: str, error: type[FirecrestError], words: str) -> None:
    with pytest.raises(error, match=words):
        command(code).fetch()


@pytest.mark.parametrize("line", ["/nowhere/no-such-program --x", "", "'unclosed", "/"])
def test_a_command_that_cannot_be_run_is_told(line: str) -> None:
    with pytest.raises(ConfigurationError, match="auth_command cannot be run"):
        TokenCommand(line).fetch()


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_COMMAND_TIMEOUT", 0.3)
    began = time.monotonic()

    with pytest.raises(UnavailableError, match="did not finish"):
        command("import time; time.sleep(60)").fetch()

    assert time.monotonic() - began < 5


def test_a_command_that_leaves_a_child_behind_does_not_hang_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child holds the pipe open after the command itself was killed."""
    monkeypatch.setattr(auth, "_COMMAND_TIMEOUT", 0.5)
    began = time.monotonic()

    with pytest.raises(UnavailableError):
        TokenCommand("sh -c 'sleep 5; sleep 5'").fetch()

    assert time.monotonic() - began < 4


def test_a_slow_command_does_not_hold_up_the_loop(server: HttpDouble) -> None:
    import asyncio

    how = settings(server, command("import time; time.sleep(0.3); print('slow')"))
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        async with AsyncFirecrestClient(how) as client:
            question = asyncio.ensure_future(client.get_job("7"))
            while not question.done():
                ticks += 1
                await asyncio.sleep(0.01)
            await question

    run(main())
    assert ticks >= 10


# Bad input


@pytest.mark.parametrize("value", ["", " ", "tok en", "t0k\nen", "t0ken\n", "tök€n", "t0k\x00en"])
def test_a_token_or_key_that_no_header_can_carry_is_refused_by_its_field(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^access_token: ") as raised:
        StaticToken(value)
    assert value.strip() == "" or value not in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"^api_key: "):
        ApiKey(value)


@pytest.mark.parametrize("header", ["", "X Key", "X:Key", "X\nKey", "Schlüssel"])
def test_a_name_that_is_none_of_a_header_is_refused(header: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^api_key_header: "):
        ApiKey("k", header)


BAD_URLS = [
    "",
    "auth.example.org/token",
    "ftp://x/token",
    "https://",
    "https://[bad/token",
    "https://x:notaport/token",
    "https://x:99999/",
    "https://a b/token",
    "https://x/to\nken",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_an_address_that_is_none_is_refused_by_its_field(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^auth_url: "):
        ClientCredentials(url, "me", SECRET)
    with pytest.raises(ConfigurationError, match=r"^host: "):
        Settings(url, StaticToken("t"))


@pytest.mark.parametrize(
    "url", ["https://user:pa55word@x/", "https://x/?token=pa55word", "https://u:pa55word@[x/"]
)
def test_an_address_that_holds_a_secret_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^host: ") as raised:
        Settings(url, StaticToken("t"))
    assert "pa55word" not in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_version", "3"),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("max_requests_per_second", 0),
        ("max_concurrent_requests", 0),
        ("max_script_size", 0),
        ("retry_budget", -1),
        ("retry_budget", float("nan")),
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{field}: "):
        Settings("https://x", StaticToken("t"), **{field: value})


def test_a_changed_copy_of_settings_is_checked_too() -> None:
    whole = Settings("https://x/", StaticToken("t"))

    assert whole.base_url == "https://x"
    assert whole.with_changes(timeout=5.0).timeout == 5.0
    with pytest.raises(ConfigurationError):
        whole.with_changes(timeout=0.0)


# Secrets


def all_logins() -> list[Auth]:
    return [
        ClientCredentials("https://x/token", "me", SECRET),
        ClientCredentials("https://x/token", "me", SECRET, style="basic"),
        StaticToken(SECRET),
        ApiKey(SECRET),
        TokenCommand(f"print-token --password {SECRET}"),
    ]


@pytest.mark.parametrize("how", all_logins(), ids=lambda how: type(how).__name__)
def test_no_secret_shows_in_a_login_its_settings_or_its_client(how: Auth) -> None:
    whole = Settings("https://x", how)
    client = FirecrestClient(whole)
    shown = [repr(how), str(how), repr(whole), str(whole), repr(client), f"{how}", repr(how.request())]
    shown += [repr(Token(SECRET, 0.0)), repr(vars(client).get("_tokens"))]
    if not isinstance(how, TokenCommand):
        # A command is its own identity; that is a key of a dict in this process and nothing else.
        shown.append(repr(how.identity()))

    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize("style", ["post", "basic"])
@pytest.mark.parametrize("refused", [False, True], ids=["accepted", "refused"])
def test_no_secret_shows_in_any_log_at_debug_level(
    refused: bool,
    style: str,
    subject: Subject,
    server: HttpDouble,
    idp: HttpDouble,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """httpcore writes the headers of answers at DEBUG, and FirecREST echoes a refused token in one."""
    idp.otherwise = token("t0ken-issued")
    server.otherwise = (
        answer({"errorType": "error", "message": "expired"}, 401, {"auth-token": "t0ken-issued"})
        if refused
        else JOB
    )
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "urllib3", "requests", "asyncio", "airflow_provider_firecrest"):
        monkey = logging.getLogger(name)
        caplog.set_level(logging.DEBUG, logger=name)
        assert monkey.isEnabledFor(logging.DEBUG)

    try:
        subject.one(settings(server, login(idp, style=style)), get_job)
    except AuthenticationError as error:
        assert refused
        caplog.records.append(logging.makeLogRecord({"msg": str(error)}))

    text = "\n".join(record.getMessage() for record in caplog.records)
    basic = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert "/compute/cluster/jobs/7" in text
    for secret in (SECRET, "t0ken-issued", basic):
        assert secret not in text


def test_netrc_is_not_looked_at(
    subject: Subject, server: HttpDouble, idp: HttpDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login evil password stolen\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))

    subject.one(settings(server, login(idp)), get_job)
    subject.one(settings(server, ApiKey("k3y")), get_job)

    assert bearers(server) == ["Bearer t-1", ""]
    assert bearers(idp) == [""]


def test_a_token_request_is_not_redirected(subject: Subject, server: HttpDouble, idp: HttpDouble) -> None:
    with serving() as elsewhere:
        idp.otherwise = answer({}, 307, {"Location": f"{elsewhere.url}/token"})

        with pytest.raises(AuthenticationError):
            subject.one(settings(server, login(idp)), get_job)

        assert elsewhere.asked == []


@pytest.mark.parametrize("how", all_logins(), ids=lambda how: type(how).__name__)
def test_settings_travel_between_processes(how: Auth) -> None:
    whole = Settings("https://x", how)

    assert pickle.loads(pickle.dumps(whole)) == whole


def test_the_two_hosts_get_nothing_of_each_other(
    subject: Subject, server: HttpDouble, idp: HttpDouble
) -> None:
    """The token server never sees a token, FirecREST never the secret."""
    server.answers = [REFUSED]
    subject.one(settings(server, login(idp)), get_job)

    at_idp = " ".join(str(asked.headers) + asked.body.decode() for asked in idp.asked)
    at_server = " ".join(str(asked.headers) + asked.body.decode() for asked in server.asked)
    assert not re.search(r"t-1", at_idp)
    assert "s3cr3t" not in at_server
