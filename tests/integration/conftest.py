"""Runs tasks against the local FirecREST the way Airflow does, without an Airflow:

in the worker, or deferred and resumed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import BaseTrigger

from tests.faults.miniature import Lane
from tests.fixtures_local import FirecrestForTest


@dataclass
class TaskInstance:
    """The part of a task instance that operators use. XComs are kept as JSON, as Airflow keeps them."""

    dag_id: str = "weather"
    task_id: str = "simulate"
    # No two runs of a DAG share one: a task is known by it, on the cluster too.
    run_id: str = field(default_factory=lambda: f"manual__{uuid.uuid4().hex}")
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    start_date: datetime = field(default_factory=lambda: datetime.now(tz=UTC))
    xcoms: dict[str, str] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.dumps(value)

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return json.loads(self.xcoms[key]) if key in self.xcoms else None


@dataclass
class Run:
    """What a task did:

    its result, and, when it was deferred, its trigger and its event as they were stored.
    """

    result: Any
    ti: TaskInstance
    trigger: tuple[str, dict[str, Any]] | None = None
    event: dict[str, Any] | None = None


def revived(trigger: BaseTrigger) -> BaseTrigger:
    """The trigger as a triggerer gets it: from its class path and its arguments as JSON."""
    path, arguments = trigger.serialize()
    module, name = path.rsplit(".", 1)
    again = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert isinstance(again, BaseTrigger)
    return again


def first_event(trigger: BaseTrigger) -> dict[str, Any]:
    """Run a trigger on a loop of its own to its event, which must be plain JSON."""

    async def first() -> Any:
        events = trigger.run()
        event = await anext(events)
        await events.aclose()
        return event.payload

    return dict(json.loads(json.dumps(asyncio.run(first()))))


def run_task(make: Callable[[], Any], ti: TaskInstance | None = None) -> Run:
    """Run a task to its end;

    when it defers, resume it with a fresh operator, as a new worker process would.
    """
    ti = ti or TaskInstance()
    context = {"ti": ti}
    try:
        return Run(make().execute(context), ti)
    except TaskDeferred as deferral:
        event = first_event(revived(deferral.trigger))
        # `dag.test()` drops the keyword arguments of `defer`: whatever is needed stands in the event.
        result = make().resume_execution(deferral.method_name, {"event": event}, context)
        return Run(result, ti, deferral.trigger.serialize(), event)


def defer(make: Callable[[], Any], ti: TaskInstance) -> TaskDeferred:
    """Run a task up to its deferral."""
    with pytest.raises(TaskDeferred) as caught:
        make().execute({"ti": ti})
    return caught.value


# Run over both generations of the API; the operators' own files do so by themselves (`file_tasks.cluster`).
OVER_BOTH = {"test_submit_job", "test_attempts", "test_transfers", "test_sensors", "test_triggers"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test the generation that its mark ``generation`` names, with why; one of `OVER_BOTH` each."""
    if "firecrest" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("generation")
    if mark is None and metafunc.module.__name__.rpartition(".")[2] not in OVER_BOTH:
        return
    if mark is not None:
        assert mark.kwargs["reason"], "a test of one generation says why"
    numbers = (1, 2) if mark is None else mark.args
    metafunc.parametrize("firecrest", numbers, indirect=True, ids=[f"v{number}" for number in numbers])


@pytest.fixture(scope="module")
def lane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """Runs tasks in processes that can be killed, with what the module's ``TUNING`` sets."""
    with Lane(tmp_path_factory.mktemp("lane"), request.module.TUNING) as made:
        yield made


@pytest.fixture(autouse=True)
def connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ``firecrest_default`` leads to the local server, by the test's generation of the API."""
    if "firecrest" not in request.fixturenames:
        return
    server: FirecrestForTest = request.getfixturevalue("firecrest")
    for name, value in server.connection_env.items():
        monkeypatch.setenv(name, value)


class AirflowCommand:
    """The ``airflow`` command with a home of its own, whose database is made already.

    :param database: an empty one, made once: that takes ten seconds.
    """

    def __init__(self, home: Path, database: Path, env: Mapping[str, str]) -> None:
        home.mkdir(parents=True)
        shutil.copy(database, home / database.name)
        self._env = {
            **os.environ,
            **env,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / database.name}",
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "airflow", *arguments]
        return subprocess.run(
            command, env=self._env, capture_output=True, text=True, timeout=200, check=False
        )


@pytest.fixture(scope="session")
def airflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of Airflow's with nothing in it."""
    home = tmp_path_factory.mktemp("airflow")
    database = home / "airflow.db"
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
    }
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return database


# Pauses for sites that take seconds where the local server takes milliseconds. What a test says of waiting
# holds for any of them.
QUICK: dict[str, Any] = {
    "client.retry._MAX_BACKOFF": 0.2,
    "client.v1.tasks._PAUSES": (0.05, 0.1, 0.2, 0.5),
    "client.waiting.patience._FIRST_PAUSE": 0.3,
    "triggers.poller._GATHER": 0.05,
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to be patient with the local server."""
    for name, value in QUICK.items():
        monkeypatch.setattr(f"airflow_provider_firecrest.{name}", value)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found
