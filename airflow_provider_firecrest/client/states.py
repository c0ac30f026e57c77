"""Every Slurm and PBS job state, as active, succeeded or failed.

Knows the schedulers' vocabulary and nothing else. Decides by the state's first word only (``CANCELLED by
2001``,
``CANCELLED+``), never by an exit code: CANCELLED and TIMEOUT both carry exit code 0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import Enum

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """What a state means for somebody who waits."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


SUCCEEDED = frozenset({"COMPLETED"})

FAILED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "REVOKED",
        "TIMEOUT",
    }
)

ACTIVE = frozenset(
    {
        "COMPLETING",
        "CONFIGURING",
        "EXPEDITING",
        "PENDING",
        "POWER_UP_NODE",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESIZING",
        "RESV_DEL_HOLD",
        "RUNNING",
        "SIGNALING",
        "SPECIAL_EXIT",
        "STAGE_OUT",
        "STOPPED",
        "SUSPENDED",
        "UPDATE_DB",
    }
)

# Slurm's two-letter codes (`squeue -t`) and PBS's letters. PBS "F" (finished) and "X" (subjob finished) say
# nothing of success: `models.Job` decides there by the exit code. "E" is "exiting", still active.
ABBREVIATIONS = {
    "BF": "BOOT_FAIL",
    "CA": "CANCELLED",
    "CD": "COMPLETED",
    "CF": "CONFIGURING",
    "CG": "COMPLETING",
    "DL": "DEADLINE",
    "F": "FAILED",
    "LF": "LAUNCH_FAILED",
    "NF": "NODE_FAIL",
    "OOM": "OUT_OF_MEMORY",
    "PD": "PENDING",
    "PR": "PREEMPTED",
    "R": "RUNNING",
    "RD": "RESV_DEL_HOLD",
    "RF": "REQUEUE_FED",
    "RH": "REQUEUE_HOLD",
    "RQ": "REQUEUED",
    "RS": "RESIZING",
    "RV": "REVOKED",
    "S": "SUSPENDED",
    "SE": "SPECIAL_EXIT",
    "SI": "SIGNALING",
    "SO": "STAGE_OUT",
    "ST": "STOPPED",
    "TO": "TIMEOUT",
    "B": "RUNNING",
    "E": "COMPLETING",
    "H": "PENDING",
    "M": "PENDING",
    "Q": "PENDING",
    "T": "PENDING",
    "U": "SUSPENDED",
    "W": "PENDING",
}

_warned: set[str] = set()


def normalise(state: str) -> str:
    """Return the bare state word in upper case: ``"cancelled by 2001"`` becomes ``"CANCELLED"``."""
    words = state.replace(",", " ").split()
    word = words[0].rstrip("+*").upper() if words else ""
    return ABBREVIATIONS.get(word, word)


def outcome(state: str | Iterable[str] | None) -> Outcome:
    """Say whether a state is active, succeeded or failed.

    :param state: one state, or several (newer Slurm gives flags as a list, say ``["RUNNING", "COMPLETING"]``;
        an array has one per
        element): active if any is active, else failed if any failed, else succeeded. Nothing at all is
        active.
    :returns: the outcome; an unknown state counts as active, with one warning per process, because taking a
        running job for
        finished is the worse mistake.
    """
    if state is None:
        return Outcome.ACTIVE
    if not isinstance(state, str):
        outcomes = {outcome(each) for each in state}
        for result in (Outcome.ACTIVE, Outcome.FAILED, Outcome.SUCCEEDED):
            if result in outcomes:
                return result
        return Outcome.ACTIVE
    word = normalise(state)
    if word in SUCCEEDED:
        return Outcome.SUCCEEDED
    if word in FAILED:
        return Outcome.FAILED
    if word not in ACTIVE and word not in _warned:
        _warned.add(word)
        logger.warning("Unknown job state %r: treated as active until it changes.", state[:60])
    return Outcome.ACTIVE


def is_final(state: str | Iterable[str] | None) -> bool:
    """Return True when the job will not run any more (a requeue by hand can still bring it back)."""
    return outcome(state) is not Outcome.ACTIVE
