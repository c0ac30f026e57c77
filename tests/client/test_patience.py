"""When to ask again, and which failures to wait through. Time is a number here."""

from __future__ import annotations

import pytest

from airflow_provider_firecrest.client import errors
from airflow_provider_firecrest.client.waiting.patience import REFUSALS_TOLERATED, Patience

from .clock import Clock


def patience(clock: Clock, deadline: float | None = None) -> Patience:
    return Patience(30, deadline, clock=clock)


def test_it_asks_quickly_at_first_and_at_the_interval_later(clock: Clock) -> None:
    waiting = patience(clock)
    assert waiting.answered(changed=True) == pytest.approx(5, rel=0.11)
    clock.now += 60
    assert waiting.answered(changed=False) == pytest.approx(15, rel=0.11)
    clock.now += 3600
    assert waiting.answered(changed=False) == pytest.approx(30, rel=0.11)
    assert waiting.answered(changed=True) == pytest.approx(5, rel=0.11), "news make it quick again"


def test_two_pauses_are_not_the_same(clock: Clock) -> None:
    waiting = patience(clock)
    assert len({waiting.answered(changed=False) for _ in range(10)}) > 1


def test_no_pause_passes_the_deadline(clock: Clock) -> None:
    waiting = patience(clock, deadline=1003.0)
    assert waiting.answered(changed=False) == 3.0
    clock.now = 1003.0
    assert waiting.expired
    assert waiting.failed(errors.UnavailableError("down")) == 0.0


@pytest.mark.parametrize(
    "error",
    [
        errors.UnavailableError("down"),
        errors.RequestTimeoutError("slow"),
        errors.CommandTimeoutError("slow"),
        errors.RateLimitError("slower"),
        errors.QuotaError("full"),
        errors.TooLargeError("much"),
        errors.AmbiguousError("lost"),
        errors.ProtocolError("html"),
        errors.NotFirecrestError("a triggerer that was restarted has heard nothing else"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_is_waited_through_however_long_it_takes(
    clock: Clock, error: errors.FirecrestError
) -> None:
    waiting = patience(clock)
    for _ in range(500):
        clock.now += max(1.0, waiting.failed(error))
    assert clock.now > 1000 + 3600


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationError("no"),
        errors.PermissionDeniedError("no"),
        errors.NotFoundError("no"),
        errors.InvalidRequestError("no"),
        errors.ConfigurationError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_is_tolerated_for_minutes_then_raised(clock: Clock, error: errors.FirecrestError) -> None:
    waiting = patience(clock)
    waiting.failed(error)
    clock.now += REFUSALS_TOLERATED - 1
    waiting.failed(error)
    clock.now += 1
    with pytest.raises(type(error)):
        waiting.failed(error)


@pytest.mark.parametrize("between", ["answer", "outage"])
def test_only_refusals_without_anything_between_add_up(clock: Clock, between: str) -> None:
    waiting = patience(clock)
    for _ in range(5):
        waiting.failed(errors.AuthenticationError("no"))
        clock.now += REFUSALS_TOLERATED - 1
        waiting.answered(False) if between == "answer" else waiting.failed(errors.UnavailableError("down"))
        clock.now += 10


def test_the_servers_own_delay_is_obeyed(clock: Clock) -> None:
    error = errors.RateLimitError("slower", retry_after=240.0)
    assert patience(clock).failed(error) == 240.0


def test_failures_slow_it_down(clock: Clock) -> None:
    waiting = patience(clock)
    pauses = [waiting.failed(errors.UnavailableError("down")) for _ in range(8)]
    assert pauses[0] < 6
    assert 25 < pauses[-1] <= 33
