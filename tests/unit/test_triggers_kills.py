"""Who cancels, and when, on an Airflow whose triggerer does not tell its triggers of kills (before 3.3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_firecrest import _compat
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.triggers import _kills, jobs
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that were cancelled."""
    found: list[str] = []

    async def cancel(self: FirecrestJobTrigger) -> None:
        found.extend(self.job_ids)

    monkeypatch.setattr(FirecrestJobTrigger, "_cancel", cancel)
    return found


def trigger(**arguments: Any) -> FirecrestJobTrigger:
    return FirecrestJobTrigger(
        **{"firecrest_conn_id": "c", "job_ids": ["7"], "cancel_on_kill": True, **arguments}
    )


def on_airflow(monkeypatch: pytest.MonkeyPatch, *, hears_kills: bool, left_deferred: bool) -> None:
    async def left(trigger: FirecrestJobTrigger) -> bool:
        return left_deferred

    monkeypatch.setattr(jobs, "triggers_hear_kills", lambda: hears_kills)
    monkeypatch.setattr(jobs, "left_deferred", left)


@pytest.mark.parametrize(
    ("hears_kills", "left_deferred", "expected"),
    [(False, True, ["7"]), (False, False, []), (True, True, [])],
    ids=["killed before 3.3", "restarted before 3.3", "3.3 has on_kill for it"],
)
async def test_cleanup_cancels_only_where_nothing_else_would(
    monkeypatch: pytest.MonkeyPatch,
    cancelled: list[str],
    hears_kills: bool,
    left_deferred: bool,
    expected: list[str],
) -> None:
    on_airflow(monkeypatch, hears_kills=hears_kills, left_deferred=left_deferred)
    await trigger().cleanup()
    assert cancelled == expected


async def test_neither_way_cancels_once_the_event_is_out(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str]
) -> None:
    on_airflow(monkeypatch, hears_kills=False, left_deferred=True)
    fired = trigger()
    fired._fired = True
    await fired.cleanup()
    await fired.on_kill()
    assert cancelled == []


async def test_a_trigger_that_shall_not_cancel_does_not_even_ask(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str]
) -> None:
    on_airflow(monkeypatch, hears_kills=False, left_deferred=True)
    await trigger(cancel_on_kill=False).cleanup()
    assert cancelled == []


@pytest.mark.parametrize(
    ("states", "left"),
    [
        ({"r": {"t_3": "failed"}}, True),
        ({"r": {"t_3": "deferred"}}, False),
        ({"r": {"t_4": "failed"}}, False),
        ({}, False),
    ],
)
async def test_the_state_of_the_own_mapped_task_decides(
    monkeypatch: pytest.MonkeyPatch, states: dict[str, Any], left: bool
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    asked: list[dict[str, Any]] = []

    def get_task_states(**filters: Any) -> dict[str, Any]:
        asked.append(filters)
        return states

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    waiting = trigger()
    waiting.task_instance = _Instance()  # type: ignore[assignment]
    assert await _compat.left_deferred(waiting) is left
    assert asked == [{"dag_id": "d", "task_ids": ["t"], "run_ids": ["r"], "map_index": 3}]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("failed", ["7"]),
        ("success", ["7"]),
        (None, ["7"]),
        ("running", ["7"]),
        ("deferred", []),
        (RuntimeError("no answer"), ["7"]),
    ],
    ids=["marked failed", "marked success", "cleared", "cleared and begun", "another triggerer", "unknown"],
)
async def test_a_triggerer_that_lost_its_trigger_to_another_one_cancels_nothing(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str], state: Any, expected: list[str]
) -> None:
    async def task_state(trigger: FirecrestJobTrigger) -> str | None:
        if isinstance(state, Exception):
            raise state
        return state

    monkeypatch.setattr(_kills, "task_state", task_state)
    await trigger(marked=True).on_kill()
    assert cancelled == expected


async def test_a_job_that_no_later_attempt_would_find_is_cancelled_although_the_task_waits_again(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str]
) -> None:
    # given a file operation that was cleared, and waits for a new job when the old trigger hears of it
    async def task_state(trigger: FirecrestJobTrigger) -> str | None:
        return "deferred"

    monkeypatch.setattr(_kills, "task_state", task_state)
    await trigger().on_kill()
    assert cancelled == ["7"]


@pytest.mark.parametrize(("reattach", "marked"), [("retry", True), ("always", True), ("never", False)])
def test_the_submit_operator_says_whether_a_later_attempt_finds_its_job(reattach: Any, marked: bool) -> None:
    task = FirecrestSubmitJobOperator(task_id="t", script="#!/bin/bash\ntrue\n", reattach=reattach)
    note = {"job_id": "7", "system": "daint", "submitted_at": 1000.5}
    with pytest.raises(TaskDeferred) as deferral:
        task.wait_in_triggerer(note, {})  # type: ignore[typeddict-item]
    again = FirecrestJobTrigger(**deferral.value.trigger.serialize()[1])
    assert again.marked is marked


@pytest.mark.parametrize(
    ("state", "expected"),
    [("failed", ["7"]), ("success", ["7"]), (None, []), ("queued", []), ("running", []), ("deferred", [])],
)
async def test_a_clear_leaves_the_job_to_the_next_attempt_that_will_go_on_with_it(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str], state: str | None, expected: list[str]
) -> None:
    async def task_state(trigger: FirecrestJobTrigger) -> str | None:
        return state

    monkeypatch.setattr(_kills, "task_state", task_state)
    await trigger(keep_on_clear=True, marked=True).on_kill()
    assert cancelled == expected


async def test_a_kill_is_finished_although_the_triggerer_cancels_it_again_and_again(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str]
) -> None:
    # given a task whose state takes a while to be told
    asked, told = asyncio.Event(), asyncio.Event()

    async def task_state(trigger: FirecrestJobTrigger) -> str | None:
        asked.set()
        await told.wait()
        return "failed"

    monkeypatch.setattr(_kills, "task_state", task_state)

    # when Airflow cancels the trigger at each heartbeat
    killing = asyncio.create_task(trigger(marked=True).on_kill())
    await asked.wait()
    for _ in range(3):
        killing.cancel("__airflow_user_action__")
        await asyncio.sleep(0)
    told.set()
    await asyncio.wait([killing])

    # then the job is cancelled all the same
    assert cancelled == ["7"]


async def test_a_kill_that_takes_too_long_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off: list[bool] = []

    async def cancel(self: FirecrestJobTrigger) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            broken_off.append(True)
            raise

    monkeypatch.setattr(FirecrestJobTrigger, "_cancel", cancel)
    monkeypatch.setattr(jobs, "_KILL_TIMEOUT", 0.05)
    await trigger().on_kill()
    assert broken_off == [True]


class _Instance:
    dag_id, task_id, run_id, map_index = "d", "t", "r", 3


@pytest.mark.parametrize(
    ("name", "text", "ended"),
    [
        ("TaskDeferralTimeout", "Trigger timeout", "timeout"),
        ("TaskDeferralError", "Trigger/execution timeout", "timeout"),
        ("TaskDeferralError", "Trigger failure", "failure"),
        ("AirflowException", "timeout", None),
    ],
)
def test_how_a_deferral_ended_is_known_on_every_version(name: str, text: str, ended: str | None) -> None:
    assert _compat.deferral_ended(type(name, (Exception,), {})(text)) == ended
