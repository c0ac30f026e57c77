"""What answers about FirecREST v1's tasks mean to somebody who waits. Time is a number here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_firecrest.client.models import Task
from airflow_provider_firecrest.client.waiting.task_watch import (
    RETRIED_FOR,
    UNKNOWN_FOR,
    Seen,
    TaskAnswer,
    TaskWatch,
    seen_from_dict,
)

from .clock import Clock

URL = "https://store.example/bucket/f?X-Amz-Signature=abcdef"


def answer(*, unknown: str | None = None, **statuses: str) -> TaskAnswer:
    seen = {key: Seen.of(Task(key, status)) for key, status in statuses.items()}
    return TaskAnswer(seen, {unknown: "FirecREST does not know it"} if unknown else {})


@pytest.mark.parametrize("status", ["200", "114", "117", "400", "118", "302"])
def test_these_statuses_are_the_end(status: str) -> None:
    watch = TaskWatch(["a"])
    watch.observe(answer(a=status))
    assert watch.done
    assert bool(watch.failed) is (status in ("400", "118", "302"))


@pytest.mark.parametrize("status", ["100", "101", "110", "111", "112", "113", "115", "116", "999"])
def test_these_are_not(status: str) -> None:
    watch = TaskWatch(["a"])
    watch.observe(answer(a=status))
    assert not watch.done
    assert watch.failed == []


def test_all_have_to_be_over(clock: Clock) -> None:
    watch = TaskWatch(["a", "b"], clock=clock)
    watch.observe(answer(a="200", b="100"))
    assert watch.pending == ["b"]
    watch.observe(answer(b="200"))
    assert watch.done


def test_changes_are_told_once() -> None:
    watch = TaskWatch(["a"])
    assert watch.observe(answer(a="100")) == ["Task a: 100 (queued)."]
    assert watch.observe(answer(a="100")) == []
    assert watch.observe(answer(a="200")) == ["Task a: 200 (done)."]


def test_unknown_is_believed_after_a_while_and_several_answers(clock: Clock) -> None:
    watch = TaskWatch(["a"], clock=clock)
    watch.observe(answer(unknown="a"))
    clock.now += UNKNOWN_FOR
    watch.observe(answer(unknown="a"))
    assert watch.problem is None, "two answers prove nothing"
    watch.observe(answer(unknown="a"))
    assert watch.problem == "Task a cannot be followed: FirecREST does not know it."


def test_a_task_seen_again_was_not_unknown(clock: Clock) -> None:
    watch = TaskWatch(["a"], clock=clock)
    for _ in range(5):
        watch.observe(answer(unknown="a"))
    clock.now += UNKNOWN_FOR
    watch.observe(answer(a="100"))
    watch.observe(answer(unknown="a"))
    assert watch.problem is None


def test_a_task_without_any_change_is_stuck(clock: Clock) -> None:
    watch = TaskWatch(["a"], stuck_after=3600, clock=clock)
    watch.observe(answer(a="113"))
    clock.now += 3599
    watch.observe(answer(a="113"))
    assert watch.problem is None
    clock.now += 1
    watch.observe(answer(a="113"))
    assert "113 (copying the file to the system) for 60 minutes" in str(watch.problem)


def test_a_change_shows_that_it_is_alive(clock: Clock) -> None:
    watch = TaskWatch(["a"], stuck_after=3600, clock=clock)
    for status in ("100", "110", "111", "112", "113"):
        watch.observe(answer(a=status))
        clock.now += 3000
    assert watch.problem is None


def test_a_copy_that_is_tried_again_and_again_is_given_up(clock: Clock) -> None:
    """115 and 113 take turns for ever when the quota is full: there is always a change."""
    watch = TaskWatch(["a"], stuck_after=3600, clock=clock)
    waited = 0.0
    while watch.problem is None and waited < 2 * RETRIED_FOR:
        for status in ("113", "115"):
            watch.observe(answer(a=status))
            clock.now += 30
            waited += 30
    assert waited == pytest.approx(RETRIED_FOR, abs=120)
    assert "does not say why it fails" in str(watch.problem)


def test_who_does_not_limit_it_waits_for_ever(clock: Clock) -> None:
    watch = TaskWatch(["a"], clock=clock)
    for status in ("113", "115"):
        watch.observe(answer(a=status))
    clock.now += 10**6
    watch.observe(answer(a="115"))
    assert watch.problem is None


@pytest.mark.parametrize("last", ["113", "115"])
def test_an_outage_makes_no_task_stuck(clock: Clock, last: str) -> None:
    """FirecREST, or the way to it, was away; what the task did meanwhile nobody knows."""
    watch = TaskWatch(["a"], stuck_after=3600, clock=clock)
    watch.observe(answer(a=last))
    for _ in range(100):
        clock.now += 120
        watch.unanswered()
        assert watch.problem is None
    watch.observe(answer(a=last))
    assert watch.problem is None
    clock.now += 3600
    watch.observe(answer(a=last))
    assert watch.problem is not None


def test_an_outage_between_two_unknowns_is_no_absence(clock: Clock) -> None:
    watch = TaskWatch(["a"], clock=clock)
    for _ in range(5):
        watch.observe(answer(unknown="a"))
        clock.now += UNKNOWN_FOR
        watch.unanswered()
    watch.observe(answer(unknown="a"))
    assert watch.problem is None


@pytest.mark.parametrize(
    ("status", "data"),
    [
        ("117", {"url": URL, "source": "/f"}),
        ("111", {"msg": {"command": f"curl {URL}", "parameters": {"url": URL}}}),
        ("118", {"error": f"curl: (22) {URL} returned 403", "source": "/f"}),
        ("400", f"no bucket at {URL}"),
        ("200", {"jobid": 12, "url": URL}),
    ],
)
def test_no_credential_gets_past_the_answer(status: str, data: Any) -> None:
    watch = TaskWatch(["a"])
    told = watch.observe(TaskAnswer({"a": Seen.of(Task("a", status, data))}, {}))
    kept = json.dumps([told, watch.as_dicts(), [str(each) for each in watch.failed], repr(watch.seen)])
    assert "abcdef" not in kept
    assert "Signature" not in kept


def test_what_is_stored_is_read_back_by_another_version() -> None:
    seen = Seen.of(Task("a", "200", {"jobid": 12}))
    watch = TaskWatch(["a"])
    watch.observe(TaskAnswer({"a": seen}, {}))
    [stored] = json.loads(json.dumps(watch.as_dicts()))
    assert seen_from_dict({**stored, "of_another_version": 1}) == seen
    assert seen.job_id == "12"
