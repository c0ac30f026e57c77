"""FirecREST v1's tasks: which status is the end, tasks that hang for ever, and outages that come as tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Flow, Response
from airflow_provider_firecrest.client.models import Task
from airflow_provider_firecrest.client.v1 import V1, tasks

from .recorded import ok
from .recorded_v1 import Clock, api, call, load, names, play, polls, response, task

SCRIPT = "#!/bin/bash\ntrue\n"
ONE = "8148806261d2e26e267ffe6d28234789"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tasks, "time", clock)
    return clock


def recorded_statuses() -> list[tuple[str, list[str]]]:
    return [
        (name, [each["json"]["task"]["status"] for each in load(name)["sequence"] if "task" in each["json"]])
        for name in names()
        if "sequence" in load(name)
    ]


@pytest.mark.parametrize(("name", "statuses"), recorded_statuses())
def test_no_status_that_another_one_followed_is_final(name: str, statuses: list[str]) -> None:
    """115 above all: the server tries again, and 113, 114 or 400 comes."""
    for status in statuses[:-1]:
        assert not Task("t", status).is_final


@pytest.mark.parametrize(
    ("status", "final", "succeeded"),
    [
        ("100", False, False),
        ("110", False, False),
        ("111", False, False),
        ("113", False, False),
        ("115", False, False),
        ("116", False, False),
        ("114", True, True),
        ("117", True, True),
        ("200", True, True),
        ("118", True, False),
        ("400", True, False),
    ],
)
def test_which_statuses_are_the_end(status: str, final: bool, succeeded: bool) -> None:
    assert (Task("t", status).is_final, Task("t", status).succeeded) == (final, succeeded)


def test_a_task_is_asked_for_and_understood() -> None:
    played = play(api().task(ONE), [response("tasks-one")])

    assert (played.request.method, played.request.path) == ("GET", f"/tasks/{ONE}")
    assert played.value().task_id == ONE
    assert played.value().status == load("tasks-one")["response"]["json"]["task"]["status"]


def test_many_tasks_cost_one_question_and_unknown_ones_are_missing() -> None:
    asked = load("tasks-several-one-unknown")["request"]["params"]["tasks"].split(",")

    played = play(api().tasks(asked), [response("tasks-several-one-unknown")])

    assert played.request.query() == {"tasks": ",".join(asked)}
    assert sorted(played.value()) == sorted(asked[:2])
    assert all(each.task_id == key for key, each in played.value().items())


def test_no_tasks_are_not_asked_for() -> None:
    """Without a filter the server sends everything it has."""
    played = play(api().tasks([]), [])

    assert played.result == {}


@pytest.mark.parametrize("task_id", ["", " ", "a,b", "../tasks", "a b"])
def test_what_cannot_be_a_task_id_is_not_sent(task_id: str) -> None:
    assert type(play(api().task(task_id), []).error) is InvalidRequestError


@pytest.mark.parametrize(
    ("name", "expected"), [("tasks-unknown", NotFoundError), ("tasks-other-user", PermissionDeniedError)]
)
def test_a_task_that_is_not_ours(name: str, expected: type) -> None:
    assert type(play(api().task(ONE), [response(name)]).error) is expected


def test_the_data_of_a_task_are_not_shown() -> None:
    """At 111 and 117 they hold a form or a URL that lets anybody in."""
    for name in ("xfer-ext-upload-seq-until-111", "xfer-ext-download-seq"):
        shown = play(api().task(ONE), polls(name)[-1:]).value()

        assert "ignature" in str(shown.data)
        assert "ignature" not in repr(shown) + str(shown.reason)


def test_the_reason_of_a_failure_is_the_servers_own() -> None:
    def reason(name: str) -> str | None:
        return play(api().task(ONE), polls(name)[-1:]).value().reason

    assert reason("xfer-ext-upload-115-object-gone-400") == (
        "File was deleted from staging area. Start a new upload process"
    )
    assert "Could not create container" in str(reason("xfer-ext-upload-400-no-bucket-seq"))
    assert "returned error: 503" in str(reason("xfer-ext-download-118-s3-503"))
    assert reason("acct-one-task") is None


HANGING: dict[str, Callable[[V1], Flow[Any]]] = {
    "acct-page-zero": lambda v1: v1.find_jobs(["7"]),
    "squeue-page-zero": lambda v1: v1.jobs(),
}


@pytest.mark.parametrize("name", HANGING)
def test_a_question_whose_task_hangs_ends_at_its_own_deadline(name: str, clock: Clock) -> None:
    started = clock.now

    played = play(HANGING[name](api()), call(name), clock)

    assert type(played.error) is UnavailableError
    assert "still says 100" in str(played.error)
    assert tasks.TASK_TIMEOUT <= clock.now - started <= tasks.TASK_TIMEOUT + 5


def test_a_submit_whose_task_hangs_is_ambiguous(clock: Clock) -> None:
    """The worker died: before sbatch, or after it."""
    played = play(api().submit_job(SCRIPT), call("compute-crash-submit"), clock)

    assert type(played.error) is AmbiguousError
    assert clock.now - 1000.0 <= tasks.TASK_TIMEOUT + 5
    assert sum(request.method == "POST" for request in played.requests) == 1


def test_an_upload_that_gets_no_form_ends_at_its_own_deadline(clock: Clock) -> None:
    start = response("xfer-ext-upload-request-s3-down")

    played = play(api().transfer_upload("/s/q.bin", 5), [start, *polls("xfer-ext-upload-s3-down")], clock)

    assert type(played.error) is UnavailableError
    assert "waiting for an upload form" in str(played.error)
    assert clock.now - 1000.0 <= 65


def test_a_task_is_asked_for_at_once_and_then_more_slowly(clock: Clock) -> None:
    played = play(api().find_jobs(["7"]), call("acct-page-zero"), clock)

    assert played.sleeps[0] <= 0.3
    assert played.sleeps == sorted(played.sleeps)
    assert played.sleeps[-1] >= 1.0


OUTAGES: dict[str, tuple[str, Any]] = {
    "acct": ("slurmdown-acct", lambda v1: v1.find_jobs(["7"])),
    "squeue": ("slurmdown-squeue", lambda v1: v1.jobs()),
    "cancel": ("slurmdown-cancel", lambda v1: v1.cancel_job("7")),
    "submit": ("slurmdown-submit", lambda v1: v1.submit_job(SCRIPT)),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_that_comes_as_a_task_is_repeated_like_one_of_http(kind: str, clock: Clock) -> None:
    name, make = OUTAGES[kind]
    once = call(name)
    started = clock.now

    played = play(make(api(retry_budget=60.0)), once * 20, clock)

    attempts = [each for each in played.requests if not each.path.startswith("/tasks/")]
    assert type(played.error) is UnavailableError
    assert 3 <= len(attempts) < 20
    assert len({(each.method, each.path) for each in attempts}) == 1
    assert 30.0 <= clock.now - started <= 62.0


def test_a_submit_passes_once_slurm_is_back(clock: Clock) -> None:
    answers = [*call("slurmdown-submit"), *call("submit-upload")]

    played = play(api(retry_budget=60.0).submit_job(SCRIPT), answers)

    assert played.value() == "7"


@pytest.mark.parametrize("name", ["submit-upload-bad-partition", "submit-upload-warning-orphan"])
def test_what_is_no_outage_is_not_repeated(name: str, clock: Clock) -> None:
    played = play(api(retry_budget=60.0).submit_job(SCRIPT), call(name))

    assert sum(request.method == "POST" for request in played.requests) == 1


@pytest.mark.parametrize("body", [{}, {"success": "Task created"}, {"task_id": ""}, [], None])
def test_a_submit_that_names_no_task_is_ambiguous(body: Any) -> None:
    assert type(play(api().submit_job(SCRIPT), [ok(body, 201)]).error) is AmbiguousError


@pytest.mark.parametrize("data", [{}, "", None, {"jobid": None}, "Job submitted"])
def test_a_submit_whose_task_names_no_job_is_ambiguous(data: Any) -> None:
    assert type(play(api().submit_job(SCRIPT), task(data)).error) is AmbiguousError


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b'{"task": 5}', b'{"task": {}}'])
def test_a_task_that_cannot_be_read_is_an_error_of_ours(content: bytes) -> None:
    answer = Response(200, {"content-type": "application/json"}, content)

    assert type(play(api().task(ONE), [answer]).error) is ProtocolError
    started = ok({"task_id": ONE}, 201)
    assert type(play(api().submit_job(SCRIPT), [started, answer]).error) is AmbiguousError


def test_v1_is_what_is_tested() -> None:
    assert isinstance(api(), V1)
    assert V1.generation == 1
