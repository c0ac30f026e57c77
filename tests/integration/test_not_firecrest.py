"""A connection whose host is a login page: tasks say so after a few questions, and send no script there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.exceptions import AirflowRescheduleException

from airflow_provider_firecrest.client import detect, pages
from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from airflow_provider_firecrest.operators.internal import FirecrestInternalCopyOperator
from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from airflow_provider_firecrest.sensors.files import FirecrestFileSensor
from airflow_provider_firecrest.sensors.jobs import FirecrestJobSensor
from airflow_provider_firecrest.sensors.systems import FirecrestSystemSensor
from tests.client import http_double
from tests.client.http_double import HttpDouble, serving
from tests.integration.conftest import TaskInstance
from tests.integration.test_sensors import RescheduledOnce

HERE = str(Path(__file__))
SOON: dict[str, Any] = {"poke_interval": 0.2, "timeout": 20.0}
TASKS: dict[str, Callable[[], Any]] = {
    "submit": lambda: FirecrestSubmitJobOperator(
        task_id="t", script="#!/bin/bash\ntrue\n", working_dir="/scratch/me"
    ),
    "submit of another language": lambda: FirecrestSubmitJobOperator(
        task_id="t", script="#!/usr/bin/python3\nprint()\n", working_dir="/scratch/me"
    ),
    "cancel": lambda: FirecrestCancelJobOperator(task_id="t", job_id="12"),
    "stat": lambda: FirecrestFilesystemOperator(task_id="t", operation="stat", path="/scratch/f"),
    "upload": lambda: FirecrestUploadOperator(task_id="t", source_path=HERE, target_path="/scratch/f"),
    "download": lambda: FirecrestDownloadOperator(
        task_id="t", source_path="/scratch/f", target_path="/tmp/never-written/f"
    ),
    "copy": lambda: FirecrestInternalCopyOperator(
        task_id="t", source_path="/scratch/f", target_path="/scratch/g"
    ),
    "job sensor": lambda: FirecrestJobSensor(task_id="t", job_id="12", **SOON),
    "file sensor": lambda: FirecrestFileSensor(task_id="t", path="/scratch/f", **SOON),
    "system sensor": lambda: FirecrestSystemSensor(task_id="t", deferrable=True, **SOON),
}


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpDouble]:
    """A web server that sends everybody to its login."""
    monkeypatch.setattr(pages, "_heard", set())
    monkeypatch.setattr(detect, "_found", {})
    with serving() as double:
        double.otherwise = http_double.page("<html><title>Sign in</title></html>")
        yield double


@pytest.fixture(params=["1", "2"], ids=["v1", "v2"], autouse=True)
def connection(portal: HttpDouble, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """``firecrest_default`` leads there, and says which generation it is, so that nobody asks."""
    extra = {"access_token": "t0ken", "api_version": request.param, "system": "cluster"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_FIRECREST_DEFAULT",
        json.dumps({"conn_type": "firecrest", "host": portal.url, "extra": extra}),
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_at_once_that_this_is_not_firecrest(name: str, portal: HttpDouble) -> None:
    with pytest.raises(AirflowException, match=r"is a web page \('Sign in'\), neither FirecREST v1 nor v2"):
        TASKS[name]().execute({"ti": TaskInstance()})

    assert len(portal.asked) <= 4, portal.paths()
    if name == "submit":
        assert not any(each.method == "POST" for each in portal.asked), "the script went to a stranger"


def test_a_sensor_that_was_rescheduled_takes_a_page_for_maintenance(portal: HttpDouble) -> None:
    """Each of its pokes is a process of its own, which has never heard FirecREST."""
    sensor = FirecrestFileSensor(task_id="t", path="/scratch/f", mode="reschedule", **SOON)

    with pytest.raises(AirflowRescheduleException):
        sensor.execute({"ti": RescheduledOnce(first=datetime.now(tz=UTC))})
