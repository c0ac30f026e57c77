"""What a file operation's task remembers when Airflow's store fails it, and jobs that do not end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_firecrest.client.attempts import Attempt
from airflow_provider_firecrest.client.errors import UnavailableError
from airflow_provider_firecrest.client.fileops import FileOperation, FileOperationResult
from airflow_provider_firecrest.client.waiting.cancel import Cancelled
from airflow_provider_firecrest.operators._fileop_by_name import end_job
from airflow_provider_firecrest.operators._fileop_memory import FileOperationMemory

ATTEMPT = Attempt(("dag", "run", "task"), 0)
OPERATION = FileOperation("rm", "/a", "", "/a", "cluster", "quick", "n")
LOG = logging.getLogger("test")


class Store(dict[str, Any]):
    """Airflow's task state store."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class ReadOnly(Store):
    def set(self, key: str, value: Any) -> None:
        raise ConnectionError("no API server")


def memory(store: Any, attempt: Attempt = ATTEMPT, *, first_try: bool = False) -> FileOperationMemory:
    return FileOperationMemory(store, attempt, first_try=first_try, log=LOG)


def test_a_store_that_cannot_be_written_stops_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    memory(ReadOnly()).call(OPERATION, 0)
    assert "cannot be written: ConnectionError" in caplog.text


def test_a_first_try_takes_nothing_for_its_own() -> None:
    store = Store()
    memory(store).call(OPERATION, 0)
    assert memory(store, first_try=True).known() is None
    assert memory(store).known() is not None


def test_what_another_format_says_is_not_gone_on_with() -> None:
    store = Store()
    memory(store).call(OPERATION, 0)
    [entry] = store.values()
    entry["format"] = 99
    assert memory(store).known() is None


def test_the_end_of_an_attempt_does_not_end_what_another_has_begun() -> None:
    store = Store()
    cleared = Attempt(ATTEMPT.identity, 1)
    memory(store, cleared).call(OPERATION, 0)
    memory(store).fail()
    memory(store).succeed(FileOperationResult.of(OPERATION, "gone"))
    known = memory(store, cleared).known()
    assert known is not None
    assert known["stage"] == "called"


class StubbornJob:
    """A client of a system on which a job that is told to end goes on."""

    api = None

    def run(self, flow: Any) -> Cancelled:
        flow.close()
        return Cancelled("12", now=True, job=None)


def test_beside_a_job_that_does_not_end_nothing_is_started() -> None:
    with pytest.raises(UnavailableError, match="Nothing was started beside it"):
        end_job(StubbornJob(), "12", "cluster", LOG)  # type: ignore[arg-type]
