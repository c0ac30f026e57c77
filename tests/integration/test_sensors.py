"""Sensors in both ways of waiting: what they wait for, what fails them, what does not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.sensors.files import FirecrestFileSensor
from airflow_provider_firecrest.sensors.jobs import FirecrestJobSensor
from airflow_provider_firecrest.sensors.systems import FirecrestSystemSensor
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, run_task, until

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])


def submitted(firecrest: FirecrestForTest, script: str) -> str:
    task = FirecrestSubmitJobOperator(
        task_id="simulate", script=script, working_dir=str(firecrest.directory), wait_for_completion=False
    )
    return str(run_task(lambda: task).result["job_id"])


def sensor(cls: Any, **arguments: Any) -> Any:
    return lambda: cls(**{"task_id": "simulate", "poke_interval": 0.2, "timeout": 20, **arguments})


@BOTH_WAYS
def test_many_jobs_are_waited_for_until_all_are_over(firecrest: FirecrestForTest, deferrable: bool) -> None:
    ids = [submitted(firecrest, f"#!/bin/bash\nsleep {seconds}\n") for seconds in (0.2, 0.6, 1)]
    done = run_task(sensor(FirecrestJobSensor, job_id=ids, deferrable=deferrable))
    assert [(each["job_id"], each["state"]) for each in done.result] == [(each, "COMPLETED") for each in ids]
    assert (done.trigger is not None) is deferrable


@BOTH_WAYS
def test_a_failed_job_fails_the_sensor_without_retry(firecrest: FirecrestForTest, deferrable: bool) -> None:
    job_id = submitted(firecrest, "#!/bin/bash\nsleep 0.5\nexit 4\n")
    with pytest.raises(AirflowFailException, match=f"Job {job_id} .* ended FAILED with exit code 4"):
        run_task(sensor(FirecrestJobSensor, job_id=job_id, deferrable=deferrable))


@BOTH_WAYS
@pytest.mark.parametrize("seconds", [0, 0.7], ids=["at the first look", "later"])
def test_soft_fail_skips_instead(firecrest: FirecrestForTest, deferrable: bool, seconds: float) -> None:
    job_id = submitted(firecrest, f"#!/bin/bash\nsleep {seconds}\nexit 4\n")
    if not seconds:
        until(lambda: next(job["state"] for job in firecrest.jobs() if job["id"] == job_id) == "FAILED")
    with pytest.raises(AirflowSkipException):
        run_task(sensor(FirecrestJobSensor, job_id=job_id, deferrable=deferrable, soft_fail=True))


@BOTH_WAYS
def test_a_file_is_waited_for_until_it_is_large_enough(firecrest: FirecrestForTest, deferrable: bool) -> None:
    path: Path = firecrest.directory / "ready.nc"

    def write() -> None:
        time.sleep(0.5)
        path.write_bytes(b"")
        time.sleep(0.8)
        path.write_bytes(b"12345")

    writer = threading.Thread(target=write)
    writer.start()
    done = run_task(sensor(FirecrestFileSensor, path=str(path), min_size=5, deferrable=deferrable))
    writer.join()
    assert (done.result["path"], done.result["size"]) == (str(path), 5)
    assert done.result["mtime"] == pytest.approx(path.stat().st_mtime, abs=1)


@BOTH_WAYS
def test_what_never_comes_times_out(firecrest: FirecrestForTest, deferrable: bool) -> None:
    path = f"{firecrest.directory}/never"
    with pytest.raises(AirflowSensorTimeout) as raised:
        run_task(sensor(FirecrestFileSensor, path=path, timeout=1, deferrable=deferrable))
    # Poking in a worker, it is Airflow that says it.
    assert not deferrable or f"after waiting 0:00:01 for {path}" in str(raised.value)


@BOTH_WAYS
def test_a_path_that_may_not_be_seen_fails_at_once(firecrest: FirecrestForTest, deferrable: bool) -> None:
    started = time.monotonic()
    path = firecrest.scratch.parent / "otheruser" / "x"
    with pytest.raises(AirflowFailException, match="Permission denied"):
        run_task(sensor(FirecrestFileSensor, path=str(path), deferrable=deferrable))
    assert time.monotonic() - started < 10


@BOTH_WAYS
def test_a_healthy_system_is_found_at_once(firecrest: FirecrestForTest, deferrable: bool) -> None:
    done = run_task(sensor(FirecrestSystemSensor, deferrable=deferrable))
    assert done.result["system"] == firecrest.system
    assert ("scheduler" if firecrest.generation == 2 else "system") in done.result["services"]


def test_a_service_that_is_not_there_is_named(firecrest: FirecrestForTest) -> None:
    with pytest.raises(AirflowFailException, match="services: cluster has no teleporter; it has "):
        run_task(sensor(FirecrestSystemSensor, services=["teleporter"]))


@BOTH_WAYS
def test_an_outage_is_waited_through(firecrest: FirecrestForTest, deferrable: bool) -> None:
    path = firecrest.directory / "there"
    path.write_text("x")
    for status in (503, 500):
        firecrest.fault(
            "status", method="GET", path_regex=firecrest.urls.stat, times=2, status=status, body={}
        )
    done = run_task(sensor(FirecrestFileSensor, path=str(path), deferrable=deferrable))
    assert done.result["size"] == 1


@dataclass
class RescheduledOnce(TaskInstance):
    """Airflow 3's task instance in a poke; ``first`` is when the sensor was rescheduled first."""

    first: datetime | None = None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first


class TestARefusedLoginInRescheduleMode:
    """Each poke is a process of its own, and knows of no answer before it."""

    def poke(self, firecrest: FirecrestForTest, ti: TaskInstance, **context: Any) -> None:
        firecrest.fault("status", method="GET", path_regex=firecrest.urls.stat, times=2, status=403, body={})
        path = str(firecrest.directory / "late")
        sensor(FirecrestFileSensor, path=path, mode="reschedule", deferrable=False)().execute(
            {"ti": ti, **context}
        )

    def test_a_later_poke_is_waited_through(self, firecrest: FirecrestForTest) -> None:
        with pytest.raises(AirflowRescheduleException):
            self.poke(firecrest, RescheduledOnce(first=datetime.now(tz=UTC)))

    def test_the_first_one_fails(self, firecrest: FirecrestForTest) -> None:
        with pytest.raises(AirflowFailException, match="403"):
            self.poke(firecrest, RescheduledOnce())

    def test_refusals_of_hours_fail(self, firecrest: FirecrestForTest) -> None:
        store: dict[str, Any] = {}
        later = RescheduledOnce(first=datetime.now(tz=UTC))
        kept = SimpleNamespace(get=store.get, set=store.__setitem__)
        with pytest.raises(AirflowRescheduleException):
            self.poke(firecrest, later, task_state_store=kept)
        [(key, (since, last))] = store.items()
        store[key] = [since - 7200, last]
        with pytest.raises(AirflowFailException, match="403"):
            self.poke(firecrest, later, task_state_store=kept)
        store[key] = [since - 9000, last - 3600]
        with pytest.raises(AirflowRescheduleException):
            self.poke(firecrest, later, task_state_store=kept)


@BOTH_WAYS
@pytest.mark.parametrize(
    "make",
    [
        lambda **more: FirecrestJobSensor(job_id="1", **more),
        lambda **more: FirecrestFileSensor(path="/scratch/x", **more),
    ],
    ids=["job", "file"],
)
def test_a_system_that_is_not_there_is_not_waited_for(
    firecrest: FirecrestForTest, make: Any, deferrable: bool
) -> None:
    """Its answer, 404 on FirecREST v2, is not that a job or a file is not there yet."""
    with pytest.raises(AirflowFailException, match=r"has no (system 'daimt'|machine of that name)"):
        run_task(lambda: make(task_id="simulate", system="daimt", timeout=20, deferrable=deferrable))


def test_one_service_may_be_given_as_a_text() -> None:
    assert FirecrestSystemSensor(task_id="simulate", services="scheduler").services == ["scheduler"]
