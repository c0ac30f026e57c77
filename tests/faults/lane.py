"""Workers that can be killed: runs steps of tasks, each in a process of its own forked from this one.

Knows how Airflow calls operators and triggers, and that it starts each step in a fresh process. Must not
know which faults there are, nor judge what comes out. A step comes as a line of JSON on standard input, its
outcome goes back as one on standard output with the step's number, whichever is over first; a process that
died before its step was over is the outcome ``crashed``.

Importing Airflow costs two seconds; forking from a process that has done it, as Airflow's own executor does,
costs twenty milliseconds. That is what makes a thousand crashes affordable.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import selectors
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from tests.faults import hardship

Step = dict[str, Any]

_LOOK_EVERY = 0.005

# What steps need.
LOADED = (
    "operators.jobs",
    "operators.transfers",
    "operators.internal",
    "operators.filesystem",
    "triggers.jobs",
    "triggers.tasks",
    "hooks.firecrest",
    "client.async_client",
    "client.fileops",
    "client.transfers",
)


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
    start_date: datetime = field(default_factory=lambda: datetime.fromtimestamp(time.time(), UTC))

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
        refuse_what_airflow_refuses(key, value)
        self._values[key] = value

    def delete(self, key: str) -> None:
        if key in self._values:
            del self._values[key]

    def clear(self, **_: Any) -> None:
        for key in list(self._values):
            del self._values[key]


def refuse_what_airflow_refuses(key: str, value: Any) -> None:
    """Put a value through the message in which Airflow 3.3 stores it: there, a tuple is no JSON."""
    try:
        from airflow.sdk.execution_time.comms import SetTaskStateStore
    except ImportError:
        # Airflow before 3.3, whose tasks have no store.
        return
    SetTaskStateStore(ti_id=uuid.uuid4(), key=key, value=value, expires_at=None)


def play(step: Step) -> dict[str, Any]:
    """Do one step and say how it ended."""
    from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

    try:
        if step["phase"] == "trigger":
            return {"state": "event", "event": asyncio.run(_first_event(*step["trigger"]))}
        if step["phase"] == "kill":
            asyncio.run(_revived(*step["trigger"]).on_kill())
            return {"state": "killed"}
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
    context["dag_run"] = SimpleNamespace(start_date=datetime.fromtimestamp(step["run_began"], UTC))
    if step.get("task_state_store"):
        context["task_state_store"] = TaskStateStore(folder / "state.json")
    return context


def _revived(path: str, arguments: dict[str, Any]) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**arguments)


async def _first_event(path: str, arguments: dict[str, Any]) -> Any:
    events = _revived(path, arguments).run()
    event = await anext(events)
    await events.aclose()
    return json.loads(json.dumps(event.payload))


class Steps:
    """The steps that are being done, each in a process of its own.

    :param folder: where their outcomes are put down.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._steps: dict[int, tuple[Step, Path, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._steps)

    def begin(self, step: Step) -> None:
        answer = self._folder / f"answer-{step['number']}.json"
        kill_after = step.get("kill_after")
        ends = math.inf if kill_after is None else time.monotonic() + kill_after
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _live_and_die(step, answer)
        self._steps[child] = step, answer, ends

    def ended(self) -> Iterator[dict[str, Any]]:
        """The outcomes of the steps that are over; those whose time has come are killed."""
        for child, (_, _, ends) in self._steps.items():
            if time.monotonic() > ends:
                os.kill(child, signal.SIGKILL)
        while self._steps:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            step, answer, _ = self._steps.pop(child)
            outcome = {"state": "crashed", "status": os.waitstatus_to_exitcode(status)}
            if answer.exists():
                outcome = json.loads(answer.read_text())
                answer.unlink()
            yield {**outcome, "number": step["number"]}

    def kill(self) -> None:
        for child in self._steps:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _live_and_die(step: Step, answer: Path) -> None:
    """The life of one worker process; does not return."""
    try:
        log = os.open(step["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(step["env"])
        # A new process would look for it anew; this one has its parent's.
        tempfile.tempdir = None
        hardship.arrange(room=step.get("room"), clock=step.get("clock") or ())
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
    hardship.install()
    tuning = json.loads(sys.argv[2])
    for name in LOADED:
        import_module(f"airflow_provider_firecrest.{name}")
    for dotted, value in tuning.items():
        module, _, name = dotted.rpartition(".")
        found = import_module(f"airflow_provider_firecrest.{module}")
        getattr(found, name)  # a constant that has gone must not be tuned in vain
        setattr(found, name, value)
    _serve(Steps(Path(sys.argv[1])), os.fdopen(os.dup(1), "w", buffering=1))


def _serve(steps: Steps, answers: TextIO) -> None:
    """Begin each step when it comes, and tell of its end when that comes."""
    answers.write("ready\n")
    unread, open_ = b"", True
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while open_:
            if selector.select(_LOOK_EVERY if steps else None):
                came = os.read(0, 1 << 20)
                open_ = bool(came)
                *lines, unread = (unread + came).split(b"\n")
                for line in lines:
                    steps.begin(json.loads(line))
            for outcome in steps.ended():
                answers.write(json.dumps(outcome) + "\n")
    steps.kill()


if __name__ == "__main__":
    main()
