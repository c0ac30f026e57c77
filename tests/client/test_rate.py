"""How fast requests start: bursts, a steady pace, and a pause for all when one was told to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_firecrest.client import rate
from airflow_provider_firecrest.client.rate import Pacer, shared_pacer


@pytest.fixture
def set_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def setter(value: float) -> None:
        now[0] = value

    return setter


def starts(pacer: Pacer, count: int) -> list[float]:
    """Seconds after which ``count`` requests that ask at once may start."""
    return [round(pacer.reserve(), 6) for _ in range(count)]


def test_a_second_of_requests_passes_at_once_then_they_are_spaced(set_time: Callable[[float], None]) -> None:
    pacer = Pacer(10.0)

    assert starts(pacer, 14) == [0.0] * 10 + [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("per_second", [0.5, 1.0, 2.0, 10.0, 50.0])
def test_in_the_long_run_no_more_than_the_rate_starts(
    per_second: float, set_time: Callable[[float], None]
) -> None:
    pacer = Pacer(per_second)

    last = starts(pacer, 200)[-1]

    assert last >= (200 - max(1.0, per_second)) / per_second - 0.001


def test_a_slow_rate_has_no_burst(set_time: Callable[[float], None]) -> None:
    assert starts(Pacer(0.5), 3) == [0.0, 2.0, 4.0]


def test_unused_places_are_kept_for_one_second_only(set_time: Callable[[float], None]) -> None:
    pacer = Pacer(10.0)
    starts(pacer, 10)

    set_time(1100.0)

    assert starts(pacer, 12) == [0.0] * 10 + [0.1, 0.2]


def test_a_pause_holds_for_all(set_time: Callable[[float], None]) -> None:
    pacer = Pacer(10.0)

    pacer.pause(30.0)

    assert starts(pacer, 3) == [30.0, 30.1, 30.2]


def test_a_shorter_pause_does_not_end_a_longer_one(set_time: Callable[[float], None]) -> None:
    pacer = Pacer(10.0)
    pacer.pause(30.0)

    pacer.pause(1.0)

    assert pacer.reserve() == pytest.approx(30.0)


def test_how_long_a_pause_lasts_can_be_asked_without_taking_a_place(
    set_time: Callable[[float], None],
) -> None:
    pacer = Pacer(10.0)
    assert pacer.paused_for() == 0.0
    pacer.pause(3600.0)

    assert pacer.paused_for() == pytest.approx(3600.0)
    set_time(1900.0)
    assert pacer.paused_for() == pytest.approx(2700.0)
    set_time(9000.0)
    assert pacer.paused_for() == 0.0
    assert pacer.reserve() == 0.0


def test_own_requests_that_queue_up_are_no_pause(set_time: Callable[[float], None]) -> None:
    pacer = Pacer(1.0)
    starts(pacer, 500)

    assert pacer.paused_for() == 0.0


def test_threads_never_get_the_same_place(set_time: Callable[[float], None]) -> None:
    pacer = Pacer(1.0)

    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: pacer.reserve(), range(200)))

    assert sorted(waits) == [float(number) for number in range(200)]


def test_clients_of_one_connection_share_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_pacers", {})

    assert shared_pacer("a", 1.0) is shared_pacer("a", 1.0)
    assert shared_pacer("a", 1.0) is not shared_pacer("b", 1.0)
