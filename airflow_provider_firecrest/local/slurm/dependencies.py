"""``--dependency``: what a job waits for.

Knows: the notation and the logic of and/or. Must not know: how jobs run; it is told how each one stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

_KINDS = ("after", "afterany", "afterok", "afternotok", "aftercorr", "afterburstbuffer", "singleton")


class Verdict(Enum):
    """Whether something that is waited for has come."""

    YES = "yes"
    NOT_YET = "not yet"
    NEVER = "never"


@dataclass(frozen=True)
class Condition:
    """One condition: a kind, and the job it looks at ("" for singleton)."""

    kind: str
    job_id: str = ""


@dataclass(frozen=True)
class Dependency:
    """Conditions, all of which (or, written with "?", one of which) must hold."""

    conditions: tuple[Condition, ...]
    any_of: bool = False

    def verdict(self, judge: Callable[[Condition], Verdict]) -> Verdict:
        """What the conditions say together."""
        verdicts = [judge(condition) for condition in self.conditions]
        if self.any_of:
            return _combine(verdicts, decisive=Verdict.YES, otherwise=Verdict.NEVER)
        return _combine(verdicts, decisive=Verdict.NEVER, otherwise=Verdict.YES)


def _combine(verdicts: list[Verdict], *, decisive: Verdict, otherwise: Verdict) -> Verdict:
    if decisive in verdicts:
        return decisive
    return Verdict.NOT_YET if Verdict.NOT_YET in verdicts else otherwise


def parse_dependency(text: str) -> Dependency:
    """Read a ``--dependency`` value: ``afterok:1:2,afterany:3`` (all), ``afterok:1?afterok:2`` (one).

    Raises:
        ValueError: unknown kind, no job id, or "," and "?" mixed.
    """
    if "," in text and "?" in text:
        raise ValueError(f"no dependency: {text!r}")
    any_of = "?" in text
    conditions: list[Condition] = []
    for part in re.split(r"[,?]", text.strip()):
        conditions.extend(_conditions(part.strip()))
    return Dependency(tuple(conditions), any_of)


def _conditions(part: str) -> list[Condition]:
    kind, *ids = part.split(":")
    if kind.isdigit() and not ids:
        return [Condition("afterany", kind)]
    if kind not in _KINDS or (kind == "singleton") == bool(ids):
        raise ValueError(f"no dependency: {part!r}")
    if kind == "singleton":
        return [Condition(kind)]
    return [Condition(kind, _job_id(job_id)) for job_id in ids]


def _job_id(text: str) -> str:
    match = re.fullmatch(r"(\d+(?:_\d+|_\*)?)(?:\+\d+)?", text)
    if match is None:
        raise ValueError(f"no dependency: {text!r}")
    return match.group(1).removesuffix("_*")
