"""Which failed calls are repeated, how long one waits, and when one gives up."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tenacity import Retrying

from airflow_provider_firecrest.client import retry
from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    AuthenticationError,
    CommandTimeoutError,
    ConfigurationError,
    ConflictError,
    DeadlineError,
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    RequestTimeoutError,
    Retry,
    TooLargeError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Kind, Request

REPEATED = [UnavailableError, RequestTimeoutError, CommandTimeoutError, RateLimitError]
NOT_REPEATED = [
    AmbiguousError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    DeadlineError,
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    JobFailedError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    TooLargeError,
]


class Clock:
    """Stands in for the time: what would sleep only moves it on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


def attempts(request: Request, error: FirecrestError, *, clock: Clock, budget: float = 120.0) -> int:
    """Run a call that always fails with ``error``: how often it was sent."""
    sent = 0

    def call() -> None:
        nonlocal sent
        sent += 1
        raise error

    with pytest.raises(type(error)) as raised:
        Retrying(**retry.policy(request, budget=budget), sleep=clock.sleep)(call)
    assert raised.value is error
    return sent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("error", REPEATED)
def test_a_call_that_did_nothing_or_may_be_done_twice_is_repeated(
    error: type[FirecrestError], kind: Kind, clock: Clock
) -> None:
    assert attempts(Request("GET", "/x", kind), error("x"), clock=clock) > 3


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("error", NOT_REPEATED)
def test_what_repeating_cannot_help_or_would_double_is_sent_once(
    error: type[FirecrestError], kind: Kind, clock: Clock
) -> None:
    assert attempts(Request("POST", "/x", kind), error("x"), clock=clock) == 1
    assert clock.sleeps == []


def test_a_bug_of_ours_is_not_repeated(clock: Clock) -> None:
    assert not retry.may_repeat(Request("GET", "/x"), ValueError("x"))


def test_a_servers_timeout_is_not_repeated_where_the_flow_has_another_way(clock: Clock) -> None:
    request = Request("GET", "/x", repeat_command_timeout=False)

    assert attempts(request, CommandTimeoutError("x"), clock=clock) == 1
    assert attempts(request, RequestTimeoutError("x"), clock=clock) > 3


def test_an_outage_is_not_waited_through_where_the_flow_has_another_way(clock: Clock) -> None:
    request = Request("GET", "/x", repeat=False)

    assert attempts(request, UnavailableError("x"), clock=clock) == 1
    assert attempts(request, RateLimitError("x"), clock=clock) > 3


def test_an_ambiguous_outcome_is_not_repeated_even_if_it_says_so(clock: Clock) -> None:
    assert not retry.may_repeat(Request("GET", "/x"), AmbiguousError("x", retry=Retry.YES))


@pytest.mark.parametrize("budget", [5.0, 30.0, 120.0, 600.0])
def test_no_attempt_starts_after_the_budget(budget: float, clock: Clock) -> None:
    began = clock.now

    attempts(Request("GET", "/x"), UnavailableError("x"), clock=clock, budget=budget)

    assert clock.now - began <= budget


def test_without_a_budget_a_call_is_sent_once(clock: Clock) -> None:
    assert attempts(Request("GET", "/x"), UnavailableError("x"), clock=clock, budget=0.0) == 1


def test_the_waits_grow_are_random_and_stay_below_their_bound(clock: Clock) -> None:
    for _ in range(20):
        attempts(Request("GET", "/x"), UnavailableError("x"), clock=clock, budget=300.0)

    first = [wait for wait in clock.sleeps if wait <= 1.0]
    assert max(clock.sleeps) <= 20.0
    assert max(clock.sleeps) > 5.0
    assert first
    assert len(set(clock.sleeps)) == len(clock.sleeps)


def test_the_first_wait_is_at_most_a_second(clock: Clock) -> None:
    for _ in range(50):
        clock.sleeps.clear()
        attempts(Request("GET", "/x"), UnavailableError("x"), clock=clock, budget=60.0)
        assert clock.sleeps[0] <= 1.0


@pytest.mark.parametrize("kind", list(Kind))
def test_the_server_is_not_asked_again_before_the_time_it_named(kind: Kind, clock: Clock) -> None:
    attempts(Request("GET", "/x", kind), RateLimitError("x", retry_after=7.0), clock=clock)

    assert clock.sleeps
    assert all(7.0 <= wait <= 8.0 for wait in clock.sleeps)


def test_a_rate_limit_without_a_time_is_ten_seconds(clock: Clock) -> None:
    attempts(Request("GET", "/x"), RateLimitError("x"), clock=clock)

    assert all(10.0 <= wait <= 11.0 for wait in clock.sleeps)


def test_an_end_of_the_pause_in_the_past_is_no_reason_to_hurry(clock: Clock) -> None:
    times = attempts(Request("GET", "/x"), RateLimitError("x", retry_after=0.0), clock=clock)

    assert times < 40, "a question every half second is no backoff"


def test_a_wait_longer_than_the_budget_is_not_begun(clock: Clock) -> None:
    assert attempts(Request("GET", "/x"), RateLimitError("x", retry_after=3600.0), clock=clock) == 1
    assert clock.sleeps == []


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry-after": "7"}, 7.0, 7.0),
        ({"retry-after": " 7 "}, 7.0, 7.0),
        ({"retry-after": "0"}, 0.0, 0.0),
        ({"ratelimit-reset": "12"}, 12.0, 12.0),
        ({"x-ratelimit-reset": "12"}, 12.0, 12.0),
        ({"retry-after": "3", "ratelimit-reset": "12"}, 3.0, 3.0),
        ({"retry-after": "soon", "ratelimit-reset": "12"}, 12.0, 12.0),
    ],
)
def test_the_servers_delay_is_read_from_whichever_header_holds_it(
    headers: dict[str, str], low: float, high: float
) -> None:
    found = retry.server_delay(headers)

    assert found is not None
    assert low <= found <= high


@pytest.mark.parametrize(("ahead", "low", "high"), [(60.0, 57.0, 60.0), (-60.0, 0.0, 0.0)])
def test_the_servers_delay_can_be_a_date(ahead: float, low: float, high: float) -> None:
    when = datetime.now(UTC) + timedelta(seconds=ahead)

    for text in (
        format_datetime(when, usegmt=True),
        format_datetime(when),
        when.strftime("%d %b %Y %H:%M:%S"),
    ):
        found = retry.server_delay({"retry-after": text})
        assert found is not None
        assert low <= found <= high


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"retry-after": ""},
        {"retry-after": "soon"},
        {"retry-after": "²"},
        {"ratelimit-reset": "x"},
        {"retry-after": "nan"},
        {"ratelimit-reset": "nan"},
        {"ratelimit-reset": "inf"},
        {"retry-after": "Mon, 99 Foo"},
    ],
)
def test_a_delay_that_cannot_be_read_is_none(headers: dict[str, Any]) -> None:
    assert retry.server_delay(headers) is None


def test_a_reset_given_as_a_moment_is_not_taken_for_seconds() -> None:
    """Some gateways send the epoch second at which the window ends."""
    found = retry.server_delay({"x-ratelimit-reset": str(int(time.time()) + 30)})

    assert found is not None
    assert 27.0 <= found <= 31.0


@pytest.mark.parametrize("wrong", [7200.0, -7200.0], ids=["ahead", "behind"])
def test_a_date_is_read_by_the_clock_of_the_server_that_sent_it(wrong: float) -> None:
    """Ours may be hours off: the answer's own Date tells what time it is there."""
    there = datetime.now(UTC) - timedelta(seconds=wrong)
    ends = there + timedelta(seconds=30)
    date = format_datetime(there, usegmt=True)

    for name, value in (
        ("retry-after", format_datetime(ends, usegmt=True)),
        ("x-ratelimit-reset", str(int(ends.timestamp()))),
    ):
        found = retry.server_delay({name: value, "date": date})
        assert found is not None
        assert 29.0 <= found <= 31.0


def test_a_budget_of_a_day_is_waited_through(clock: Clock) -> None:
    """More attempts than a doubling float can count."""
    assert attempts(Request("GET", "/x"), UnavailableError("x"), clock=clock, budget=86_400.0) > 1100
