"""What every batch script of a transfer in steps begins and ends with. Pure functions on text.

A job works in the transfer's directory (``workdir``). It claims that first, so that of two copies only one
works; it writes what it found to ``report`` there and what went wrong to ``log``, and ends with an honest
exit code. Bash and the GNU tools are all it needs. Must not know what a job does (``directories.tree_jobs``,
``atomic.place_job``).
"""

from __future__ import annotations

import re
import shlex

from ... import paths
from ...errors import InvalidRequestError

REPORT, LOG, CLAIM = "report", "log", "claim/job"

REFUSED = 65
"""Exit code: the job looked and said no; its report says why, under a key of its own."""

TAKEN = 75
"""Exit code: another job with the same directory was first; its claim says which."""

_TIME = re.compile(r"(\d+-)?\d{1,2}(:\d{2}){1,2}|\d+")

START = r"""
set -euo pipefail
export LC_ALL=C
# After a lost answer, or a crash before it was noted, the same script may have been submitted twice. The
# later job must not touch the log of the one that works.
mkdir "$work/claim" 2>/dev/null || exit 75
printf '%s\n' "${SLURM_JOB_ID:-}" > "$work/claim/job"
exec > "$work/log" 2>&1

tell() { printf '%s\n' "$1" >> "$work/report.new"; }
say_no() { tell "$1=$2"; mv "$work/report.new" "$work/report"; echo "$2"; exit 65; }
refuse() { say_no refused "$1"; }
"""

END = r"""
tell "end=yes"
mv "$work/report.new" "$work/report"
"""


def header(time_limit: str, values: dict[str, str]) -> str:
    """Return the first lines: the scheduler's, and the script's variables.

    :param time_limit: of the job.
    :param values: the variables, quoted here.
    """
    # A requeued job would meet what its first half left; the task starts over instead.
    directives = f"#SBATCH --nodes=1 --ntasks=1 --no-requeue --time={time_limit}"
    settings = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"#!/bin/bash\n{directives}\n{settings}\n"


def check_time_limit(value: str) -> str:
    """Return a time limit that Slurm understands.

    :raises InvalidRequestError: it is none.
    """
    if not _TIME.fullmatch(value):
        raise InvalidRequestError(f"time_limit: {value!r} is not a time such as 02:00:00.")
    return value


def read_report(text: str) -> dict[str, str]:
    """Return what a job found, by key; without ``end`` or a no it did not get to its end."""
    lines = (line.partition("=") for line in text.splitlines())
    return {key: value for key, equals, value in lines if equals}


def path_in(work: str, name: str) -> str:
    """Return the path of a file in a job's own directory."""
    return paths.join(work, name)
