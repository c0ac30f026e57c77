"""What answers about jobs mean to somebody who waits. Time is a number here."""

from __future__ import annotations

from airflow_provider_firecrest.client.models import Job, JobElement
from airflow_provider_firecrest.client.waiting.job_watch import LOST_AFTER, LOST_ANSWERS, JobWatch

from .clock import Clock


def job(state: str, job_id: str = "1", **fields: object) -> Job:
    return Job(job_id, "icon", state, **fields)  # type: ignore[arg-type]


def test_changes_are_told_once(clock: Clock) -> None:
    watch = JobWatch(["1"], clock=clock)
    assert watch.observe({"1": job("PENDING", state_reason="Priority")}) == [
        "Job 1 (icon): PENDING (Priority)"
    ]
    assert watch.observe({"1": job("PENDING", state_reason="Priority")}) == []
    assert watch.observe({"1": job("RUNNING", nodes="nid1", elapsed=5)}) == ["Job 1 (icon): RUNNING on nid1"]
    assert watch.observe({"1": job("RUNNING", nodes="nid1", elapsed=9)}) == []
    assert not watch.done
    watch.observe({"1": job("COMPLETED")})
    assert watch.done


def test_the_elements_of_an_array_are_counted(clock: Clock) -> None:
    elements = (JobElement(0, "1_0", "COMPLETED"), JobElement(1, "1_1", "RUNNING"))
    [line] = JobWatch(["1"], clock=clock).observe({"1": job("RUNNING", elements=elements, waiting=2)})
    assert line == "Job 1 (icon): RUNNING, 1 of 4 elements ended"


def test_unknown_is_not_ended(clock: Clock) -> None:
    watch = JobWatch(["1"], submitted_at=clock.now, clock=clock)
    for _ in range(LOST_ANSWERS):
        watch.observe({})
    clock.now += LOST_AFTER
    watch.observe({})
    assert not watch.done, "the minute after the submit does not count"
    clock.now += 60
    watch.observe({})
    assert watch.lost == ["1"]
    assert watch.done


def test_time_in_which_questions_failed_is_no_absence(clock: Clock) -> None:
    watch = JobWatch(["1"], clock=clock)
    for _ in range(LOST_ANSWERS):
        watch.observe({})
        watch.unanswered()
        clock.now += LOST_AFTER
    watch.observe({})
    assert watch.lost == []
    clock.now += LOST_AFTER
    watch.observe({})
    assert watch.lost == ["1"]


def test_a_wrong_id_can_be_told_sooner_than_a_job_that_vanishes(clock: Clock) -> None:
    watch = JobWatch(["1", "2"], unseen_for=60.0, clock=clock)
    watch.observe({"2": job("RUNNING", "2")})
    for _ in range(LOST_ANSWERS):
        watch.observe({})
        clock.now += 15
    assert watch.lost == ["1"]


def test_few_answers_prove_nothing_however_long_the_time(clock: Clock) -> None:
    watch = JobWatch(["1"], clock=clock)
    watch.observe({})
    clock.now += 10 * LOST_AFTER
    for _ in range(LOST_ANSWERS - 2):
        watch.observe({})
    assert watch.lost == []
    watch.observe({})
    assert watch.lost == ["1"]


def test_a_job_seen_again_was_not_lost(clock: Clock) -> None:
    watch = JobWatch(["1"], clock=clock)
    for _ in range(LOST_ANSWERS):
        watch.observe({})
    clock.now += LOST_AFTER - 1
    watch.observe({"1": job("RUNNING")})
    clock.now += 2
    watch.observe({})
    assert watch.lost == []


def test_a_requeued_job_is_waited_for_again(clock: Clock) -> None:
    watch = JobWatch(["1", "2"], clock=clock)
    watch.observe({"1": job("RUNNING"), "2": job("COMPLETED", "2")})
    watch.observe({"1": job("PENDING"), "2": job("COMPLETED", "2")})
    assert watch.pending == ["1"]
