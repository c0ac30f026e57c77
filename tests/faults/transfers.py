"""Campaigns of uploads and downloads: what arrives is compared byte for byte, whatever the task says."""

from __future__ import annotations

import random
import time
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
    judge_jobs_of_operation,
    judge_remains,
    judge_secrets,
    judge_transfer_jobs,
)
from tests.faults.miniature import Lane, Task
from tests.faults.reader import reader_of
from tests.faults.transfer_scenarios import TransferPlan, TransferScenario

OLD = b"what was there before"

_HALF_WITHIN = 10.0


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
                **({"atomic": True} if self.plan.atomic else {}),
            },
            site.folder / "tasks" / self.name,
            # A key, so that downloads can be deferred too.
            {**site.env, "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY},
            # The server's own jobs do not repeat what failed: each fault that they meet costs a try.
            retries=12,
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
        if not self.plan.atomic:
            self.outcome = self.task.live(lane)
            return
        self.target.write_bytes(OLD)
        with reader_of(self.target, (OLD, self.content), self.remains, name=self.name):
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
        for kind in ("wrong_bytes", "orphans", "lost"):
            setattr(findings, kind, getattr(findings, kind) + getattr(self.remains, kind))
        findings.notes += self.remains.notes
        judge_file(
            findings,
            name=self.name,
            outcome=self.outcome,
            target=self.target,
            content=self.content,
            refusal=self.refusal,
            before=OLD if self.plan.atomic else None,
        )
        if self.plan.atomic:
            jobs = self.server.jobs(mentioning=str(self.target))
            judge_jobs_of_operation(findings, name=self.name, jobs=jobs)
        count_deaths(findings, self.task.history)
        findings.trouble += sum(room is not None and room < self.plan.size for room in self.plan.room)
        logs = [path for path in self.task.folder.iterdir() if path.is_file()]
        judge_secrets(findings, logs, self.secrets)
        judge_history(findings, self.name, self.task.history, self.secrets)
