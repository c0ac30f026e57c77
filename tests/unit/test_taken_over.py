"""A worker that is told to stop asks Airflow whether another one goes on with its task."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_firecrest.operators import _deferral, _taken_over
from airflow_provider_firecrest.operators._taken_over import is_taken_over
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator

LOG = logging.getLogger("test")


def told(state: str | None, monkeypatch: pytest.MonkeyPatch, *, tries: int = 1, most: int = 3) -> bool:
    """What follows when Airflow tells this state."""
    monkeypatch.setattr(_taken_over, "task_state_in_worker", lambda ti: state)
    return is_taken_over(SimpleNamespace(try_number=tries, max_tries=most), LOG)


@pytest.mark.parametrize("state", ["up_for_retry", "scheduled", "queued", "running", "deferred"])
def test_a_task_whose_next_try_comes_is_taken_over(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(state, monkeypatch)


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed", None])
def test_a_task_that_a_user_has_ended_is_not(state: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not told(state, monkeypatch)


def test_a_task_without_a_further_try_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not told("running", monkeypatch, tries=4, most=3)


def test_a_task_whose_time_is_over_leaves_its_job_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow calls ``on_kill`` after a timeout as well, and counts the task as running then."""
    monkeypatch.setattr(_deferral, "is_taken_over", lambda ti, log: True)
    task = FirecrestSubmitJobOperator(task_id="simulate", script="#!/bin/bash\ntrue\n")
    task._running, task._ti = {"job_id": "1"}, SimpleNamespace()
    assert task.is_left_to_the_next_try()
    try:
        raise AirflowTaskTimeout
    except AirflowTaskTimeout:
        assert not task.is_left_to_the_next_try()


def test_it_is_not_when_airflow_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(ti: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(_taken_over, "task_state_in_worker", fails)
    assert not is_taken_over(SimpleNamespace(try_number=1, max_tries=3), LOG)


def test_it_is_not_when_airflow_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()
    monkeypatch.setattr(_taken_over, "_WITHIN", 0.1)
    monkeypatch.setattr(_taken_over, "task_state_in_worker", lambda ti: forever.wait(20) and "running")
    try:
        assert not is_taken_over(SimpleNamespace(try_number=1, max_tries=3), LOG)
    finally:
        forever.set()
