"""The fence: a few lines at the top of a shell script that let only one job of an attempt go on.

Each job tries to claim the attempt's mark by a hard link to a file that already holds its id, so that a
claim never exists without its owner. All elements of one array share a claim, and a requeued job finds its
own. Who finds another's leaves with an exit code of its own (75, "temporary failure"): with 0 the duplicate
would look COMPLETED while the other still runs.
"""

from __future__ import annotations

import posixpath

from .. import script
from .marker import Attempt

FENCED_EXIT_CODE = 75

DIRECTORY = ".firecrest-claims"
"""Beside the job's working directory's other files."""

# POSIX sh. In a function, so that nothing but its two names reaches the script; no command in it can trip
# `set -e`, which the script may have in its first line (#!/bin/bash -e).
_FENCE = """\
# Of several jobs submitted for one task attempt, only the first one goes on.
firecrest_claim() {{
    mkdir -p {directory} 2>/dev/null || :
    find {directory} -type f -mtime +60 -exec rm -f {{}} + 2>/dev/null || :
    if (printf '%s\\n' "$2" > "$1.$2.$$") 2>/dev/null; then
        ln "$1.$2.$$" "$1" 2>/dev/null || :
        rm -f "$1.$2.$$" || :
    fi
    firecrest_holder=$(cat "$1" 2>/dev/null || :)
    if [ -z "$firecrest_holder" ]; then
        echo "firecrest: cannot write the claim $1; going on without it." >&2
    elif [ "$firecrest_holder" != "$2" ]; then
        echo "firecrest: job $firecrest_holder does this already; job $2 leaves." >&2
        exit {code}
    fi
}}
firecrest_claim {claim} "${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}"
unset -f firecrest_claim; unset firecrest_holder"""


def add_fence(text: str, attempt: Attempt) -> str:
    """Return a shell script with the fence after its directives, before its first command; other scripts as
    they are.

    :param text: a script with a ``#!`` line.
    :param attempt: the attempt it is submitted for.
    """
    if not script.is_shell(text):
        return text
    fence = _FENCE.format(
        directory=DIRECTORY, claim=posixpath.join(DIRECTORY, f"af{attempt.mark}"), code=FENCED_EXIT_CODE
    )
    return script.insert_before_commands(text, fence)


def claim_path(working_dir: str, attempt: Attempt) -> str:
    """Return where the claim of an attempt is: a file that holds the id of the job that goes on.

    :param working_dir: the directory the job starts in.
    :param attempt: the attempt.
    """
    return posixpath.join(working_dir, DIRECTORY, f"af{attempt.mark}")
