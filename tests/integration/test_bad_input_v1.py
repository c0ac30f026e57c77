"""Bad input on FirecREST v1: one clear line each, and where possible before anything is sent.

v1 says nearly all of it by HTTP 400 or by a failed task.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from airflow_provider_firecrest.operators.internal import (
    FirecrestInternalCopyOperator,
    FirecrestInternalDeleteOperator,
)
from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from airflow_provider_firecrest.sensors.files import FirecrestFileSensor
from airflow_provider_firecrest.sensors.jobs import FirecrestJobSensor
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import run_task

pytestmark = pytest.mark.generation(1, reason="v1's own limits, in its own words")
SCRIPT = "#!/bin/bash\ntrue\n"


@pytest.fixture
def accounts_needed(firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site that charges a file job without an account to the user's unix group, which is no account."""
    firecrest.control("PUT", "v1", {"account_from_group": True})
    connection = json.loads(firecrest.conn_json)
    connection["extra"].pop("account", None)
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))
    yield
    firecrest.control("PUT", "v1", {"account_from_group": False})


def failure_of(task: Any) -> str:
    """The message a task fails with, for good: no retry changes the input."""
    with pytest.raises(AirflowFailException) as failure:
        run_task(lambda: task)
    return str(failure.value)


def changes(firecrest: FirecrestForTest) -> list[str]:
    """What was sent that changes something."""
    return [
        f"{each['method']} {each['path']}"
        for each in firecrest.requests()
        if each["method"] != "GET" and not each["path"].endswith("/token")
    ]


def submit(**arguments: Any) -> FirecrestSubmitJobOperator:
    return FirecrestSubmitJobOperator(task_id="x", script=SCRIPT, **arguments)


def delete(path: str, **arguments: Any) -> FirecrestInternalDeleteOperator:
    return FirecrestInternalDeleteOperator(task_id="x", path=path, **arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: submit(working_dir=path, system="daint"),
        lambda path: delete(path, system="daint"),
        lambda path: FirecrestFileSensor(task_id="x", path=path, system="daint", timeout=20),
        lambda path: FirecrestJobSensor(task_id="x", job_id="1", system="daint", timeout=20),
        lambda path: FirecrestCancelJobOperator(task_id="x", job_id="1", system="daint"),
        lambda path: FirecrestUploadOperator(
            task_id="x", source_path=__file__, target_path=f"{path}/x", system="daint"
        ),
        lambda path: FirecrestDownloadOperator(
            task_id="x", source_path=f"{path}/x", target_path="/tmp/x", system="daint"
        ),
    ],
    ids=["submit", "delete", "file sensor", "job sensor", "cancel", "upload", "download"],
)
def test_an_unknown_machine_is_named_at_once(firecrest: FirecrestForTest, make: Any) -> None:
    started = time.monotonic()
    message = failure_of(make(str(firecrest.directory)))

    assert "\n" not in message
    assert "daint" in message or "no machine of that name" in message
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("char", list("<>|;\"'&\\()`"))
def test_a_forbidden_character_is_named_and_nothing_is_sent(
    firecrest: FirecrestForTest, tmp_path: Path, char: str
) -> None:
    (tmp_path / "x").write_text("x")
    path = f"{firecrest.directory}/a{char}b"
    for task in (
        FirecrestUploadOperator(task_id="x", source_path=str(tmp_path / "x"), target_path=path),
        FirecrestFilesystemOperator(task_id="x", operation="mkdir", path=path),
        delete(path),
    ):
        message = failure_of(task)
        assert "a single quote" in message or "a double quote" in message or repr(char) in message
        assert "Rename the file" in message
    assert changes(firecrest) == []


def test_more_than_one_form_carries_is_refused_before_a_byte_moves(
    firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = tmp_path / "huge"
    with source.open("wb") as file:
        os.truncate(file.fileno(), 5 * 2**30 + 1)
    started = time.monotonic()

    message = failure_of(
        FirecrestUploadOperator(
            task_id="x", source_path=str(source), target_path=f"{firecrest.directory}/huge"
        )
    )

    assert "5 GiB" in message
    assert changes(firecrest) == []
    assert time.monotonic() - started < 5, "it is not even read"


@pytest.mark.parametrize("size", [5 * 2**20 - 1023, 5 * 2**20 - 100, 5 * 2**20])
def test_a_file_that_is_just_too_large_for_a_direct_upload_is_staged(
    firecrest: FirecrestForTest, tmp_path: Path, size: int
) -> None:
    source, target = tmp_path / "data", firecrest.directory / "data"
    source.write_bytes(os.urandom(size))

    done = run_task(
        lambda: FirecrestUploadOperator(
            task_id="x", source_path=str(source), target_path=str(target), poll_interval=0.2
        )
    )

    assert done.result["way"] == "staged"
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.usefixtures("accounts_needed")
def test_a_missing_account_is_told(firecrest: FirecrestForTest) -> None:
    (firecrest.directory / "x").write_text("x")
    task = FirecrestInternalCopyOperator(
        task_id="x",
        source_path=f"{firecrest.directory}/x",
        target_path=f"{firecrest.directory}/y",
        job_name="copy",
    )

    message = failure_of(task)

    assert "Invalid account" in message
    assert "name one in the call or in the connection" in message


@pytest.mark.parametrize("limit", ["soon", "1h", "00:00:00:00"])
def test_a_time_limit_that_is_none_is_refused_and_nothing_is_sent(
    firecrest: FirecrestForTest, limit: str
) -> None:
    (firecrest.directory / "x").write_text("x")

    message = failure_of(delete(f"{firecrest.directory}/x", time_limit=limit))

    assert "time_limit" in message
    assert repr(limit) in message
    assert changes(firecrest) == []
    assert (firecrest.directory / "x").exists()


@pytest.mark.parametrize("job_id", ["abc", "0", "36_[1-3]"])
def test_an_id_that_is_none_is_refused_and_nothing_is_sent(firecrest: FirecrestForTest, job_id: str) -> None:
    assert job_id in failure_of(FirecrestCancelJobOperator(task_id="x", job_id=job_id))
    assert changes(firecrest) == []


def test_what_slurm_refuses_is_told_in_its_words(firecrest: FirecrestForTest) -> None:
    where = str(firecrest.directory)

    assert "Invalid partition name" in failure_of(submit(working_dir=where, partition="nowhere"))
    assert "Invalid account" in failure_of(submit(working_dir=where, account="nobody"))


def test_a_wrong_version_in_the_connection_is_named(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = firecrest.conn_json.replace('"extra": {', '"extra": {"api_version": "2", ')
    assert '"api_version": "2"' in connection
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", connection)

    message = failure_of(delete(f"{firecrest.directory}/x"))

    assert message.startswith("api_version: the connection says 2")
    assert message.endswith("is FirecREST v1; set api_version to 1 or auto.")
