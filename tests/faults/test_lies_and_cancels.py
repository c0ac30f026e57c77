"""Single incidents: wrong words about a job, a token that ends early, a cancel that is not answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from airflow_provider_firecrest.client import retry
from airflow_provider_firecrest.client.waiting.patience import Patience
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from tests.faults.judge import ENDED
from tests.faults.lane import TaskInstance
from tests.faults.scenarios import CANCEL
from tests.fixtures_local import FirecrestForTest

BOTH = pytest.mark.parametrize("generation", [2, 1], ids=["v2", "v1"])
SHORT = "#!/bin/bash\necho ran >> effects\nsleep 0.3\n"
LONG = "#!/bin/bash\necho ran >> effects\nsleep 120\n"
PAGE = {"headers": {"content-type": "text/html"}, "body": "<html><h1>Bad Gateway</h1></html>"}

Make = Callable[..., FirecrestSubmitJobOperator]


@pytest.fixture
def make(
    generation: int, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FirecrestSubmitJobOperator]:
    # The server comes back at once: nobody has to be patient with it.
    monkeypatch.setattr(retry, "_MAX_BACKOFF", 0.2)
    connection = json.loads(firecrest.conn_json)
    connection["extra"]["api_version"] = str(generation)
    if generation == 1:
        connection["host"] = firecrest.base_url_v1
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))

    def make(script: str, **more: Any) -> FirecrestSubmitJobOperator:
        return FirecrestSubmitJobOperator(
            task_id="simulate",
            script=script,
            job_name=firecrest.directory.name,
            working_dir=str(firecrest.directory),
            poll_interval=0.15,
            **more,
        )

    return make


def context(folder: Path) -> dict[str, Any]:
    return {"ti": TaskInstance("weather", "simulate", folder.name, -1, 1, 0, "id", folder)}


def mine(firecrest: FirecrestForTest) -> list[dict[str, Any]]:
    return [job for job in firecrest.jobs() if job["name"].startswith(firecrest.directory.name)]


def until_running(firecrest: FirecrestForTest) -> None:
    deadline = time.monotonic() + 20
    while not (firecrest.directory / "effects").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def deferral_of(operator: FirecrestSubmitJobOperator, folder: Path) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context(folder))
    return caught.value


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "unknown_state", "body": "MIGRATING", "times": 3},
        {"action": "unknown_state", "body": "REQUEUED", "times": 3},
        {"action": "hide_job", "delay_s": 1.2, "times": 0},
        {"action": "stale_running", "delay_s": 1.2, "times": 0},
        {"action": "delay", "method": "GET", "path_regex": "^/v[12]/", "delay_s": 0.4, "times": 3},
        {"action": "truncate", "method": "GET", "path_regex": "/compute/|/tasks", "times": 3},
        {"action": "bit_flip", "method": "GET", "path_regex": "/compute/|/tasks", "times": 2},
    ],
    ids=[
        "a state nobody knows",
        "a job that is requeued",
        "a new job that is not known yet",
        "an ended job that is shown running",
        "slow answers",
        "answers cut short",
        "answers with a bit turned",
    ],
)
@BOTH
def test_the_job_is_waited_for_in_spite_of(
    fault: dict[str, Any], make: Make, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    # given a deferred task
    deferral = deferral_of(make(SHORT, deferrable=True), tmp_path)

    # when the answers about its job are wrong for a while
    firecrest.fault(**fault)

    async def first() -> Any:
        return (await anext(deferral.trigger.run())).payload

    event = asyncio.run(first())

    # then it ends when the job has, once
    result = make(SHORT, deferrable=True).execute_complete(context(tmp_path), event)
    [job] = mine(firecrest)
    assert (result["job_id"], result["state"], job["state"]) == (job["id"], "COMPLETED", "COMPLETED")
    assert (firecrest.directory / "effects").read_text() == "ran\n"


@BOTH
def test_tokens_that_are_revoked_are_renewed(make: Make, firecrest: FirecrestForTest, tmp_path: Path) -> None:
    deferral = deferral_of(make(SHORT, deferrable=True), tmp_path)

    async def first() -> Any:
        firecrest.revoke_tokens()
        return (await anext(deferral.trigger.run())).payload

    event = asyncio.run(first())
    firecrest.revoke_tokens()
    assert make(SHORT).execute_complete(context(tmp_path), event)["state"] == "COMPLETED"


CANCEL_FAULTS = pytest.mark.parametrize(
    "fault",
    [
        {"action": "lose_answer"},
        {"action": "status_after_acting", "status": 502, **PAGE},
        {"action": "status_after_acting", "status": 500, "body": {"message": "()"}},
        {"action": "status", "status": 503, **PAGE},
        {"action": "status", "status": 429, "headers": {"Retry-After": "1"}},
        {"action": "drop"},
    ],
    ids=["a lost answer", "502 after it", "500 after it", "503 before it", "429 before it", "a broken line"],
)


@CANCEL_FAULTS
@pytest.mark.parametrize("generation", [2], ids=["v2"])
def test_a_job_out_of_time_is_cancelled_in_spite_of(
    fault: dict[str, Any],
    make: Make,
    firecrest: FirecrestForTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def clock() -> float:
        """An hour is over as soon as the job runs."""
        return time.time() + (3600 if (firecrest.directory / "effects").exists() else 0)

    monkeypatch.setitem(Patience.__init__.__kwdefaults__, "clock", clock)  # type: ignore[attr-defined]
    firecrest.fault(method="DELETE", path_regex=CANCEL, **fault)
    operator = make(LONG, deferrable=False, execution_timeout=timedelta(seconds=3000))
    with pytest.raises(AirflowTaskTimeout):
        operator.execute(context(tmp_path))
    assert [job["state"] for job in mine(firecrest)] == ["CANCELLED"]


@CANCEL_FAULTS
@BOTH
def test_a_killed_task_in_the_triggerer_cancels_its_job_in_spite_of(
    fault: dict[str, Any], make: Make, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    deferral = deferral_of(make(LONG, deferrable=True), tmp_path)
    until_running(firecrest)
    firecrest.fault(method="DELETE", path_regex=CANCEL, **fault)
    asyncio.run(deferral.trigger.on_kill())
    assert [job["state"] for job in mine(firecrest)] == ["CANCELLED"]


@BOTH
def test_a_killed_task_whose_job_is_over_has_nothing_to_cancel(
    make: Make, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    deferral = deferral_of(make("#!/bin/bash\ntrue\n", deferrable=True), tmp_path)
    deadline = time.monotonic() + 20
    while mine(firecrest)[0]["state"] not in ENDED:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    asyncio.run(deferral.trigger.on_kill())
    assert [job["state"] for job in mine(firecrest)] == ["COMPLETED"]
