"""Many tasks under one scenario, several at a time, and the judgement of what they left behind."""

from __future__ import annotations

import json
import queue
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_firecrest.local import LocalFirecrest
from tests.faults.judge import (
    ENDED,
    Findings,
    count_deaths,
    judge_claims,
    judge_history,
    judge_job,
    judge_secrets,
)
from tests.faults.miniature import Lane, Task
from tests.faults.scenarios import Plan, Scenario

# Quick: what waits for minutes at a real site waits for parts of a second here.
SERVER: dict[str, Any] = {
    "cpus": 16,
    "ingress_interval": 0.2,
    "v1_polling_interval": 0.2,
    "max_part_size": 2 << 20,
}
FERNET_KEY = "cFJrYzQ0bVBqbXhYZ2JrS2dqQ2FmZz09Y2ZqZ2JrS2c="
SUBMIT_JOB = "jobs.FirecrestSubmitJobOperator"
ARRAY = (0, 1)
_QUIET_WITHIN = 20.0

# Seconds that a lost job is looked for: the local server shows a job at once, or hides it on purpose. And
# pauses after a 429 that does not say how long.
TUNING: dict[str, Any] = {
    "client.attempts.submission.SHOWS_WITHIN": 2.0,
    "client.fileops.once.ADOPT_WITHIN": 4.0,
    "operators._quota.FIRST_PAUSE": 0.5,
    "client.retry.DEFAULT_DELAY": 0.3,
}

_BODY = """#!/bin/bash
echo "${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}} ${{SLURM_ARRAY_TASK_ID:-}}" >> {effects}
sleep 0.{tenths}
[ "$(wc -l < {effects})" -gt {failing} ]
"""


@dataclass(frozen=True)
class Site:
    """A running server, its connection for one API generation, and room on disk."""

    server: LocalFirecrest
    generation: int
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        connection = json.loads(self.server.conn_json)
        connection["extra"]["api_version"] = str(self.generation)
        if self.generation == 1:
            connection["host"] = self.server.base_url_v1
        # A budget as of a site that answers at once: retries of one call end after some seconds.
        connection["extra"] |= {"retry_budget": 3, "max_requests_per_second": 1000}
        return {"AIRFLOW_CONN_FIRECREST_DEFAULT": json.dumps(connection)}


def run_campaign(
    site: Site,
    scenario: Scenario,
    *,
    runs: int,
    lane: Lane,
    seed: int,
    arguments: Mapping[str, Any] | None = None,
) -> Findings:
    """Run ``runs`` tasks that submit jobs under a scenario, several abreast; count what went wrong.

    :param arguments: more arguments for the operator: safeguards switched off.
    """
    findings = Findings(runs=runs)
    all_runs = [_Run(site, scenario, seed, index, arguments or {}) for index in range(runs)]
    findings.trouble = do_all(site, scenario, all_runs, lane=lane, seed=seed)
    jobs = settled_jobs(site.server)
    for each in all_runs:
        each.judge(findings, jobs, fenced=(arguments or {}).get("fence", True))
    return findings


class Run(Protocol):
    """Something a lane can do."""

    def live(self, lane: Lane) -> None: ...


def do_all(site: Site, scenario: Scenario, runs: Sequence[Run], *, lane: Lane, seed: int) -> int:
    """Do all runs under the scenario's faults, as many at a time as the lane takes.

    :returns: how many requests met a fault.
    """
    work: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for each in runs:
        work.put(each)
    switch_on(site.server, scenario, seed)
    try:
        with ThreadPoolExecutor(lane.abreast) as threads:
            for served in [threads.submit(_serve, lane, work) for _ in range(lane.abreast)]:
                served.result()
        return sum(fault["used"] for fault in site.server.faults())
    finally:
        site.server.clear_faults()


def _serve(lane: Lane, work: queue.SimpleQueue[Run]) -> None:
    while True:
        try:
            run = work.get_nowait()
        except queue.Empty:
            return
        run.live(lane)


def switch_on(server: LocalFirecrest, scenario: Scenario, seed: int) -> None:
    """Put the scenario's faults in force, each with a seed of its own."""
    server.clear_faults()
    for number, fault in enumerate(scenario.faults):
        server.fault(**{"times": 0, "seed": seed + number, **fault})


def settled_jobs(server: LocalFirecrest) -> list[dict[str, Any]]:
    """The scheduler's list once everything has ended, or after a while."""
    deadline = time.monotonic() + _QUIET_WITHIN
    while True:
        jobs = server.jobs()
        busy = [job for job in jobs if job["state"] not in ENDED or job["processes_left"]]
        if not busy or time.monotonic() > deadline:
            return jobs
        time.sleep(0.1)


class _Run:
    """One task of a campaign."""

    def __init__(
        self, site: Site, scenario: Scenario, seed: int, index: int, arguments: Mapping[str, Any]
    ) -> None:
        chance = random.Random(f"{seed}/{site.generation}/{scenario.name}/{index}")
        self.plan: Plan = scenario.plan(chance)
        self.name = f"t{seed}g{site.generation}-" + "".join(chance.choices("abcdefghij", k=8)) + f"-{index}"
        self.directory = site.server.scratch / "faults" / self.name
        self.directory.mkdir(parents=True)
        self.effects = self.directory / "effects"
        self.secrets = [site.server.client_secret]
        self.outcome: dict[str, Any] = {"state": "never run"}
        body = _BODY.format(effects=self.effects, tenths=chance.randrange(6), failing=self.plan.failing_runs)
        self.task = Task(
            SUBMIT_JOB,
            {
                "script": body,
                "job_name": self.name,
                "working_dir": str(self.directory),
                "array": f"{ARRAY[0]}-{ARRAY[-1]}" if self.plan.array else None,
                "poll_interval": 0.5,
                "deferrable": self.plan.deferrable,
                **arguments,
            },
            site.folder / "tasks" / self.name,
            site.env,
            crashes=self.plan.crashes,
            trigger_kills=self.plan.trigger_kills,
            task_state_store=self.plan.task_state_store,
            clock=self.plan.clock,
        )

    def live(self, lane: Lane) -> None:
        self.outcome = self.task.live(lane)

    def judge(self, findings: Findings, jobs: list[dict[str, Any]], *, fenced: bool) -> None:
        judge_job(
            findings,
            name=self.name,
            outcome=self.outcome,
            effects=self.effects,
            jobs=jobs,
            elements=ARRAY if self.plan.array else None,
            expected=1 + self.plan.failing_runs,
        )
        if fenced:
            judge_claims(findings, name=self.name, folder=self.directory, effects=self.effects)
        count_deaths(findings, self.task.history)
        judge_secrets(findings, [path for path in self.task.folder.iterdir() if path.is_file()], self.secrets)
        judge_history(findings, self.name, self.task.history, self.secrets)
