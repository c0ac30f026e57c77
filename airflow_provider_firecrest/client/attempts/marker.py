"""The mark that ends a job's name:

which attempt of which task it belongs to. Pure; knows nothing of Airflow.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import limits

_MARK = re.compile(r"-af([0-9a-f]{14})$")
_LONGEST_SEARCH = 64
"""Generations and ordinals looked for;

more clears or failed jobs than that of one task instance are not kept apart.
"""


@dataclass(frozen=True)
class Attempt:
    """One logical attempt of one task instance.

    :ivar identity: what names the task instance: dag, run, task, map index, connection, system.
    :ivar generation: kept by retries, raised by every clear.
    :ivar ordinal: number of jobs of this generation that ran and failed before: a retry after a failed job
        is a new attempt, a retry after a crashed worker is not.
    """

    identity: tuple[str, ...]
    generation: int
    ordinal: int = 0

    @property
    def mark(self) -> str:
        """Fourteen hexadecimal digits, the same wherever and whenever they are computed."""
        text = json.dumps([*self.identity, self.generation, self.ordinal], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:14]

    def next(self) -> Attempt:
        """Return the attempt after this one's job has failed."""
        return replace(self, ordinal=self.ordinal + 1)

    def siblings(self) -> Sequence[Attempt]:
        """Return the attempts of this generation, from this one on."""
        return [replace(self, ordinal=self.ordinal + each) for each in range(_LONGEST_SEARCH)]

    def older(self) -> Sequence[Attempt]:
        """Return the attempts of earlier generations: their jobs were given up by a clear."""
        first = max(0, self.generation - _LONGEST_SEARCH)
        return [
            Attempt(self.identity, generation, each)
            for generation in range(first, self.generation)
            for each in range(8)
        ]


LONGEST_NAME = limits.MAX_JOB_NAME - len("-af") - 14
"""Characters of a name for people that a mark leaves whole."""


def marked_name(name: str, attempt: Attempt) -> str:
    """Return a job's name with its mark at the end; a long name is cut at its end, so that the mark fits.

    :param name: the name for people.
    :param attempt: the attempt.
    """
    ending = f"-af{attempt.mark}"
    return name[: limits.MAX_JOB_NAME - len(ending)] + ending


def mark_of(name: str) -> str | None:
    """Return the mark in a job's name, or None."""
    match = _MARK.search(name)
    return match.group(1) if match else None


def plain_name(name: str) -> str:
    """Return a job's name without its mark."""
    return _MARK.sub("", name)
