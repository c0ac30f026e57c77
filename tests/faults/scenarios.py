"""What goes wrong in a campaign: faults of the server, and crashes of our processes, by seeded chance.

Knows names of faults and of crash points. Must not know how tasks are run or judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

BOUNDARIES = ("before_submit", "after_post", "after_store", "before_defer", "in_execute_complete")
CHANCE = 0.3
TWO_HOURS = 7200.0
CLOCKS = {
    "two hours ahead": (TWO_HOURS,),
    "two hours behind": (-TWO_HOURS,),
    "jumps": (0.0, TWO_HOURS, -TWO_HOURS),
}

HTML = {"headers": {"content-type": "text/html"}, "body": "<html><body><h1>Bad Gateway</h1></body></html>"}
JSON = {"body": {"errorType": "error", "message": "Command execution timeout.", "data": None}}

# Where a job is submitted: v2, v1.
SUBMIT = r"^/v2/compute/[^/]+/jobs$|^/v1/compute/jobs/(upload|path)$"
CANCEL = r"^/v2/compute/[^/]+/jobs/\d+$|^/v1/compute/jobs/\d+$"


@dataclass(frozen=True)
class Plan:
    """What happens to one task."""

    crashes: tuple[str, ...] = ()
    trigger_kills: tuple[float, ...] = ()
    deferrable: bool = True
    array: bool = False
    failing_runs: int = 0
    task_state_store: bool = True
    clock: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    :ivar faults: what the server does wrong, as for `LocalFirecrest.fault`; a seed is added.
    :ivar plan: what happens to each task, drawn from a generator of its own.
    :ivar only: the API generation it is about; 0 for both.
    :ivar share: part of the tasks asked for that are run: less where each takes minutes.
    :ivar server: settings of the server, beyond those of all campaigns.
    :ivar refusal: how a task may end in place of success: what its error says. Nothing may be left then.
    """

    name: str
    faults: tuple[Mapping[str, Any], ...] = ()
    plan: Callable[[random.Random], Plan] = field(default=lambda chance: Plan())
    only: int = 0
    share: float = 1.0
    server: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""


def _modes(chance: random.Random, **more: Any) -> Plan:
    return Plan(deferrable=chance.random() < 0.7, task_state_store=chance.random() < 0.5, **more)


def _one_boundary(chance: random.Random) -> Plan:
    return _modes(chance, crashes=(chance.choice(BOUNDARIES),))


def _one_array_boundary(chance: random.Random) -> Plan:
    return _modes(chance, crashes=(chance.choice(BOUNDARIES),), array=True)


def _failing(chance: random.Random) -> Plan:
    return _modes(chance, crashes=(chance.choice(("", *BOUNDARIES)),), failing_runs=1)


def _everything(chance: random.Random) -> Plan:
    crashes = tuple(chance.choice(("", *BOUNDARIES)) for _ in range(3))
    kills = tuple(chance.uniform(0.02, 0.5) for _ in range(chance.randrange(3)))
    return _modes(chance, crashes=crashes, trigger_kills=kills, array=chance.random() < 0.2)


def _trigger_kills(chance: random.Random) -> Plan:
    return Plan(trigger_kills=tuple(chance.uniform(0.02, 0.6) for _ in range(3)))


def _by_clock(clock: tuple[float, ...]) -> Callable[[random.Random], Plan]:
    return lambda chance: _modes(chance, crashes=(chance.choice(("", *BOUNDARIES)),), clock=clock)


def submits(action: str, **details: Any) -> dict[str, Any]:
    """A fault of three submits in ten."""
    return {"action": action, "method": "POST", "path_regex": SUBMIT, "probability": CHANCE, **details}


def polls(action: str, **details: Any) -> dict[str, Any]:
    """A fault of three questions in ten, about jobs, files and tasks."""
    path = r"^/v[12]/(compute|filesystem|tasks|utilities)"
    return {"action": action, "method": "GET", "path_regex": path, "probability": CHANCE, **details}


JOB_SCENARIOS = (
    Scenario("answers lost after the submit", (submits("lose_answer"),), _modes),
    Scenario("408 after the submit", (submits("status_after_acting", status=408, **JSON),), _modes),
    Scenario("502 page after the submit", (submits("status_after_acting", status=502, **HTML),), _modes),
    Scenario("500 after the submit", (submits("status_after_acting", status=500, **JSON),), _modes),
    Scenario("submits that never arrive", (submits("drop"),), _modes),
    Scenario("503 and 429 before the submit", (submits("status"), submits("status", status=429)), _modes),
    Scenario("worker killed at a boundary", (), _one_boundary),
    Scenario("worker killed at a boundary, array", (), _one_array_boundary),
    Scenario("worker killed and answers lost", (submits("lose_answer"),), _one_boundary),
    Scenario("triggerer killed while polling", (), _trigger_kills),
    Scenario("jobs that fail once, worker killed", (submits("lose_answer"),), _failing),
    Scenario(
        "questions answered 503, 408, or not at all",
        # Together three in ten.
        (
            polls("status", probability=0.1),
            polls("status", probability=0.1, status=408, **JSON),
            polls("lose_answer", probability=0.1),
        ),
        _one_boundary,
    ),
    Scenario(
        "new jobs hidden for longer than one looks",
        (submits("lose_answer"), {"action": "hide_job", "delay_s": 4.0}),
        _modes,
    ),
    Scenario(
        "ended jobs shown running",
        ({"action": "stale_running", "delay_s": 1.5}, submits("lose_answer")),
        _one_boundary,
    ),
    Scenario(
        "tasks of v1 fail although the job is submitted",
        (submits("task_400_although_submitted"),),
        _one_boundary,
        only=1,
    ),
    Scenario(
        "tasks of v1 hang after the submit",
        (submits("task_hangs_after_acting"),),
        _modes,
        only=1,
        # A task is given a minute and a half.
        share=0.25,
    ),
    Scenario(
        "outages of v1 as failed tasks",
        ({"action": "task_400", "method": "GET", "path_regex": "/compute/", "probability": CHANCE},),
        _one_boundary,
        only=1,
    ),
    *(
        Scenario(f"our clock {name}, worker killed", (submits("lose_answer"),), _by_clock(clock), share=0.5)
        for name, clock in CLOCKS.items()
    ),
    Scenario(
        "everything at once",
        (submits("lose_answer"), polls("status", probability=0.1), polls("drop", probability=0.1)),
        _everything,
    ),
)
