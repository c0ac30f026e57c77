"""Job array notation: ``0-5``, ``1,3,7``, ``0-10:2``, each with an optional ``%limit``.

Knows: the notation, both ways. Must not know: jobs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_ARRAY_SIZE = 1001


@dataclass(frozen=True)
class ArraySpec:
    """Indices in ascending order, and how many of them may run at the same time (None: all)."""

    indices: tuple[int, ...]
    limit: int | None = None


def parse_array(text: str) -> ArraySpec:
    """Read an ``--array`` value.

    Raises:
        ValueError: not an array notation, or an index above the site's maximum (1000).
    """
    body, _, limit = text.strip().partition("%")
    if limit and not limit.isdigit():
        raise ValueError(f"no array: {text!r}")
    indices: set[int] = set()
    for part in body.strip("[]").split(","):
        indices.update(_range(part))
    if not indices or max(indices) >= MAX_ARRAY_SIZE:
        raise ValueError(f"no array: {text!r}")
    return ArraySpec(tuple(sorted(indices)), int(limit) or None if limit else None)


def _range(part: str) -> range:
    match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
    if match is None:
        raise ValueError(f"no array: {part!r}")
    first, last, step = match.groups()
    start = int(first)
    stop = int(last) if last is not None else start
    if stop < start or step == "0":
        raise ValueError(f"no array: {part!r}")
    return range(start, stop + 1, int(step or 1))


def format_indices(indices: Sequence[int], limit: int | None = None) -> str:
    """The other way round: ``2-5%2``, as sacct writes the elements that have no record of their own yet."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"{text}%{limit}" if limit else text
