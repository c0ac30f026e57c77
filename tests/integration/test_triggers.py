"""Triggers against the local server: kills, restarts, outages, and how often the API is asked."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_firecrest.hooks import _clients
from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
from airflow_provider_firecrest.triggers import poller
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger
from airflow_provider_firecrest.triggers.systems import FirecrestSystemTrigger
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import first_event, run_task, until

USER_ACTION = "__airflow_user_action__"


@pytest.fixture
def sleeper(firecrest: FirecrestForTest) -> Iterator[str]:
    """The id of a job that runs for five minutes."""
    job_id = submitted(firecrest, "#!/bin/bash\nsleep 300\n")
    yield job_id
    firecrest.clear_faults()
    run_task(lambda: FirecrestCancelJobOperator(task_id="simulate", job_id=job_id))


def submitted(firecrest: FirecrestForTest, script: str) -> str:
    task = FirecrestSubmitJobOperator(
        task_id="simulate", script=script, working_dir=str(firecrest.directory), wait_for_completion=False
    )
    return str(run_task(lambda: task).result["job_id"])


def state_of(firecrest: FirecrestForTest, job_id: str) -> str:
    return next(str(job["state"]) for job in firecrest.jobs() if job["id"] == job_id)


def job_trigger(*job_ids: str, **arguments: Any) -> FirecrestJobTrigger:
    return FirecrestJobTrigger(
        **{
            "firecrest_conn_id": "firecrest_default",
            "poll_interval": 0.2,
            "submitted_at": time.time(),
            "job_ids": job_ids,
            **arguments,
        }
    )


def impatient(firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not repeat: every failure reaches the trigger."""
    connection = json.loads(firecrest.conn_json)
    connection["extra"]["retry_budget"] = 0
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))


async def stopped_while_waiting(trigger: BaseTrigger, message: str | None) -> None:
    """What a triggerer does to a trigger that it stops, by a user's action or by its own shutdown."""
    task = asyncio.ensure_future(anext(trigger.run()))
    await asyncio.sleep(0.8)
    assert not task.done()
    task.cancel(message) if message else task.cancel()
    try:
        await task
    except asyncio.CancelledError as error:
        if error.args and error.args[0] == USER_ACTION:
            await trigger.on_kill()
    finally:
        await trigger.cleanup()


def test_a_users_kill_cancels_the_job(firecrest: FirecrestForTest, sleeper: str) -> None:
    asyncio.run(stopped_while_waiting(job_trigger(sleeper, cancel_on_kill=True), USER_ACTION))
    assert state_of(firecrest, sleeper).startswith("CANCELLED")


def test_a_kill_leaves_the_job_alone_when_told_so(firecrest: FirecrestForTest, sleeper: str) -> None:
    asyncio.run(stopped_while_waiting(job_trigger(sleeper, cancel_on_kill=False), USER_ACTION))
    assert state_of(firecrest, sleeper) == "RUNNING"


def test_a_triggerers_restart_leaves_the_job_alone(firecrest: FirecrestForTest, sleeper: str) -> None:
    asyncio.run(stopped_while_waiting(job_trigger(sleeper, cancel_on_kill=True), None))
    assert state_of(firecrest, sleeper) == "RUNNING"


def test_a_kill_after_the_event_does_nothing(firecrest: FirecrestForTest) -> None:
    job_id = submitted(firecrest, "#!/bin/bash\ntrue\n")

    async def lingering() -> int:
        trigger = job_trigger(job_id, cancel_on_kill=True)
        events = trigger.run()
        await anext(events)
        before = len(firecrest.requests())
        await trigger.on_kill()
        await events.aclose()
        return len(firecrest.requests()) - before

    assert asyncio.run(lingering()) == 0


def test_waiting_together_costs_as_little_as_waiting_alone(firecrest: FirecrestForTest) -> None:
    ids = [submitted(firecrest, "#!/bin/bash\nsleep 3\n") for _ in range(4)]
    before = len(firecrest.requests())

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(anext(job_trigger(each, poll_interval=0.5).run()) for each in ids * 10))

    events = asyncio.run(all_of_them())

    assert [event.payload["jobs"][0]["state"] for event in events] == ["COMPLETED"] * 40
    asked = firecrest.requests()[before:]
    lists = [each for each in asked if re.search(firecrest.urls.list, each["path"])]
    tokens = [each for each in asked if each["path"].endswith("/token")]
    polls = [each for each in asked if "/v1/tasks/" in each["path"]]
    questions = 1 if firecrest.generation == 2 else 2  # accounting, and the queue for what has not ended
    assert len(lists) <= 12 * questions, "one question per half second for all forty"
    assert len(tokens) <= 1
    # What a list shows as ended may be asked for by id once more.
    assert len(asked) - len(lists) - len(tokens) - len(polls) <= 8
    assert len(polls) <= 3 * len(lists)


def test_nothing_is_left_when_the_last_one_has_gone(firecrest: FirecrestForTest) -> None:
    job_id = submitted(firecrest, "#!/bin/bash\ntrue\n")

    async def one() -> tuple[int, int, int]:
        events = job_trigger(job_id).run()
        await anext(events)
        await events.aclose()
        loop = asyncio.get_running_loop()
        return len(poller._pollers[loop]), len(_clients._shared[loop]), len(asyncio.all_tasks()) - 1

    assert asyncio.run(one()) == (0, 0, 0)


def test_an_outage_longer_than_the_clients_patience_is_waited_through(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = submitted(firecrest, "#!/bin/bash\nsleep 1\n")
    impatient(firecrest, monkeypatch)
    for action, details in {
        "drop": {},
        "status": {"status": 503, "body": {"message": "The scheduler service is unhealthy."}},
    }.items():
        firecrest.fault(action, method="GET", path_regex=firecrest.urls.look, times=2, **details)
    firecrest.fault(
        "status", method="GET", path_regex=firecrest.urls.look, times=2, status=401, body={"message": "no"}
    )
    event = first_event(job_trigger(job_id))
    assert (event["status"], event["jobs"][0]["state"]) == ("done", "COMPLETED")
    assert "Waiting on; the last question failed" in capsys.readouterr().out


def test_a_refusal_that_does_not_end_becomes_an_error(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch, sleeper: str
) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.waiting.patience.REFUSALS_TOLERATED", 0.5)
    impatient(firecrest, monkeypatch)
    firecrest.fault(
        "status", method="GET", path_regex=firecrest.urls.look, times=0, status=403, body={"message": "no"}
    )
    event = first_event(job_trigger(sleeper))
    assert event["status"] == "error"
    assert "403" in event["message"]


def test_the_deadline_ends_a_wait_even_when_the_api_hangs(firecrest: FirecrestForTest, sleeper: str) -> None:
    firecrest.fault("delay", method="GET", path_regex=firecrest.urls.look, times=0, delay_s=20)
    started = time.monotonic()
    first_look_done = job_trigger(sleeper, deadline=time.time() + 1)
    monkey = pytest.MonkeyPatch()
    monkey.setattr("airflow_provider_firecrest.triggers.jobs._LAST_LOOK", 1.0)
    try:
        assert first_event(first_look_done)["status"] == "timeout"
    finally:
        monkey.undo()
    assert time.monotonic() - started < 10


def test_a_job_that_ended_while_no_triggerer_ran_is_done_not_late(firecrest: FirecrestForTest) -> None:
    job_id = submitted(firecrest, "#!/bin/bash\ntrue\n")
    # Long enough ago for v1's accounting, which lags.
    until(
        lambda: any(
            job["id"] == job_id and (job["end_time"] or math.inf) < time.time() - 0.5
            for job in firecrest.jobs()
        )
    )
    event = first_event(job_trigger(job_id, deadline=time.time() - 60))
    assert event["status"] == "done"


def test_a_job_that_nobody_knows_is_lost_after_many_answers_only(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.waiting.job_watch.LOST_AFTER", 1.0)
    before = len(firecrest.requests())
    event = first_event(job_trigger("999999", submitted_at=time.time() - 3600))
    assert (event["status"], event["lost"]) == ("lost", ["999999"])
    assert len(firecrest.requests()) - before >= 5


@pytest.mark.parametrize(
    "trigger",
    [
        lambda: job_trigger("999999", "999998"),
        lambda: FirecrestSystemTrigger(firecrest_conn_id="firecrest_default", poll_interval=0.2),
    ],
    ids=["jobs", "system"],
)
def test_a_rotated_secret_is_picked_up_while_waiting(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch, trigger: Callable[[], BaseTrigger]
) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.waiting.job_watch.LOST_AFTER", -100.0)
    wrong = json.loads(firecrest.conn_json)
    wrong["password"] = "retired"
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(wrong))

    async def waiting() -> Any:
        task = asyncio.ensure_future(anext(trigger().run()))
        await asyncio.sleep(1)
        assert not task.done()
        monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", firecrest.conn_json)
        return await asyncio.wait_for(task, 15)

    # The jobs are unknown to the server: that it said so needs the new secret.
    assert asyncio.run(waiting()).payload["status"] in ("done", "lost")


def test_a_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.waiting.patience.REFUSALS_TOLERATED", 0.0)
    event = first_event(job_trigger("1", firecrest_conn_id="not_there"))
    assert event["status"] == "error"
    assert "not_there" in event["message"]
