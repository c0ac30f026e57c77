"""The file name patterns of ``--output``, ``--error`` and ``--input``: ``%j``, ``%A``, ``%a``, ``%x``, ...

Knows: sbatch's replacement symbols. Must not know: jobs beyond the few values it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

# What Slurm prints where a job is no array element (NO_VAL).
NO_INDEX = 4294967294


@dataclass(frozen=True)
class FileNameValues:
    """The values a pattern may refer to."""

    job_id: str
    array_job_id: str
    task_index: int
    name: str
    user: str
    node: str


def expand(pattern: str, values: FileNameValues, working_dir: str) -> str:
    """The absolute file name a pattern stands for.

    A backslash anywhere switches the replacement off (sbatch(1), "filename pattern").
    """
    name = pattern.replace("\\", "") if "\\" in pattern else re.sub(r"%(\d*)(.)", _replacer(values), pattern)
    return str(PurePosixPath(working_dir) / name)


def _replacer(values: FileNameValues) -> Callable[[re.Match[str]], str]:
    numbers = {
        "j": values.job_id,
        "J": values.job_id,
        "A": values.array_job_id,
        "a": str(values.task_index),
        "n": "0",
        "t": "0",
    }
    words = {"x": values.name, "u": values.user, "N": values.node, "s": "batch", "%": "%"}

    def replace(match: re.Match[str]) -> str:
        width, symbol = match.groups()
        if symbol in numbers:
            # Slurm pads to at most ten digits.
            return numbers[symbol].zfill(min(int(width or 0), 10))
        return words.get(symbol, match.group(0))

    return replace


def default_output(*, is_array: bool) -> str:
    """Where standard output goes when nobody says."""
    return "slurm-%A_%a.out" if is_array else "slurm-%j.out"
