"""A worker that can be killed: runs steps of tasks, each in a process of its own forked from this one.

Knows how Airflow calls operators and triggers, and that it starts each step in a fresh process. Must not
know which faults there are, nor judge what comes out. A step comes as a line of JSON on standard input, its
outcome goes back as one on standard output; a process that died before its step was over is the outcome
``crashed``.

Importing Airflow costs two seconds; forking from a process that has done it, as Airflow's own executor does,
costs twenty milliseconds. That is what makes a thousand crashes affordable.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

Step = dict[str, Any]


class JsonFile(dict[str, Any]):
    """A dict that is on disk the moment it is changed, as rows of a database are."""

    def __init__(self, path: Path) -> None:
        super().__init__(json.loads(path.read_text()) if path.exists() else {})
        self._path = path

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, json.loads(json.dumps(value)))
        self._save()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._save()

    def _save(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self))
        temporary.replace(self._path)


@dataclass
class TaskInstance:
    """The part of a task instance that operators use. Every try has another ``id``, as in Airflow."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    try_number: int
    max_tries: int
    id: str
    folder: Path
    start_date: datetime = field(default_factory=lambda: datetime.now(tz=UTC))

    @property
    def xcoms(self) -> JsonFile:
        return JsonFile(self.folder / "xcoms.json")

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str | None = None, key: str = "return_value", **_: Any) -> Any:
        return self.xcoms.get(key) if task_ids in (None, self.task_id) else None


class TaskStateStore:
    """Airflow 3.3's store of a task's own state: it outlives tries, and clears."""

    def __init__(self, path: Path) -> None:
        self._values = JsonFile(path)

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def set(self, key: str, value: Any, **_: Any) -> None:
        self._values[key] = value

    def delete(self, key: str) -> None:
        if key in self._values:
            del self._values[key]

    def clear(self, **_: Any) -> None:
        for key in list(self._values):
            del self._values[key]


def play(step: Step) -> dict[str, Any]:
    """Do one step and say how it ended."""
    from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

    try:
        if step["phase"] == "trigger":
            return {"state": "event", "event": asyncio.run(_first_event(*step["trigger"]))}
        operator, context = _operator(step), _context(step)
        if step["phase"] == "execute":
            # A new try begins without the XComs of the last one.
            (Path(step["folder"]) / "xcoms.json").unlink(missing_ok=True)
            result = operator.execute(context)
        else:
            result = operator.resume_execution(step["method"], {"event": step["event"]}, context)
        return {"state": "success", "result": json.loads(json.dumps(result))}
    except TaskDeferred as deferral:
        return {
            "state": "deferred",
            "trigger": json.loads(json.dumps(deferral.trigger.serialize())),
            "method": deferral.method_name,
        }
    except AirflowFailException as error:
        return {"state": "failed", "for_good": True, "error": f"{type(error).__name__}: {error}"}
    except Exception as error:
        traceback.print_exc()
        return {"state": "failed", "for_good": False, "error": f"{type(error).__name__}: {error}"}


def _operator(step: Step) -> Any:
    module, _, name = step["operator"].rpartition(".")
    kind = getattr(import_module(f"airflow_provider_firecrest.operators.{module}"), name)
    return kind(task_id=step["ti"]["task_id"], **step["arguments"])


def _context(step: Step) -> dict[str, Any]:
    folder = Path(step["folder"])
    context: dict[str, Any] = {"ti": TaskInstance(folder=folder, **step["ti"])}
    context["task_instance"] = context["ti"]
    if step.get("task_state_store"):
        context["task_state_store"] = TaskStateStore(folder / "state.json")
    return context


async def _first_event(path: str, arguments: dict[str, Any]) -> Any:
    module, _, name = path.rpartition(".")
    events = getattr(import_module(module), name)(**arguments).run()
    event = await anext(events)
    await events.aclose()
    return json.loads(json.dumps(event.payload))


def _in_a_process(step: Step, answer: Path) -> dict[str, Any]:
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _live_and_die(step, answer)
    status = _wait_for(child, step.get("kill_after"))
    if answer.exists():
        return dict(json.loads(answer.read_text()))
    return {"state": "crashed", "status": os.waitstatus_to_exitcode(status)}


def _wait_for(child: int, kill_after: float | None) -> int:
    """Wait for the end of a step, or bring it about after so many seconds."""
    if kill_after is None:
        return os.waitpid(child, 0)[1]
    deadline = time.monotonic() + kill_after
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _live_and_die(step: Step, answer: Path) -> None:
    """The life of one worker process; does not return."""
    try:
        log = os.open(step["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(step["env"])
        outcome = play(step)
        temporary = answer.with_suffix(".new")
        temporary.write_text(json.dumps(outcome))
        sys.stdout.flush()
        temporary.replace(answer)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def main() -> None:
    """Import what steps need, then do them one after the other until standard input ends."""
    tuning = json.loads(sys.argv[2])
    for name in ("operators.jobs", "operators.transfers", "triggers.jobs", "client", "client.transfers"):
        import_module(f"airflow_provider_firecrest.{name}")
    for dotted, value in tuning.items():
        module, _, name = dotted.rpartition(".")
        found = import_module(f"airflow_provider_firecrest.{module}")
        getattr(found, name)  # a constant that has gone must not be tuned in vain
        setattr(found, name, value)
    answers = Path(sys.argv[1])
    real = os.fdopen(os.dup(1), "w", buffering=1)
    real.write("ready\n")
    for line in sys.stdin:
        real.write(json.dumps(_in_a_process(json.loads(line), answers)) + "\n")


if __name__ == "__main__":
    main()
