"""FirecREST v1's tasks are waited for, in both ways: what they end with, and what is no end."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_firecrest.sensors.tasks import FirecrestTaskSensor
from airflow_provider_firecrest.triggers import _task_watch
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import Run, run_task

pytestmark = pytest.mark.generation(1, reason="v2 has no tasks")
BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])


def started(firecrest: FirecrestForTest, path: str, **arguments: Any) -> str:
    """Start a task with a plain HTTP client, as something else than this provider would."""
    headers = {"Authorization": f"Bearer {firecrest.mint_token()}", "X-Machine-Name": firecrest.system}
    with requests.post(f"{firecrest.base_url_v1}{path}", headers=headers, timeout=10, **arguments) as answer:
        assert answer.status_code == 201, answer.text
        return str(answer.json()["task_id"])


def submitted(firecrest: FirecrestForTest, script: str) -> str:
    return started(firecrest, "/compute/jobs/upload", files={"file": ("job.sh", script.encode())})


def staged(firecrest: FirecrestForTest) -> str:
    source = firecrest.directory / "source"
    source.write_bytes(b"x" * 100)
    return started(firecrest, "/storage/xfer-external/download", data={"sourcePath": str(source)})


def wait(task_id: str | list[str], **arguments: Any) -> Run:
    defaults = {"task_id": "wait", "poke_interval": 0.2, "timeout": 20}
    return run_task(
        lambda: FirecrestTaskSensor(firecrest_task_id=task_id, **{**defaults, **arguments}),
    )


@BOTH_WAYS
def test_tasks_are_waited_for_until_all_are_over(firecrest: FirecrestForTest, deferrable: bool) -> None:
    ids = [submitted(firecrest, "#!/bin/bash\ntrue\n"), staged(firecrest)]

    done = wait(ids, deferrable=deferrable)

    assert [(each["task_id"], each["status"]) for each in done.result] == [(ids[0], "200"), (ids[1], "117")]
    assert [each["job_id"] for each in done.result] == [firecrest.new_jobs()[0]["id"], None]


@BOTH_WAYS
def test_a_download_url_is_neither_returned_nor_stored_nor_logged(
    firecrest: FirecrestForTest, deferrable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    done = wait(staged(firecrest), deferrable=deferrable)

    everything = json.dumps([done.result, done.ti.xcoms, done.trigger, done.event]) + capsys.readouterr().out
    assert done.result[0]["status"] == "117"
    assert "signature" not in everything.lower()
    assert "/s3/" not in everything


@BOTH_WAYS
def test_a_failed_task_fails_the_sensor_with_the_servers_words(
    firecrest: FirecrestForTest, deferrable: bool
) -> None:
    task_id = submitted(firecrest, "#!/bin/bash\n#SBATCH --partition=nowhere\ntrue\n")

    with pytest.raises(AirflowFailException, match="invalid partition specified: nowhere"):
        wait(task_id, deferrable=deferrable)
    with pytest.raises(AirflowSkipException):
        wait(task_id, deferrable=deferrable, soft_fail=True)


@BOTH_WAYS
def test_an_unknown_task_is_believed_to_be_so_after_many_answers_only(
    firecrest: FirecrestForTest, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_task_watch, "UNKNOWN_FOR", 1.0)
    unknown = "0123456789abcdef0123456789abcdef"

    with pytest.raises(AirflowFailException, match=unknown):
        wait(unknown, deferrable=deferrable)

    asked = [each for each in firecrest.requests() if each["path"].endswith(unknown)]
    assert len(asked) >= _task_watch.UNKNOWN_ANSWERS


@BOTH_WAYS
def test_an_upload_that_waits_for_its_file_is_not_over(firecrest: FirecrestForTest, deferrable: bool) -> None:
    form = {"targetPath": str(firecrest.directory), "sourcePath": "x"}
    task_id = started(firecrest, "/storage/xfer-external/upload", data=form)

    with pytest.raises(AirflowSensorTimeout):
        wait(task_id, deferrable=deferrable, timeout=1.5)


@BOTH_WAYS
def test_an_outage_is_waited_through(firecrest: FirecrestForTest, deferrable: bool) -> None:
    task_id = submitted(firecrest, "#!/bin/bash\ntrue\n")
    firecrest.fault("status", method="GET", path_regex="/tasks", times=3, status=502, body={"message": "no"})

    assert wait(task_id, deferrable=deferrable).result[0]["status"] == "200"


@pytest.mark.generation(2, reason="it is v2 that has no tasks")
def test_a_connection_to_v2_is_told_to_have_no_tasks(firecrest: FirecrestForTest) -> None:
    with pytest.raises(AirflowFailException, match="FirecREST v2, which has no tasks"):
        wait("0123456789abcdef0123456789abcdef")
