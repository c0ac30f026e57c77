"""The fault switch: which of the next requests go wrong, and how.

Knows: matching and counting. Must not know: how answers are sent (`middleware`), job scripts
(`transfer_jobs`).

A new kind of fault is a new name in `ACTIONS` and one place that asks for it with `take`.
"""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

# Done to the HTTP exchange, by the middleware.
EXCHANGE_ACTIONS = ("status", "lose_answer", "delay", "drop")
# Done to a transfer job, when its script is written.
JOB_ACTIONS = ("file_job_does_nothing", "ingress_says_success_without_file")
# Done to a FirecREST v1 task, when the request that creates it is answered or its file is copied.
TASK_ACTIONS = (
    "task_hangs_at_100",
    "task_hangs_after_acting",
    "task_400",
    "task_400_although_submitted",
    "staging_fails",
)
ACTIONS = EXCHANGE_ACTIONS + JOB_ACTIONS + TASK_ACTIONS


@dataclass
class Fault:
    """One rule.

    Args:
        action: ``status`` answers with ``status``/``headers``/``body`` and does nothing; ``lose_answer``
            acts, then closes the connection; ``delay`` waits ``delay_s`` seconds first; ``drop`` closes the
            connection without acting; ``file_job_does_nothing`` makes a file job report success and do
            nothing; ``ingress_says_success_without_file`` the same for an upload. Of v1 tasks:
            ``task_hangs_at_100`` never goes on and does nothing, ``task_hangs_after_acting`` acts first,
            ``task_400`` ends with the text ``body`` and does nothing, ``task_400_although_submitted`` acts
            first, ``staging_fails`` makes one copy from or to the object store fail with ``status``.
        method: HTTP method it applies to, any if empty.
        path_regex: regular expression searched for in the path.
        times: how many requests it applies to; 0 means all.
    """

    action: str
    method: str = ""
    path_regex: str = ""
    times: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay_s: float = 0.0
    id: int = 0
    used: int = 0

    def applies(self, method: str, path: str) -> bool:
        """Whether this rule is for such a request and not used up."""
        left = self.times == 0 or self.used < self.times
        return left and self.method in ("", method) and re.search(self.path_regex, path) is not None


class FaultSwitch:
    """The rules in force, first match wins."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, description: dict[str, Any]) -> Fault:
        """Put a rule in force.

        Raises:
            ValueError: an unknown action or key, or a bad regular expression.
        """
        values = dict(description)
        match = values.pop("match", {})
        values.update(match)
        unknown = set(values) - {
            "action",
            "method",
            "path_regex",
            "times",
            "status",
            "headers",
            "body",
            "delay_s",
        }
        if unknown:
            raise ValueError(f"unknown fault keys: {', '.join(sorted(unknown))}")
        if values.get("action") not in ACTIONS:
            raise ValueError(f"unknown action {values.get('action')!r}; known: {', '.join(ACTIONS)}")
        try:
            re.compile(values.get("path_regex", ""))
        except re.error as error:
            raise ValueError(f"bad path_regex: {error}") from error
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
