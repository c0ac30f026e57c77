"""The fault switch: which of the next requests go wrong, and how.

Knows: matching, counting and chance. Must not know: how answers are sent (`middleware`), spoilt
(`broken_wire`) or made up (`lies`), nor job scripts (`transfer_jobs`).

A new kind of fault is a new name in `ACTIONS` and one place that asks for it with `take`.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
from dataclasses import asdict, dataclass, field, fields
from typing import Any

# Done to the HTTP exchange, by the middleware.
EXCHANGE_ACTIONS = ("status", "status_after_acting", "lose_answer", "delay", "drop")
# Done to the bytes on their way, by the middleware.
WIRE_ACTIONS = ("truncate", "stall", "bit_flip", "bit_flip_upload")
# Done to what a request starts, by the kernel.
DISK_ACTIONS = ("disk_full",)
# Done to an object, before an answer shows it.
STORE_ACTIONS = ("object_changes", "object_shrinks")
# Done to what an answer says of jobs.
LIES = ("hide_job", "stale_running", "unknown_state")
# Done to a transfer job, when its script is written.
JOB_ACTIONS = ("file_job_does_nothing", "ingress_says_success_without_file")
# Done to the job of an upload, in the middle of its writing.
HOLD_ACTIONS = ("ingress_holds",)
# Done to a user's batch job, when it is submitted.
BATCH_ACTIONS = ("job_does_nothing",)
# Done to a FirecREST v1 task, when the request that creates it is answered or its file is copied.
TASK_ACTIONS = (
    "task_hangs_at_100",
    "task_hangs_after_acting",
    "task_400",
    "task_400_although_submitted",
    "staging_fails",
)
ACTIONS = (
    *EXCHANGE_ACTIONS,
    *WIRE_ACTIONS,
    *DISK_ACTIONS,
    *STORE_ACTIONS,
    *LIES,
    *JOB_ACTIONS,
    *HOLD_ACTIONS,
    *BATCH_ACTIONS,
    *TASK_ACTIONS,
)

_OURS = {"id", "used"}


@dataclass
class Fault:
    """One rule.

    Args:
        action: what goes wrong.

            To the exchange: ``status`` answers with ``status``/``headers``/``body`` and does nothing;
            ``status_after_acting`` acts, then answers so; ``lose_answer`` acts, then (after ``delay_s``)
            closes the connection; ``delay`` waits ``delay_s`` seconds first; ``drop`` waits ``delay_s`` and
            closes the connection without acting.

            To the bytes: ``truncate`` sends half of the answer and closes the connection; ``stall`` sends
            half, and the rest ``delay_s`` seconds later; ``bit_flip`` turns one bit of the answer, and
            ``bit_flip_upload`` one of the request.

            To the disk: ``disk_full`` leaves room for ``body`` bytes in a file, whatever command, job or copy
            the request starts.

            To the object store: ``object_changes`` puts another object of the same size in place of the one
            that is asked for, ``object_shrinks`` its first half.

            To what is said of jobs: ``hide_job`` leaves out those submitted less than ``delay_s`` seconds
            ago; ``stale_running`` shows those that ended less than ``delay_s`` seconds ago as RUNNING;
            ``unknown_state`` shows every state as ``body``. 0 seconds mean all jobs.

            To a file job: ``file_job_does_nothing`` makes it report success and do nothing;
            ``ingress_says_success_without_file`` the same for an upload; ``ingress_holds`` lets an upload's
            job stop when it has fetched piece number ``body`` (2 if none) and not appended it, for
            ``delay_s`` seconds, or (0) until the holds are released or the job is cancelled.

            To a batch job: ``job_does_nothing`` makes it end well without running its commands.

            To a v1 task: ``task_hangs_at_100`` never goes on and does nothing, ``task_hangs_after_acting``
            acts first, ``task_400`` ends with the text ``body`` and does nothing,
            ``task_400_although_submitted`` acts first, ``staging_fails`` makes one copy from or to the object
            store fail with ``status``.
        method: HTTP method it applies to, any if empty.
        path_regex: regular expression searched for in the path.
        times: how many requests it applies to; 0 means all.
        probability: chance that a request it matches goes wrong; drawn from a generator of its own.
        seed: start of that generator: the same requests in the same order meet the same faults.
    """

    action: str
    method: str = ""
    path_regex: str = ""
    times: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay_s: float = 0.0
    probability: float = 1.0
    seed: int = 0
    id: int = 0
    used: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def applies(self, method: str, path: str) -> bool:
        """Whether this rule is for such a request, is not used up, and its chance comes up."""
        left = self.times == 0 or self.used < self.times
        if not left or self.method not in ("", method) or re.search(self.path_regex, path) is None:
            return False
        return self.probability >= 1.0 or self._chance.random() < self.probability


class FaultSwitch:
    """The rules in force, first match wins."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, description: dict[str, Any]) -> Fault:
        """Put a rule in force.

        Raises:
            ValueError: an unknown action or key, a bad regular expression, or a chance that is none.
        """
        values = dict(description)
        match = values.pop("match", {})
        values.update(match)
        unknown = set(values) - {each.name for each in fields(Fault)} | (set(values) & _OURS)
        if unknown:
            raise ValueError(f"unknown fault keys: {', '.join(sorted(unknown))}")
        if values.get("action") not in ACTIONS:
            raise ValueError(f"unknown action {values.get('action')!r}; known: {', '.join(ACTIONS)}")
        try:
            re.compile(values.get("path_regex", ""))
        except re.error as error:
            raise ValueError(f"bad path_regex: {error}") from error
        if not 0.0 <= float(values.get("probability", 1.0)) <= 1.0:
            raise ValueError(f"bad probability {values['probability']!r}: it lies between 0 and 1")
        fault = Fault(**values)
        fault.method = fault.method.upper()
        with self._lock:
            fault.id = next(self._ids)
            self._faults.append(fault)
        return fault

    def take(self, actions: tuple[str, ...], method: str, path: str) -> Fault | None:
        """The first rule with one of these actions that applies, counted as used."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if fault.action in actions and fault.applies(method, path):
                    fault.used += 1
                    return fault
        return None

    def clear(self) -> None:
        """End all rules."""
        with self._lock:
            self._faults.clear()

    def active(self) -> list[dict[str, Any]]:
        """The rules and how often each was used."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]
