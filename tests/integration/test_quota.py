"""Limits of the site are waited out: the task tries again later instead of failing.

The witnesses are the scheduler's own list and the requests the server saw.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_firecrest.client.attempts import submission
from airflow_provider_firecrest.client.errors import QuotaError
from airflow_provider_firecrest.operators import _quota
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestUploadOperator
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger
from airflow_provider_firecrest.triggers.pause import FirecrestPauseTrigger
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, first_event, revived

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
QOS = {
    "errorType": "error",
    "message": "Unexpected Slurm command response. exit_status:1 std_err:sbatch: error:"
    " QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS"
    " policy (job submit limit, user's size and/or time limits)",
}
DISK = {"errorType": "error", "message": "write error: Disk quota exceeded"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_quota, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(_quota, "LONGEST_PAUSE", 0.4)


def submit(firecrest: FirecrestForTest, **arguments: Any) -> FirecrestSubmitJobOperator:
    defaults = {"task_id": "simulate", "script": "#!/bin/bash\necho done\n", "poll_interval": 0.2}
    return FirecrestSubmitJobOperator(**{**defaults, "working_dir": str(firecrest.directory), **arguments})


def live(make: Callable[[], Any], ti: TaskInstance | None = None) -> tuple[Any, list[Any]]:
    """Run a task to its end, however often it is deferred; its result, and its triggers."""
    ti = ti or TaskInstance()
    context = {"ti": ti}
    triggers: list[Any] = []
    method, event = "", {}
    for _ in range(20):
        try:
            if not method:
                return make().execute(context), triggers
            return make().resume_execution(method, {"event": event}, context), triggers
        except TaskDeferred as deferral:
            triggers.append(revived(deferral.trigger))
            method, event = deferral.method_name, first_event(triggers[-1])
    raise AssertionError("it was deferred again and again")


def posts(firecrest: FirecrestForTest, path: str = "/jobs") -> list[int]:
    return [
        each["status"]
        for each in firecrest.requests()
        if each["method"] == "POST" and each["path"].endswith(path)
    ]


def refuse(firecrest: FirecrestForTest, times: int, body: Any = QOS, **details: Any) -> None:
    values = {"status": 403, "body": body, **details}
    firecrest.fault("status", method="POST", path_regex="/jobs$", times=times, **values)


@BOTH_WAYS
def test_a_limit_on_jobs_is_waited_out(firecrest: FirecrestForTest, deferrable: bool) -> None:
    refuse(firecrest, 3)

    result, triggers = live(lambda: submit(firecrest, deferrable=deferrable))

    assert result["state"] == "COMPLETED"
    assert posts(firecrest) == [403, 403, 403, 201]
    assert [job["id"] for job in firecrest.new_jobs()] == [result["job_id"]]
    expected = [FirecrestPauseTrigger] * 3 + [FirecrestJobTrigger] if deferrable else []
    assert [type(each) for each in triggers] == expected


def test_the_pauses_grow_up_to_the_longest(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(firecrest, 3)
    moments: list[float] = []

    def noted() -> float:
        moments.append(time.time())
        return moments[-1]

    monkeypatch.setattr(_quota, "time", SimpleNamespace(time=noted))

    _, triggers = live(lambda: submit(firecrest, deferrable=True))

    pauses = [each.until - at for each, at in zip(triggers[:3], moments, strict=True)]
    assert pauses == pytest.approx([0.2, 0.4, 0.4], abs=0.001)


@BOTH_WAYS
def test_too_many_requests_are_waited_out_beyond_the_budget_of_a_call(
    firecrest: FirecrestForTest, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(firecrest.conn_json)
    connection["extra"]["retry_budget"] = 0.5
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))
    refuse(firecrest, 2, status=429, headers={"Retry-After": "1"}, body={"message": "Too many requests"})
    began = time.monotonic()

    result, triggers = live(lambda: submit(firecrest, deferrable=deferrable))

    assert result["state"] == "COMPLETED"
    assert posts(firecrest) == [429, 429, 201]
    assert time.monotonic() - began >= 2.0
    assert [type(each) for each in triggers[:2]] == [FirecrestPauseTrigger] * 2 * deferrable


@BOTH_WAYS
def test_waiting_ends_at_execution_timeout_and_leaves_no_job(
    firecrest: FirecrestForTest, deferrable: bool
) -> None:
    refuse(firecrest, 0)

    with pytest.raises(AirflowTaskTimeout, match="QOSMaxSubmitJobPerUserLimit"):
        live(
            lambda: submit(firecrest, deferrable=deferrable, execution_timeout=timedelta(seconds=1.5)),
            TaskInstance(),
        )

    assert firecrest.new_jobs() == []
    assert set(posts(firecrest)) == {403}


@BOTH_WAYS
def test_without_waiting_the_task_fails_with_the_servers_words(
    firecrest: FirecrestForTest, deferrable: bool
) -> None:
    refuse(firecrest, 1)

    with pytest.raises(AirflowException, match="QOSMaxSubmitJobPerUserLimit"):
        live(lambda: submit(firecrest, deferrable=deferrable, wait_for_quota=False))
    assert posts(firecrest) == [403]


def test_a_full_disk_is_not_waited_for(firecrest: FirecrestForTest) -> None:
    refuse(firecrest, 1, body=DISK)

    with pytest.raises(AirflowException, match="Disk quota exceeded"):
        live(lambda: submit(firecrest, deferrable=True))


@pytest.mark.parametrize(
    "error",
    [
        QuotaError("Not enough space for /data/x: it needs 10 bytes, 5 are free there."),
        QuotaError("The archive needs 10 bytes in /tmp, and 5 are free there."),
        QuotaError("A limit of the file system is reached.", server_message="cannot create x"),
    ],
)
def test_a_full_disk_of_any_kind_is_no_limit_that_passes(error: QuotaError) -> None:
    assert not _quota.passes(error)


def test_after_a_pause_the_job_of_a_lost_answer_is_looked_for(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first submit is not answered and its job is slow to show up; the second meets the limit."""
    firecrest.fault("lose_answer", method="POST", path_regex="/jobs$", times=1)
    firecrest.fault("hide_job", path_regex="/jobs", times=0, delay_s=4)
    refuse(firecrest, 1)
    monkeypatch.setattr(submission, "SHOWS_WITHIN", 1.0)
    monkeypatch.setattr(_quota, "FIRST_PAUSE", 5.0)
    monkeypatch.setattr(_quota, "LONGEST_PAUSE", 5.0)

    result, _ = live(lambda: submit(firecrest, deferrable=True))

    assert [job["id"] for job in firecrest.new_jobs()] == [result["job_id"]]
    assert posts(firecrest).count(201) == 0


@BOTH_WAYS
def test_a_limit_on_the_servers_transfer_jobs_is_waited_out(
    firecrest: FirecrestForTest, tmp_path: Path, deferrable: bool
) -> None:
    source, target = tmp_path / "large.bin", firecrest.directory / "large.bin"
    source.write_bytes(b"x" * (6 << 20))
    firecrest.fault("status", method="POST", path_regex="transfer/upload$", times=2, status=403, body=QOS)

    result, _ = live(
        lambda: FirecrestUploadOperator(
            task_id="simulate",
            source_path=str(source),
            target_path=str(target),
            poll_interval=0.2,
            deferrable=deferrable,
        )
    )

    assert target.read_bytes() == source.read_bytes()
    assert result["way"] == "staged"
    assert posts(firecrest, "/transfer/upload") == [403, 403, 201]
