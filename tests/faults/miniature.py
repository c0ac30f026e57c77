"""An Airflow of a few lines: tries, deferrals, crashes and clears of one task after the other.

Knows what Airflow does between the steps of a task: a crash of the worker ends the try, a retry begins from
``execute`` with the same ``max_tries``, a crash of the triggerer only runs the trigger again, a clear raises
``max_tries``. Must not know what an operator does in a step, nor what is right.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

_MOST_TRIGGER_RUNS = 20

# Seconds that are right for a real site and too long for a thousand tests against a server that is quick.
QUICK: dict[str, float] = {"client.waiting.patience._FIRST_PAUSE": 0.3, "triggers.poller._GATHER": 0.05}


@dataclass
class Task:
    """One task instance and what shall happen to it.

    :ivar operator: module and class below ``operators``, such as ``jobs.FirecrestSubmitJobOperator``.
    :ivar arguments: the operator's arguments.
    :ivar folder: where its XComs, its state and its log are kept.
    :ivar crashes: for each try, the crash point at which its worker dies ("" for none).
    :ivar trigger_kills: seconds after which the triggerer is killed, one for each time.
    :ivar task_state_store: whether Airflow has one (3.3).
    :ivar room: for each try, bytes that fit into a file on the worker's disk (None for no limit).
    :ivar clock: seconds by which the clock of Airflow's machines is ahead; with more than one, it jumps from
        each to the next, from step to step and in the middle of steps.
    """

    operator: str
    arguments: dict[str, Any]
    folder: Path
    env: Mapping[str, str]
    crashes: Sequence[str] = ()
    trigger_kills: Sequence[float] = ()
    retries: int = 6
    task_state_store: bool = True
    room: Sequence[int | None] = ()
    clock: Sequence[float] = ()
    try_number: int = 0
    max_tries: int = -1
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.max_tries = self.retries if self.max_tries < 0 else self.max_tries
        self._kills = list(self.trigger_kills)
        self._steps = 0
        self.run_began = time.time() + (self.clock[0] if self.clock else 0.0)

    @property
    def log(self) -> Path:
        return self.folder / "task.log"

    def step(self, phase: str, **more: Any) -> dict[str, Any]:
        """The description of a step, for a lane."""
        crash = _of_try(self.crashes, self.try_number) or ""
        self._steps += 1
        ti = {
            "dag_id": "faults",
            "task_id": self.folder.name,
            "run_id": "manual",
            "map_index": -1,
            "try_number": self.try_number,
            "max_tries": self.max_tries,
            "id": str(uuid.uuid4()),
        }
        return {
            "phase": phase,
            "operator": self.operator,
            "arguments": self.arguments,
            "folder": str(self.folder),
            "log": str(self.log),
            "env": {**self.env, "FIRECREST_CRASH_AT": "" if phase == "trigger" else crash},
            "task_state_store": self.task_state_store,
            "run_began": self.run_began,
            "room": _of_try(self.room, self.try_number),
            "clock": [self.clock[(self._steps + each) % len(self.clock)] for each in (-1, 0)]
            if self.clock
            else [],
            "ti": ti,
            **more,
        }

    def live(self, lane: Lane) -> dict[str, Any]:
        """Try until it succeeds, fails for good, or is out of tries; the last outcome."""
        outcome: dict[str, Any] = {}
        while self.try_number <= self.max_tries:
            outcome = self.once(lane)
            if outcome["state"] == "success" or outcome.get("for_good"):
                break
        return outcome

    def die(self, lane: Lane, at: str) -> dict[str, Any]:
        """A further try, which is to end by SIGKILL at a crash point; its outcome."""
        self.crashes = [*[""] * self.try_number, at]
        return self.once(lane)

    def once(self, lane: Lane) -> dict[str, Any]:
        """One further try; its outcome."""
        self.try_number += 1
        return self.go_on(lane, self.begin(lane))

    def clear(self) -> None:
        """What a user's Clear does to a task instance."""
        self.max_tries = self.try_number + self.retries

    def begin(self, lane: Lane) -> dict[str, Any]:
        """The current try up to its first deferral, or its end."""
        return self._play(lane, self.step("execute"))

    def kill(self, lane: Lane, deferral: dict[str, Any]) -> None:
        """What the triggerer does when a user marks or clears the deferred task."""
        self._play(lane, self.step("kill", trigger=deferral["trigger"]))

    def go_on(self, lane: Lane, outcome: dict[str, Any]) -> dict[str, Any]:
        """The current try from a deferral to its end."""
        while outcome["state"] == "deferred":
            event = self._triggered(lane, outcome)
            if event["state"] != "event":
                return event
            outcome = self._play(lane, self.step("resume", method=outcome["method"], event=event["event"]))
        return outcome

    def _triggered(self, lane: Lane, deferral: dict[str, Any]) -> dict[str, Any]:
        """The trigger's event. One whose triggerer dies runs again in another, from its arguments."""
        for _ in range(_MOST_TRIGGER_RUNS):
            kill_after = self._kills.pop(0) if self._kills else None
            outcome = self._play(
                lane, self.step("trigger", trigger=deferral["trigger"], kill_after=kill_after)
            )
            if outcome["state"] != "crashed":
                break
        return outcome

    def _play(self, lane: Lane, step: dict[str, Any]) -> dict[str, Any]:
        outcome = lane.play(step)
        self.history.append({"try": self.try_number, "phase": step["phase"], **outcome})
        return outcome


T = TypeVar("T")


def _of_try(values: Sequence[T], try_number: int) -> T | None:
    """What is meant for a try; None for those that nothing was said about."""
    return values[try_number - 1] if try_number <= len(values) else None


class Lane:
    """A process that does steps, each in a process of its own; see ``lane``. Any thread may ask for one.

    :param folder: for what it needs on disk.
    :param tuning: constants to change, by their path below the package; added to :data:`QUICK`.
    :param abreast: tasks that a campaign does in it at a time.
    """

    def __init__(self, folder: Path, tuning: Mapping[str, Any] | None = None, abreast: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.abreast = abreast
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._over = False
        tuned = json.dumps(dict(QUICK if tuning is None else {**QUICK, **tuning}))
        command = [sys.executable, "-m", "tests.faults.lane", str(folder), tuned]
        self._log = (folder / "lane.log").open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        ready = self._process.stdout.readline() == "ready\n"
        self._reader.start()
        if not ready:
            self.stop()
            raise RuntimeError(f"the lane did not start: {Path(self._log.name).read_text()}")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; steps that are being done are killed with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._process.stdout.close()
        self._log.close()

    def play(self, step: dict[str, Any]) -> dict[str, Any]:
        """Do one step in a process of its own."""
        assert self._process.stdin is not None
        outcome: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        with self._lock:
            number = next(self._numbers)
            if not self._over:
                self._waiting[number] = outcome
                self._process.stdin.write(json.dumps({**step, "number": number}) + "\n")
                self._process.stdin.flush()
            else:
                outcome.put(None)
        found = outcome.get()
        if found is None:
            raise RuntimeError(f"the lane ended: {Path(self._log.name).read_text()}")
        return found

    def _read(self) -> None:
        """Hand every outcome to whoever waits for it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            outcome = dict(json.loads(line))
            with self._lock:
                waiting = self._waiting.pop(outcome.pop("number"))
            waiting.put(outcome)
        with self._lock:
            self._over = True
            for each in self._waiting.values():
                each.put(None)
