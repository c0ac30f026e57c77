"""What goes wrong in a campaign of uploads and downloads: plans by seeded chance, and the rows of the table.

Must not know how a transfer is run or judged (``transfers``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.scenarios import CHANCE, CLOCKS, JSON, Scenario, submits

# Above the limit of the direct calls (5 MiB), so that the object storage carries it; direct; empty.
SIZES = (5 * 1024 * 1024 + 1, 5 * 1024 * 1024 + 1, 5 * 1024 * 1024 + 1, 4321, 0)
POINTS = (
    "during_parts",
    "before_complete_upload",
    "after_complete_upload",
    "during_ranges",
    "after_store",
    "before_defer",
    "in_execute_complete",
    "before_rename",
    "after_rename",
)

ATOMIC_POINTS = (
    "after_mkdir",
    "during_parts",
    "after_complete_upload",
    "after_sending",
    "before_submit",
    "after_post",
    "after_store",
    "before_defer",
    "in_execute_complete",
    "before_clearing",
    "after_clearing",
)

_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"""
_EXPIRED = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"""
# By `scancel`, or a Clear, after the worker's death; by a user's Clear while deferred; by `scancel`.
ENDINGS = ("dead and cancelled", "dead and cleared", "cleared", "cancelled")

_BEGIN = r"/transfer/(upload|download)$|/storage/xfer-external/(upload|download)$"
_UPLOADS = r"/(transfer|ops|xfer-external|utilities)/upload$"
NO_SPACE = "no space left|file too large|failed"
# S3's own digest of other bytes.
_OTHER = {"ETag": '"0123456789abcdef0123456789abcdef"'}


@dataclass(frozen=True)
class TransferPlan:
    """What happens to one transfer.

    :ivar ended: how the first try of an upload ends while the server's job writes; "" for not so.
    :ivar atomic: an upload over a file that somebody reads all the time.
    """

    upload: bool
    size: int
    crashes: tuple[str, ...] = ()
    deferrable: bool = True
    room: tuple[int | None, ...] = ()
    clock: tuple[float, ...] = ()
    ended: str = ""
    atomic: bool = False


def _any(chance: random.Random, **more: Any) -> TransferPlan:
    return TransferPlan(
        **{
            "upload": chance.random() < 0.5,
            "size": chance.choice(SIZES),
            "deferrable": chance.random() < 0.7,
            **more,
        }
    )


def _little_room(chance: random.Random) -> TransferPlan:
    """A try on a disk that is too full, then one on a disk that somebody has cleared."""
    return _any(chance, upload=False, room=(2 << 20, None))


def _by_clock(clock: tuple[float, ...]) -> Callable[[random.Random], TransferPlan]:
    return lambda chance: _any(chance, crashes=(chance.choice(("", *POINTS)),), clock=clock)


def _killed(chance: random.Random) -> TransferPlan:
    return _any(chance, crashes=(chance.choice(POINTS),))


def _ended_in_the_middle(chance: random.Random) -> TransferPlan:
    ended = chance.choice(ENDINGS)
    return _any(chance, upload=True, size=SIZES[0], deferrable=True, ended=ended)


def _atomic(chance: random.Random, **more: Any) -> TransferPlan:
    return _any(chance, upload=True, atomic=True, **more)


def _atomic_killed(chance: random.Random) -> TransferPlan:
    return _atomic(chance, crashes=tuple(chance.sample(ATOMIC_POINTS, 2)))


def storage(action: str, method: str, **details: Any) -> Mapping[str, Any]:
    """A fault of three requests in ten to the object store."""
    return {"action": action, "method": method, "path_regex": "^/s3/", "probability": CHANCE, **details}


def begins(action: str, **details: Any) -> Mapping[str, Any]:
    """A fault of three transfers in ten, when they are asked for."""
    return {"action": action, "method": "POST", "path_regex": _BEGIN, "probability": CHANCE, **details}


@dataclass(frozen=True)
class TransferScenario(Scenario):
    """One row of the table, about files."""

    plan: Any = field(default=_any)
    share: float = 0.5


TRANSFER_SCENARIOS = (
    TransferScenario("transfers: worker killed", (), _killed),
    TransferScenario("transfers: answers lost at the beginning", (begins("lose_answer"),)),
    TransferScenario(
        "transfers: parts answered 503", (storage("status", "PUT", probability=0.1), storage("status", "GET"))
    ),
    TransferScenario("transfers: bits turned on the way there", (storage("bit_flip_upload", "PUT"),), only=2),
    TransferScenario(
        "transfers: bits turned on the way back", (storage("bit_flip", "GET", probability=0.15),)
    ),
    TransferScenario("transfers: bodies cut short", (storage("truncate", "GET"),)),
    TransferScenario(
        "transfers: 200 with an error in it",
        (storage("status", "POST", status=200, body=_ERROR),),
        only=2,
    ),
    TransferScenario(
        "transfers: success without a file", (begins("ingress_says_success_without_file"),), only=2
    ),
    TransferScenario(
        "transfers: parts acknowledged with another digest",
        (storage("status", "PUT", status=200, headers=_OTHER, probability=0.15),),
        only=2,
    ),
    TransferScenario(
        "transfers: objects that change while they are fetched",
        (
            storage("object_changes", "GET", probability=0.1),
            storage("object_shrinks", "GET", probability=0.1),
        ),
    ),
    TransferScenario(
        "transfers: addresses refused as ended",
        tuple(
            # The server's own jobs do not try twice.
            storage("status", method, probability=0.1, status=403, body=_EXPIRED)
            for method in ("PUT", "POST", "GET")
        ),
    ),
    # What is late comes after the end of its address; on a busy machine everything is late.
    TransferScenario(
        "transfers: addresses that end on the way",
        tuple(storage("delay", method, probability=0.1, delay_s=4.0) for method in ("PUT", "POST", "GET")),
        server={"url_ttl": 3},
        refusal="presigned URL has expired",
    ),
    TransferScenario(
        "transfers: upload ended while the job writes",
        (begins("ingress_holds", probability=0.8, delay_s=2.0),),
        _ended_in_the_middle,
        only=2,
    ),
    TransferScenario("transfers: atomic upload, worker killed", (), _atomic_killed, only=2),
    TransferScenario(
        "transfers: atomic upload, answers lost",
        (begins("lose_answer"), submits("lose_answer"), submits("status_after_acting", status=500, **JSON)),
        _atomic,
        only=2,
    ),
    TransferScenario(
        "transfers: atomic upload, bits turned on the way there",
        (storage("bit_flip_upload", "PUT"), storage("bit_flip", "GET", probability=0.15)),
        lambda chance: _atomic(chance, size=SIZES[0]),
        only=2,
    ),
    TransferScenario("transfers: no room on our disk", (), _little_room, refusal=NO_SPACE),
    TransferScenario(
        "transfers: no room on the system",
        ({"action": "disk_full", "path_regex": _UPLOADS, "probability": 0.5, "body": 2048},),
        lambda chance: _any(chance, upload=True),
        refusal=NO_SPACE,
    ),
    *(
        TransferScenario(f"transfers: our clock {name}, worker killed", (), _by_clock(clock))
        for name, clock in CLOCKS.items()
    ),
)
