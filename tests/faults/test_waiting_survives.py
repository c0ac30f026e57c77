"""A job runs on while FirecREST is away for half an hour, and its task gets the result all the same.

The time is simulated, the server is real.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_firecrest.client.models import FormTicket
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger
from airflow_provider_firecrest.triggers.tasks import FirecrestTaskTrigger
from tests.faults.lane import TaskInstance
from tests.faults.virtual import Clock, first_event, simulated
from tests.fixtures_local import FirecrestForTest

HALF_AN_HOUR = 1800.0
API = r"^/v[12]/"
JOBS = r"/compute/"
SCRIPT = "#!/bin/bash\nfor _ in $(seq 600); do [ -e go ] && exit 0; sleep 0.1; done\nexit 1\n"
PAGE = {"headers": {"content-type": "text/html"}, "body": "<html><h1>503 Service Unavailable</h1></html>"}


@dataclass(frozen=True)
class Outage:
    """What is wrong for half an hour.

    :ivar faults: at the server.
    :ivar hung: connections are accepted and never answered.
    :ivar only: the API generation it is about; 0 for both.
    """

    name: str
    faults: tuple[dict[str, Any], ...] = ()
    hung: bool = False
    only: int = 0

    def begin(self, firecrest: FirecrestForTest, clock: Clock) -> None:
        clock.hung = self.hung
        for fault in self.faults:
            firecrest.fault(**{"times": 0, **fault})

    def end(self, firecrest: FirecrestForTest, clock: Clock) -> None:
        clock.hung = False
        firecrest.clear_faults()


def status(number: int, **more: Any) -> dict[str, Any]:
    return {"action": "status", "status": number, "path_regex": API, **more}


OUTAGES = [
    Outage("503 as FirecREST says it", (status(503, body={"errorType": "error", "message": "down"}),)),
    Outage("503 as a proxy says it", (status(503, **PAGE),)),
    Outage("500", (status(500, body={"errorType": "error", "message": "()"}),)),
    Outage("408", (status(408, body={"errorType": "error", "message": "Command execution timeout."}),)),
    Outage("404 as a proxy says it", (status(404, **PAGE),)),
    Outage("401 for every token", (status(401, body={"message": "Access token is invalid."}),)),
    Outage("403 for every token", (status(403, body={"message": "Forbidden"}),)),
    Outage("429 without a word when to come back", (status(429, body="slow down"),)),
    Outage("429 for ten minutes", (status(429, headers={"Retry-After": "600"}),)),
    Outage("429 until a date", (status(429, headers={"Retry-After": formatdate(time.time() + 900)}),)),
    Outage("connections that break", ({"action": "drop", "path_regex": API},)),
    Outage("connections that hang", hung=True),
    Outage("a dead token server", ({"action": "drop", "path_regex": "^/token$"}, status(401))),
    Outage("a token server that says 500", (status(500, path_regex="^/token$"), status(401))),
    Outage("a token server that says 429", (status(429, path_regex="^/token$"), status(401))),
    Outage(
        "tasks that fail in place of jobs",
        ({"action": "task_400", "method": "GET", "path_regex": JOBS},),
        only=1,
    ),
    Outage(
        "tasks that hang in place of jobs",
        ({"action": "task_hangs_at_100", "method": "GET", "path_regex": JOBS},),
        only=1,
    ),
]
# What both generations meet is tested with v1 where its way through tasks makes a difference.
WITH_V1_TOO = ("503 as a proxy", "401", "connections that hang", "a dead token")
CASES = [
    pytest.param(outage, generation, id=f"v{generation}-{outage.name}")
    for outage in OUTAGES
    for generation in (2, 1)
    if outage.only == generation
    or (outage.only == 0 and (generation == 2 or outage.name.startswith(WITH_V1_TOO)))
]

# Worker and triggerer share what they make of an answer; here it is about asking and sleeping.
IN_THE_WORKER = [
    each
    for each in OUTAGES
    if each.name.startswith(("503 as a proxy", "401", "429 for ten", "connections that hang", "a dead token"))
]


@pytest.fixture
def connect(firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lead ``firecrest_default`` to an API generation of the local server."""

    def connect(generation: int) -> None:
        connection = json.loads(firecrest.conn_json)
        connection["extra"]["api_version"] = str(generation)
        if generation == 1:
            connection["host"] = firecrest.base_url_v1
        monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))

    return connect


def submit(firecrest: FirecrestForTest, deferrable: bool) -> FirecrestSubmitJobOperator:
    return FirecrestSubmitJobOperator(
        task_id="simulate",
        script=SCRIPT,
        job_name=firecrest.directory.name,
        working_dir=str(firecrest.directory),
        poll_interval=60,
        deferrable=deferrable,
    )


def context(folder: Path, task_id: str = "simulate") -> dict[str, Any]:
    return {"ti": TaskInstance("weather", task_id, "manual", -1, 1, 0, "id", folder)}


def let_the_job_end(firecrest: FirecrestForTest) -> None:
    (firecrest.directory / "go").touch()
    deadline = time.monotonic() + 20
    while mine(firecrest)[0]["state"] != "COMPLETED":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def mine(firecrest: FirecrestForTest) -> list[dict[str, Any]]:
    return [job for job in firecrest.jobs() if job["name"].startswith(firecrest.directory.name)]


@pytest.mark.parametrize(("outage", "generation"), CASES)
def test_a_deferred_task_waits_through_half_an_hour_of(
    outage: Outage,
    generation: int,
    firecrest: FirecrestForTest,
    connect: Callable[[int], None],
    tmp_path: Path,
) -> None:
    # given a task whose job runs, deferred
    connect(generation)
    with pytest.raises(TaskDeferred) as deferral:
        submit(firecrest, deferrable=True).execute(context(tmp_path))

    # when there is an outage, and the job ends in the middle of it
    with simulated() as clock:
        outage.begin(firecrest, clock)
        clock.at(HALF_AN_HOUR / 2, lambda: let_the_job_end(firecrest))
        clock.at(HALF_AN_HOUR, lambda: outage.end(firecrest, clock))
        event = first_event(clock, deferral.value.trigger)

    # then the trigger waited for its end, and the task has its result
    assert clock.passed >= HALF_AN_HOUR
    assert event["status"] == "done"
    result = submit(firecrest, deferrable=True).execute_complete(context(tmp_path), event)
    [job] = mine(firecrest)
    assert (result["job_id"], result["state"]) == (job["id"], "COMPLETED")


@pytest.mark.parametrize("outage", IN_THE_WORKER, ids=[each.name for each in IN_THE_WORKER])
def test_a_task_in_the_worker_waits_through_half_an_hour_of(
    outage: Outage,
    firecrest: FirecrestForTest,
    connect: Callable[[int], None],
    tmp_path: Path,
) -> None:
    connect(2)
    with simulated() as clock:
        # Ten seconds in, the job is submitted and waited for.
        clock.at(10, lambda: outage.begin(firecrest, clock))
        clock.at(HALF_AN_HOUR / 2, lambda: let_the_job_end(firecrest))
        clock.at(10 + HALF_AN_HOUR, lambda: outage.end(firecrest, clock))
        result = submit(firecrest, deferrable=False).execute(context(tmp_path))

    assert clock.passed >= HALF_AN_HOUR
    [job] = mine(firecrest)
    assert (result["job_id"], result["state"]) == (job["id"], "COMPLETED")


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "hide_job", "path_regex": "/jobs$"},
        status(
            500, path_regex="/jobs$", body={"errorType": "error", "message": "Error executing Slurm command."}
        ),
    ],
    ids=["a list without the job", "a list that cannot be read"],
)
def test_many_tasks_wait_through_half_an_hour_of(
    fault: dict[str, Any],
    firecrest: FirecrestForTest,
    connect: Callable[[int], None],
    tmp_path: Path,
) -> None:
    # given three jobs of one trigger: that many are asked about by a list
    connect(2)
    job_ids = []
    for number in range(3):
        operator = FirecrestSubmitJobOperator(
            task_id="simulate",
            script=SCRIPT,
            job_name=f"{firecrest.directory.name}-{number}",
            working_dir=str(firecrest.directory),
            wait_for_completion=False,
        )
        job_ids.append(operator.execute(context(tmp_path, f"simulate-{number}"))["job_id"])
    trigger = FirecrestJobTrigger(
        firecrest_conn_id="firecrest_default", job_ids=job_ids, poll_interval=60, submitted_at=time.time()
    )

    # when no list shows them
    with simulated() as clock:
        firecrest.fault(**{"times": 0, **fault})
        clock.at(HALF_AN_HOUR, lambda: let_the_job_end(firecrest))
        event = first_event(clock, trigger)

    # then none was taken for lost, and all ends were seen
    assert clock.passed >= HALF_AN_HOUR
    assert (event["status"], event["lost"]) == ("done", [])
    assert {job["job_id"]: job["state"] for job in event["jobs"]} == dict.fromkeys(job_ids, "COMPLETED")


def test_an_outage_does_not_make_a_task_of_v1_stuck(
    firecrest: FirecrestForTest, connect: Callable[[int], None]
) -> None:
    """An hour without any change ends the wait for a transfer; an hour in which nobody could ask does not."""
    # given a task of FirecREST v1 that waits for its upload, and somebody who waits for the task
    connect(1)
    with FirecrestHook().get_conn() as client:
        ticket = client.transfer_upload(str(firecrest.directory / "f"), 1)
    assert isinstance(ticket, FormTicket)

    # when FirecREST is away for two hours, and little time is left after that
    with simulated() as clock:
        started = clock.time()
        clock.at(600, lambda: firecrest.fault(**{"times": 0, **status(503, **PAGE)}))
        clock.at(600 + 4 * HALF_AN_HOUR, firecrest.clear_faults)
        trigger = FirecrestTaskTrigger(
            firecrest_conn_id="firecrest_default",
            task_ids=[ticket.task_id],
            stuck_after=2 * HALF_AN_HOUR,
            poll_interval=60,
            deadline=started + 5 * HALF_AN_HOUR,
        )
        event = first_event(clock, trigger)

    # then it was waited for until the end
    assert (event["status"], event["message"]) == ("timeout", None)
    assert [task["status"] for task in event["tasks"]] == ["111"]


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "in the worker"])
def test_an_outage_between_two_absences_does_not_make_a_job_lost(
    deferrable: bool, firecrest: FirecrestForTest, connect: Callable[[int], None], tmp_path: Path
) -> None:
    """Ten minutes of "unknown" end a wait; minutes in which nobody could ask are none of them."""
    connect(2)
    four_minutes, hidden = 240.0, {"action": "hide_job", "path_regex": "/jobs", "times": 0}

    def away() -> None:
        firecrest.clear_faults()
        firecrest.fault(**{"times": 0, **status(503, **PAGE)})

    def hide() -> None:
        firecrest.clear_faults()
        firecrest.fault(**hidden)

    def back() -> None:
        firecrest.clear_faults()
        let_the_job_end(firecrest)

    def live(clock: Clock) -> Any:
        clock.at(100, hide)
        clock.at(100 + four_minutes, away)
        clock.at(100 + 2 * four_minutes, hide)
        clock.at(100 + 3 * four_minutes, back)
        if trigger is not None:
            return submit(firecrest, True).execute_complete(context(tmp_path), first_event(clock, trigger))
        return submit(firecrest, False).execute(context(tmp_path))

    trigger = None
    if deferrable:
        with pytest.raises(TaskDeferred) as deferral:
            submit(firecrest, True).execute(context(tmp_path))
        trigger = deferral.value.trigger
    with simulated() as clock:
        result = live(clock)

    assert clock.passed >= 100 + 3 * four_minutes
    assert result["state"] == "COMPLETED"
