"""Campaigns of uploads and downloads: what arrives is compared byte for byte, whatever the task says."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.client.transferring import client_of
from tests.faults.campaign import FERNET_KEY, Site, do_all, settled_jobs
from tests.faults.judge import (
    ENDED,
    Findings,
    count_deaths,
    judge_file,
    judge_history,
    judge_remains,
    judge_secrets,
    judge_transfer_jobs,
)
from tests.faults.miniature import Lane, Task
from tests.faults.scenarios import CHANCE, CLOCKS, Scenario

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

_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"""
_EXPIRED = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"""
# By `scancel`, or a Clear, after the worker's death; by a user's Clear while deferred; by `scancel`.
ENDINGS = ("dead and cancelled", "dead and cleared", "cleared", "cancelled")
_HALF_WITHIN = 10.0

_BEGIN = r"/transfer/(upload|download)$|/storage/xfer-external/(upload|download)$"
_UPLOADS = r"/(transfer|ops|xfer-external|utilities)/upload$"
NO_SPACE = "no space left|file too large|failed"
# S3's own digest of other bytes.
_OTHER = {"ETag": '"0123456789abcdef0123456789abcdef"'}


@dataclass(frozen=True)
class TransferPlan:
    """What happens to one transfer.

    :ivar ended: how the first try of an upload ends while the server's job writes; "" for not so.
    """

    upload: bool
    size: int
    crashes: tuple[str, ...] = ()
    deferrable: bool = True
    room: tuple[int | None, ...] = ()
    clock: tuple[float, ...] = ()
    ended: str = ""


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


def run_transfer_campaign(
    site: Site, scenario: TransferScenario, *, runs: int, lane: Lane, seed: int
) -> Findings:
    """Run ``runs`` uploads and downloads under a scenario; count what went wrong."""
    findings = Findings(runs=runs)
    all_runs = [_Transfer(site, scenario, seed, index) for index in range(runs)]
    findings.trouble = do_all(site, scenario, all_runs, lane=lane, seed=seed)
    judge_transfer_jobs(findings, settled_jobs(site.server))
    for each in all_runs:
        each.judge(findings)
    return findings


class _Transfer:
    """One transfer of a campaign."""

    def __init__(self, site: Site, scenario: TransferScenario, seed: int, index: int) -> None:
        chance = random.Random(f"{seed}/{site.generation}/{scenario.name}/{index}")
        self.plan: TransferPlan = scenario.plan(chance)
        self.name = f"f{seed}g{site.generation}-" + "".join(chance.choices("abcdefghij", k=8)) + f"-{index}"
        self.content = chance.randbytes(self.plan.size)
        self.outcome: dict[str, Any] = {"state": "never run"}
        self.remains, self.server = Findings(), site.server
        self.refusal = scenario.refusal
        self.secrets = [site.server.client_secret]
        there = site.server.scratch / "faults" / self.name
        here = site.folder / "files" / self.name
        kind, source, self.target = self._ways(here, there)
        self.task = Task(
            f"transfers.{kind}",
            {
                "source_path": str(source),
                "target_path": str(self.target),
                "if_exists": "overwrite",
                "poll_interval": 0.5,
                "deferrable": self.plan.deferrable,
            },
            site.folder / "tasks" / self.name,
            # A key, so that downloads can be deferred too.
            {**site.env, "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY},
            crashes=self.plan.crashes,
            room=self.plan.room,
            clock=self.plan.clock,
        )

    def _ways(self, here: Path, there: Path) -> tuple[str, Path, Path]:
        for folder in (here / "source", here / "target", there / "source", there / "target"):
            folder.mkdir(parents=True)
        name = "data.bin"
        if self.plan.upload:
            source, target = here / "source" / name, there / "target" / name
            kind = "FirecrestUploadOperator"
        else:
            source, target = there / "source" / name, here / "target" / name
            kind = "FirecrestDownloadOperator"
        source.write_bytes(self.content)
        return kind, source, target

    def live(self, lane: Lane) -> None:
        if self.plan.ended:
            self._end_in_the_middle(lane)
        self.outcome = self.task.live(lane)

    def _end_in_the_middle(self, lane: Lane) -> None:
        """One try, which ends while the server's job holds between two pieces."""
        dead = self.plan.ended.startswith("dead")
        if dead:
            self.task.die(lane, "before_defer")
        else:
            self.task.try_number += 1
            deferral = self.task.begin(lane)
        self._wait_for_a_piece()
        if self.plan.ended.endswith("cancelled"):
            self._scancel()
        if self.plan.ended == "cleared" and deferral["state"] == "deferred":
            self.task.kill(lane, deferral)
        elif not dead:
            self.task.go_on(lane, deferral)
        if not dead:
            judge_remains(self.remains, name=self.name, target=self.target, content=self.content)
        if self.plan.ended.endswith("cleared"):
            self.task.clear()

    def _wait_for_a_piece(self) -> None:
        """Wait until the job is in the middle; or, where it was not held, has written the whole file."""
        deadline = time.monotonic() + _HALF_WITHIN
        while time.monotonic() < deadline:
            if self.target.exists() and (len(list(self.target.parent.iterdir())) > 1 or self._is_whole()):
                return
            time.sleep(0.05)

    def _is_whole(self) -> bool:
        return self.target.exists() and self.target.stat().st_size == self.plan.size

    def _scancel(self) -> None:
        with client_of(self.server) as client:
            for job in self.server.jobs(mentioning=str(self.target)):
                if job["state"] not in ENDED:
                    client.cancel_job(job["id"])

    def judge(self, findings: Findings) -> None:
        for kind in ("wrong_bytes", "orphans"):
            setattr(findings, kind, getattr(findings, kind) + getattr(self.remains, kind))
        findings.notes += self.remains.notes
        judge_file(
            findings,
            name=self.name,
            outcome=self.outcome,
            target=self.target,
            content=self.content,
            refusal=self.refusal,
        )
        count_deaths(findings, self.task.history)
        findings.trouble += sum(room is not None and room < self.plan.size for room in self.plan.room)
        logs = [path for path in self.task.folder.iterdir() if path.is_file()]
        judge_secrets(findings, logs, self.secrets)
        judge_history(findings, self.name, self.task.history, self.secrets)
