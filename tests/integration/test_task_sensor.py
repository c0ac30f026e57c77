"""The sensor for tasks of FirecREST v1, in both ways of waiting, and transfers that wait for such a task."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.waiting import task_watch
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from airflow_provider_firecrest.sensors.tasks import FirecrestTaskSensor
from airflow_provider_firecrest.triggers.tasks import FirecrestTaskTrigger
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import first_event, run_task, until
from tests.integration.test_triggers import USER_ACTION, stopped_while_waiting

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
V1 = pytest.mark.parametrize("firecrest", [1], ids=["v1"], indirect=True)


@pytest.fixture
def client(connection: None) -> Iterator[FirecrestClient]:
    hook = FirecrestHook()
    yield hook.get_conn()
    hook.close()


@pytest.fixture
def slow(firecrest: FirecrestForTest) -> Iterator[None]:
    """Every task of FirecREST's stays at 100 for a while."""
    before = firecrest.control("GET", "v1")
    firecrest.control("PUT", "v1", {"task_delay": 1.5})
    yield
    firecrest.control("PUT", "v1", {"task_delay": before["task_delay"]})


def sensor(*task_ids: str, **arguments: Any) -> Any:
    ids: Any = task_ids[0] if len(task_ids) == 1 else list(task_ids)
    return lambda: FirecrestTaskSensor(
        **{"task_id": "simulate", "poke_interval": 0.2, "timeout": 20, **arguments}, firecrest_task_id=ids
    )


def staged(client: FirecrestClient, directory: Path, name: str = "out.bin") -> str:
    """The id of a task that puts a file into the object store."""
    (directory / name).write_bytes(b"data")
    return str(client.transfer_download(str(directory / name)))


@V1
@BOTH_WAYS
def test_many_tasks_are_waited_for_until_all_are_over(
    firecrest: FirecrestForTest, client: FirecrestClient, slow: None, deferrable: bool
) -> None:
    ids = [staged(client, firecrest.directory, f"{number}.bin") for number in range(3)]
    done = run_task(sensor(*ids, deferrable=deferrable))

    assert [(each["task_id"], each["status"]) for each in done.result] == [(each, "117") for each in ids]
    assert (done.trigger is not None) is deferrable


@V1
@BOTH_WAYS
def test_a_failed_task_fails_the_sensor_in_its_own_words(
    firecrest: FirecrestForTest, client: FirecrestClient, slow: None, deferrable: bool
) -> None:
    firecrest.fault("staging_fails", status=507)
    task_id = staged(client, firecrest.directory)
    with pytest.raises(AirflowFailException, match=f"Task {task_id}: 118 .*507"):
        run_task(sensor(task_id, deferrable=deferrable))

    firecrest.fault("staging_fails", status=507)
    task_id = staged(client, firecrest.directory)
    with pytest.raises(AirflowSkipException):
        run_task(sensor(task_id, deferrable=deferrable, soft_fail=True))


@V1
@BOTH_WAYS
def test_115_is_not_the_end(
    firecrest: FirecrestForTest, client: FirecrestClient, tmp_path: Path, deferrable: bool
) -> None:
    firecrest.fault("staging_fails", path_regex="upload", times=3)
    (tmp_path / "f").write_bytes(b"12345")
    ticket: Any = client.transfer_upload(str(firecrest.directory / "f"), 5)
    from airflow_provider_firecrest.client import staging

    staging.post_object(tmp_path / "f", ticket.url, ticket.fields)
    until(lambda: client.task(ticket.task_id).status in ("113", "114", "115"))
    done = run_task(sensor(ticket.task_id, deferrable=deferrable))

    assert [each["status"] for each in done.result] == ["114"]
    assert (firecrest.directory / "f").read_bytes() == b"12345"


@V1
@BOTH_WAYS
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "among others"])
def test_an_unknown_task_is_believed_to_be_unknown_after_a_while(
    firecrest: FirecrestForTest,
    client: FirecrestClient,
    deferrable: bool,
    others: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_watch, "UNKNOWN_FOR", 1.0)
    known = [staged(client, firecrest.directory)] * others
    started = time.monotonic()
    with pytest.raises(
        AirflowFailException, match="Task deadbeef cannot be followed: FirecREST does not know"
    ):
        run_task(sensor("deadbeef", *known, deferrable=deferrable))
    assert 1.0 <= time.monotonic() - started < 15


@V1
def test_somebody_elses_task_is_named_as_such(
    firecrest: FirecrestForTest, client: FirecrestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_watch, "UNKNOWN_FOR", 0.5)
    task_id = staged(client, firecrest.directory)
    token = firecrest.mint_token(claims={"preferred_username": "otheruser"})
    connection = json.loads(firecrest.conn_json)
    connection["extra"] = {
        **connection["extra"],
        "auth_method": "static_token",
        "access_token": token,
    }
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))
    with pytest.raises(
        AirflowFailException, match=f"Task {task_id} cannot be followed: it is another user's"
    ):
        run_task(sensor(task_id))


@V1
def test_a_rescheduled_sensor_does_not_wait_for_an_unknown_task(firecrest: FirecrestForTest) -> None:
    with pytest.raises(AirflowFailException, match="deadbeef cannot be followed"):
        sensor("deadbeef", mode="reschedule")().poke({})


@BOTH_WAYS
def test_on_v2_there_are_no_tasks_and_the_sensor_says_so(
    firecrest: FirecrestForTest, deferrable: bool
) -> None:
    with pytest.raises(AirflowFailException, match="leads to FirecREST v2, which has no tasks") as failure:
        run_task(sensor("deadbeef", deferrable=deferrable))
    assert len(str(failure.value).splitlines()) == 1


def test_a_trigger_on_v2_says_so_at_once(firecrest: FirecrestForTest) -> None:
    event = first_event(
        FirecrestTaskTrigger(firecrest_conn_id="firecrest_default", task_ids=["deadbeef"], poll_interval=0.2)
    )
    assert event["status"] == "error"
    assert "FirecREST v2, which has no tasks" in event["message"]


@V1
@BOTH_WAYS
@pytest.mark.parametrize("given", ["", " , ", []])
def test_no_id_at_all_is_named(firecrest: FirecrestForTest, deferrable: bool, given: Any) -> None:
    with pytest.raises(AirflowFailException, match="firecrest_task_id: empty"):
        run_task(
            lambda: FirecrestTaskSensor(task_id="simulate", firecrest_task_id=given, deferrable=deferrable)
        )


@V1
@BOTH_WAYS
def test_a_task_that_hangs_times_out(
    firecrest: FirecrestForTest, client: FirecrestClient, deferrable: bool
) -> None:
    firecrest.control("PUT", "v1", {"task_delay": 60})
    try:
        task_id = staged(client, firecrest.directory)
    finally:
        firecrest.control("PUT", "v1", {"task_delay": 0.05})
    with pytest.raises(AirflowSensorTimeout):
        run_task(sensor(task_id, timeout=1.5, deferrable=deferrable))


@V1
@BOTH_WAYS
def test_an_outage_is_waited_through(
    firecrest: FirecrestForTest,
    client: FirecrestClient,
    slow: None,
    deferrable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task_id = staged(client, firecrest.directory)
    connection = json.loads(firecrest.conn_json)
    connection["extra"] = {**connection["extra"], "retry_budget": 0, "api_version": "1"}
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))
    firecrest.fault("drop", method="GET", path_regex="/tasks", times=2)
    for status in (500, 503, 502):
        firecrest.fault("status", method="GET", path_regex="/tasks", status=status, body={})
    done = run_task(sensor(task_id, deferrable=deferrable))
    assert done.result[0]["status"] == "117"


@V1
@BOTH_WAYS
def test_what_a_task_knows_is_neither_stored_nor_logged(
    firecrest: FirecrestForTest,
    client: FirecrestClient,
    tmp_path: Path,
    deferrable: bool,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The list of tasks shows even more secrets than one task does."""
    form: Any = client.transfer_upload(str(firecrest.directory / "f"), 5)
    url = staged(client, firecrest.directory)
    assert "Signature" in json.dumps(client.task(url).data) or until(
        lambda: "Signature" in json.dumps(client.task(url).data)
    )
    with pytest.raises(AirflowSensorTimeout):
        run_task(sensor(form.task_id, url, timeout=1.5, deferrable=deferrable))
    done = run_task(sensor(url, deferrable=deferrable))

    seen = json.dumps([done.result, done.ti.xcoms, done.trigger, done.event])
    seen += capsys.readouterr().out + caplog.text
    for word in ("X-Amz", "Signature", "/s3/", "policy", "cert"):
        assert word.lower() not in seen.lower(), word
        assert quote(word, safe="").lower() not in seen.lower()


@V1
def test_the_job_behind_a_compute_task_is_told(firecrest: FirecrestForTest, client: FirecrestClient) -> None:
    job_id = client.submit_job("#!/bin/bash\ntrue\n", working_dir=str(firecrest.directory))
    tasks = {each["path"].rsplit("/", 1)[-1] for each in firecrest.requests() if "/tasks/" in each["path"]}
    results = [run_task(sensor(task_id)).result[0] for task_id in tasks]
    assert job_id in [each["job_id"] for each in results]


@V1
def test_a_task_that_ended_while_no_triggerer_ran_is_done_not_late(
    firecrest: FirecrestForTest, client: FirecrestClient
) -> None:
    task_id = staged(client, firecrest.directory)
    until(lambda: client.task(task_id).is_final)
    event = first_event(
        FirecrestTaskTrigger(
            firecrest_conn_id="firecrest_default", task_ids=[task_id], deadline=time.time() - 60
        )
    )
    assert event["status"] == "done"


# Transfers of files that wait for a task


def written(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def move(cls: Any, source: object, target: object, **arguments: Any) -> Any:
    return lambda: cls(
        **{"task_id": "simulate", "poll_interval": 0.2, **arguments},
        source_path=str(source),
        target_path=str(target),
    )


@V1
@BOTH_WAYS
def test_a_large_file_goes_there_and_back_over_tasks(
    firecrest: FirecrestForTest, tmp_path: Path, deferrable: bool
) -> None:
    source, there, back = written(tmp_path / "a", 6 << 20), firecrest.directory / "a", tmp_path / "b"
    up = run_task(move(FirecrestUploadOperator, source, there, deferrable=deferrable))
    down = run_task(move(FirecrestDownloadOperator, there, back, deferrable=deferrable))

    assert sha256(source) == sha256(there) == sha256(back) == up.result["sha256"] == down.result["sha256"]
    assert (up.result["way"], down.result["way"]) == ("staged", "staged")
    for each in (up, down):
        assert (each.trigger is not None) is deferrable
        assert each.trigger is None or each.trigger[0].endswith("FirecrestTaskTrigger")
    stored = json.dumps([(each.result, each.ti.xcoms, each.trigger, each.event) for each in (up, down)])
    assert "signature" not in stored.lower()
    invalidated = [each for each in firecrest.requests() if each["path"].endswith("/invalidate")]
    assert len(invalidated) == 1


@V1
@BOTH_WAYS
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_task_that_fails_fails_the_transfer_with_its_words(
    firecrest: FirecrestForTest,
    tmp_path: Path,
    deferrable: bool,
    direction: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task_watch, "RETRIED_FOR", 1.0)
    firecrest.fault("staging_fails", times=0, status=507)
    if direction == "upload":
        source, there = written(tmp_path / "a", 6 << 20), firecrest.directory / "a"
        with pytest.raises(AirflowException, match="does not say why it fails"):
            run_task(move(FirecrestUploadOperator, source, there, deferrable=deferrable))
        assert not there.exists()
    else:
        there = written(firecrest.directory / "a", 6 << 20)
        with pytest.raises(AirflowException, match=r"ended with 118(.|\n)*507"):
            run_task(move(FirecrestDownloadOperator, there, tmp_path / "b", deferrable=deferrable))
        assert not (tmp_path / "b").exists()


@V1
def test_a_file_that_is_said_to_be_there_and_is_not_fails_the_upload(
    firecrest: FirecrestForTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_firecrest.client.transfers import proof

    monkeypatch.setattr(proof, "APPEAR_WITHIN", 1.0)
    firecrest.fault("ingress_says_success_without_file", times=0)  # an earlier test's upload may come first
    source, there = written(tmp_path / "a", 6 << 20), firecrest.directory / "a"
    with pytest.raises(AirflowException, match="is not on cluster"):
        run_task(move(FirecrestUploadOperator, source, there, deferrable=True))


@V1
def test_a_kill_says_that_a_task_goes_on(
    firecrest: FirecrestForTest,
    client: FirecrestClient,
    slow: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task_id = staged(client, firecrest.directory)
    trigger = FirecrestTaskTrigger(
        firecrest_conn_id="firecrest_default", task_ids=[task_id], poll_interval=0.2
    )
    asyncio.run(stopped_while_waiting(trigger, USER_ACTION))
    assert f"FirecREST v1 cannot cancel a task; {task_id} goes on" in capsys.readouterr().out


@V1
def test_a_kill_in_the_worker_of_a_waiting_upload_ends_in_time(
    firecrest: FirecrestForTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    firecrest.control("PUT", "v1", {"polling_interval": 5})
    source = written(tmp_path / "a", 6 << 20)
    task = move(FirecrestUploadOperator, source, firecrest.directory / "a", deferrable=False)()
    seconds: list[float] = []

    def kill() -> None:
        until(lambda: (task._running or {}).get("firecrest_task_id"))
        started = time.monotonic()
        task.on_kill()
        seconds.append(time.monotonic() - started)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        # No SIGKILL comes here: the task lives on, until the server has written the file after all.
        with pytest.raises(AirflowException, match="killed while it waited for task"):
            run_task(lambda: task)
        killer.join(20)
    finally:
        firecrest.control("PUT", "v1", {"polling_interval": 0.1})
    assert seconds[0] < 4.5
    assert list(firecrest.directory.iterdir()) == []
    assert "FirecREST v1 cannot cancel a task" in capsys.readouterr().out
