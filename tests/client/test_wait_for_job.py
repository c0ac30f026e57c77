"""Waiting for a job through everything that is not the job's own end. Time is simulated: nothing sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_firecrest.client import states
from airflow_provider_firecrest.client.errors import (
    AuthenticationError,
    CommandTimeoutError,
    ConfigurationError,
    DeadlineError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Flow, Request, Response, Sleep
from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.client.v2 import V2

from .recorded import api, ok, response

HALF_AN_HOUR = 1800.0

Answer = Response | FirecrestError


def state(word: str) -> Response:
    return ok({"jobs": [{"jobId": "37", "name": "n", "status": {"state": word, "exitCode": 0}}]})


RUNNING, PENDING, DONE, FAILED = state("RUNNING"), state("PENDING"), state("COMPLETED"), state("FAILED")
UNKNOWN = response("job_unknown")


class World:
    """A simulated clock, and a script of what the server answers when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 5000.0
        self.began = self.now
        self.looks: list[float] = []
        self.each_call_takes = 0.1
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    @property
    def elapsed(self) -> float:
        return self.now - self.began

    def drive(self, flow: Flow[Job], answer_at: Callable[[float], Answer]) -> Job:
        """Run a flow; ``answer_at`` says what is answered so many seconds after the start."""
        try:
            step = next(flow)
            for _ in range(100_000):
                if isinstance(step, Sleep):
                    assert step.seconds >= 0
                    self.now += step.seconds
                    step = flow.send(None)
                    continue
                assert isinstance(step, Request)
                self.looks.append(self.elapsed)
                answer = answer_at(self.elapsed)
                self.now += self.each_call_takes
                error = answer if isinstance(answer, FirecrestError) else V2.error_of(step, answer)
                step = flow.throw(error) if error is not None else flow.send(answer)
        except StopIteration as done:
            job: Job = done.value
            return job
        raise AssertionError("waits for ever")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def wait(**options: Any) -> Flow[Job]:
    return api().wait_for_job("37", **options)


def phases(*parts: tuple[float, Answer]) -> Callable[[float], Answer]:
    """Each answer holds until so many seconds after the start; the last one for ever."""

    def answer_at(elapsed: float) -> Answer:
        return next((answer for until, answer in parts if elapsed < until), parts[-1][1])

    return answer_at


FOR_EVER = float("inf")

OUTAGES: dict[str, Answer] = {
    "500 of slurm": response("down_slurmctld_get_job"),
    "500 of the accounting": response("down_slurmdbd_get_job"),
    "503 unhealthy": response("down_ssh_after_healthcheck_get_job"),
    "500 of ssh": response("down_ssh_before_healthcheck_get_job"),
    "502 of a proxy": Response(502, {"content-type": "text/html"}, b"<h1>Bad Gateway</h1>"),
    "408": Response(408, {}, b'{"errorType":"error","message":"Command execution timeout limit exceeded."}'),
    "413 of a list too long": Response(413, {}, b'{"errorType":"error","message":"too much"}'),
    "429": Response(429, {}, b""),
    "424": Response(424, {}, b""),
    "no connection": UnavailableError("no connection"),
    "no answer": RequestTimeoutError("no answer"),
    "slow command": CommandTimeoutError("slow"),
    "token server down": UnavailableError("The token server at x is down (503).", status=503),
}
# Only once the connection is known to work can these be told from a wrong address.
PAGES: dict[str, Answer] = {
    "404 page of a balancer": Response(404, {"content-type": "text/html"}, b"<h1>nginx</h1>"),
    "200 maintenance page": Response(200, {"content-type": "text/html"}, b"<h1>Maintenance</h1>"),
    "302 to a login": Response(302, {"location": "https://sso.example/login?x=1"}, b""),
    "200 of something else": ok({"hello": "world"}),
    "400 empty": Response(400, {}, b""),
}
REFUSALS: dict[str, Answer] = {
    "401": response("auth_expired"),
    "403": Response(403, {}, b'{"errorType":"error","message":"Forbidden"}'),
    "400": Response(400, {}, b'{"errorType":"error","message":"nope"}'),
    "certificate expired": ConfigurationError("host: certificate has expired"),
    "token server refuses": AuthenticationError("The token server refuses the client id or secret."),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=list(OUTAGES))
def test_half_an_hour_of_outage_before_the_job_was_ever_seen_does_not_end_the_waiting(
    outage: Answer, world: World
) -> None:
    job = world.drive(wait(), phases((HALF_AN_HOUR, outage), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"
    assert world.elapsed >= HALF_AN_HOUR


@pytest.mark.parametrize("outage", [*OUTAGES.values(), *PAGES.values()], ids=[*OUTAGES, *PAGES])
def test_half_an_hour_of_outage_while_the_job_runs_does_not_end_the_waiting(
    outage: Answer, world: World
) -> None:
    job = world.drive(wait(), phases((60, RUNNING), (60 + HALF_AN_HOUR, outage), (FOR_EVER, FAILED)))

    assert job.state == "FAILED"


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_a_page_instead_of_firecrest_at_the_start_is_a_wrong_address_at_once(
    page: Answer, world: World
) -> None:
    with pytest.raises(ProtocolError):
        world.drive(wait(), phases((FOR_EVER, page)))
    assert len(world.looks) == 1


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
def test_an_hour_of_refusals_while_the_job_runs_is_waited_through(refusal: Answer, world: World) -> None:
    job = world.drive(wait(), phases((60, RUNNING), (3660, refusal), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
def test_refusals_that_do_not_end_are_raised_after_two_hours(refusal: Answer, world: World) -> None:
    with pytest.raises(FirecrestError) as raised:
        world.drive(wait(), phases((60, RUNNING), (FOR_EVER, refusal)))

    assert isinstance(
        raised.value, AuthenticationError | PermissionDeniedError | InvalidRequestError | ConfigurationError
    )
    assert 7200 < world.elapsed - 60 < 7300


def test_a_login_refused_from_the_start_is_waited_through_for_a_while(world: World) -> None:
    """A DAG may start while the token server is being replaced."""
    job = world.drive(wait(), phases((600, response("auth_expired")), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"


@pytest.mark.parametrize("refusal", ["403", "400", "certificate expired"])
def test_any_other_refusal_at_the_start_ends_the_waiting_at_once(refusal: str, world: World) -> None:
    with pytest.raises(FirecrestError):
        world.drive(wait(), phases((FOR_EVER, REFUSALS[refusal])))
    assert len(world.looks) == 1


def test_refusals_between_outages_do_not_add_up(world: World) -> None:
    outage, refusal = OUTAGES["503 unhealthy"], REFUSALS["401"]

    def answer_at(elapsed: float) -> Answer:
        if elapsed > 4 * HALF_AN_HOUR:
            return DONE
        return RUNNING if elapsed < 60 else (refusal if elapsed % 600 < 500 else outage)

    assert world.drive(wait(), answer_at).state == "COMPLETED"


def test_a_job_not_yet_visible_is_waited_for(world: World) -> None:
    job = world.drive(wait(), phases((50, UNKNOWN), (100, PENDING), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"


def test_a_job_that_never_becomes_visible_is_not_found_after_a_minute(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.drive(wait(), phases((FOR_EVER, UNKNOWN)))

    assert 60 < world.elapsed < 90


def test_a_job_that_vanishes_for_nine_minutes_is_still_there(world: World) -> None:
    """Accounting can be away, and a job between two states in no list."""
    job = world.drive(wait(), phases((60, RUNNING), (600, UNKNOWN), (660, RUNNING), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"


def test_gaps_with_the_job_between_them_do_not_add_up(world: World) -> None:
    def answer_at(elapsed: float) -> Answer:
        if elapsed > 4 * HALF_AN_HOUR:
            return DONE
        return RUNNING if elapsed % 500 < 50 else UNKNOWN

    assert world.drive(wait(), answer_at).state == "COMPLETED"


def test_a_job_that_stays_unknown_is_lost_after_ten_minutes(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.drive(wait(), phases((60, RUNNING), (FOR_EVER, UNKNOWN)))

    assert 600 < world.elapsed - 60 < 700


@pytest.mark.parametrize("outage", [OUTAGES["503 unhealthy"], REFUSALS["401"]], ids=["503", "401"])
def test_the_time_of_an_outage_is_no_absence(outage: Answer, world: World) -> None:
    """After hours in which nobody could look, the first "not found" is not the last word."""
    minutes_14 = 60 + 840
    job = world.drive(
        wait(), phases((60, RUNNING), (minutes_14, outage), (minutes_14 + 300, UNKNOWN), (FOR_EVER, DONE))
    )

    assert job.state == "COMPLETED"


def test_an_outage_between_two_absences_counts_for_neither(world: World) -> None:
    parts: list[tuple[float, Answer]] = [(60, RUNNING)]
    for number in range(3):
        parts += [(60 + 1000 * number + 150, UNKNOWN), (60 + 1000 * number + 1000, OUTAGES["503 unhealthy"])]

    assert world.drive(wait(), phases(*parts, (FOR_EVER, DONE))).state == "COMPLETED"


def test_a_requeued_job_goes_back_to_pending_and_is_waited_for(world: World) -> None:
    seen: list[str] = []

    job = world.drive(
        wait(on_change=lambda job: seen.append(job.state)),
        phases((60, PENDING), (120, RUNNING), (240, PENDING), (300, RUNNING), (FOR_EVER, DONE)),
    )

    assert job.state == "COMPLETED"
    assert seen == ["PENDING", "RUNNING", "PENDING", "RUNNING", "COMPLETED"]


@pytest.mark.parametrize("word", ["COMPLETED", "FAILED", "CANCELLED by 2001", "TIMEOUT", "NODE_FAIL"])
def test_the_final_state_is_returned_whichever_it_is(word: str, world: World) -> None:
    assert world.drive(wait(), phases((FOR_EVER, state(word)))).state == word


def test_an_unknown_state_is_waited_through(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.drive(wait(), phases((60, state("HIBERNATING")), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"


@pytest.mark.parametrize(
    "answer", [RUNNING, OUTAGES["503 unhealthy"], OUTAGES["429"]], ids=["runs", "503", "429"]
)
@pytest.mark.parametrize("timeout", [0.0, 5.0, 60.0, 3600.0])
def test_the_deadline_is_kept_to_the_second_whatever_is_answered(
    timeout: float, answer: Answer, world: World
) -> None:
    with pytest.raises(DeadlineError) as raised:
        world.drive(wait(timeout=timeout, poll_interval=50.0), phases((FOR_EVER, answer)))

    assert timeout <= world.elapsed <= timeout + 1.0
    assert "37" in str(raised.value)
    assert ("RUNNING" in str(raised.value)) == (answer is RUNNING)


def test_a_job_that_ended_just_before_the_deadline_is_seen(world: World) -> None:
    job = world.drive(wait(timeout=100.0, poll_interval=60.0), phases((95, RUNNING), (FOR_EVER, DONE)))

    assert job.state == "COMPLETED"
    assert world.elapsed <= 101


def test_a_pause_the_server_asks_for_is_kept(world: World) -> None:
    asked = RateLimitError("slow down", retry_after=500.0)

    world.drive(wait(poll_interval=10.0), phases((5, RUNNING), (15, asked), (FOR_EVER, DONE)))

    assert world.looks[-1] - world.looks[-2] >= 500.0


def test_looks_are_an_interval_apart_and_not_in_step(world: World) -> None:
    world.drive(wait(poll_interval=10.0), phases((1000, RUNNING), (FOR_EVER, DONE)))

    gaps = [
        later - earlier - world.each_call_takes
        for earlier, later in zip(world.looks, world.looks[1:], strict=False)
    ]
    assert all(8.99 <= gap <= 11.01 for gap in gaps)
    assert len(set(gaps)) > 10


def test_a_mistake_in_a_callback_is_not_taken_for_an_outage(world: World) -> None:
    def broken(_: Job) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        world.drive(wait(on_change=broken), phases((FOR_EVER, RUNNING)))


def test_what_cannot_be_a_job_id_is_refused_before_waiting(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        world.drive(api().wait_for_job("abc"), phases((FOR_EVER, RUNNING)))
    assert world.looks == []


@pytest.fixture(autouse=True)
def _no_state_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "_warned", set())
