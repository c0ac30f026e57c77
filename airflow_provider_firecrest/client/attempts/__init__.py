"""One effective job per logical attempt: the mark in a job's name, the fence in its script, the search for
both, and the submission that looks before it submits.

Slurm has no idempotency key, and a submit that was answered with an error may have run. So a job says by
its name which attempt it belongs to, and of two jobs of one attempt only one gets past the first line of
its script.
"""

from __future__ import annotations

from .fence import FENCED_EXIT_CODE, add_fence, claim_path
from .life import by_the_systems_clock
from .lookup import Found, cancel_older, claim_holder, decide, find, find_exactly, is_fenced, is_past
from .marker import Attempt, marked_name
from .request import JobRequest, build_request
from .submission import Memory, Submission, Submitted

__all__ = [
    "FENCED_EXIT_CODE",
    "Attempt",
    "Found",
    "JobRequest",
    "Memory",
    "Submission",
    "Submitted",
    "add_fence",
    "build_request",
    "by_the_systems_clock",
    "cancel_older",
    "claim_holder",
    "claim_path",
    "decide",
    "find",
    "find_exactly",
    "is_fenced",
    "is_past",
    "marked_name",
]
