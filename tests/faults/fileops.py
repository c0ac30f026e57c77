"""Campaigns of operations on files that stay on the system: the trees on its disk tell what happened."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.campaign import FERNET_KEY, Site, do_all, settled_jobs
from tests.faults.judge import (
    Findings,
    count_deaths,
    digest,
    judge_history,
    judge_jobs_of_operation,
    judge_outcome,
    judge_secrets,
    judge_tree,
)
from tests.faults.miniature import Lane, Task
from tests.faults.scenarios import BOUNDARIES, CHANCE, CLOCKS, HTML, JSON, SUBMIT, Scenario

KINDS = ("mkdir", "mkdir -p", "cp", "mv", "rm", "rename", "small rm")
_SMALL = 3_000

# What changes files: v2's direct calls and jobs, v1's, and the submits of batch jobs.
CHANGES = (
    r"^/v2/filesystem/[^/]+/(ops/(mkdir|rm)|transfer/(mv|cp|rm))$"
    r"|^/v1/(utilities/(mkdir|rename|copy|rm)|storage/xfer-internal/(rename|mv|copy|cp|rm|rsync))$|"
) + SUBMIT
# An answer to a call that makes something can be lost for good: then nobody can know, and nothing is risked.
UNKNOWN = r"may have happened|is not known whether|already exists|exists on|There is something of that name"


@dataclass(frozen=True)
class FileopPlan:
    """What happens to one operation.

    :ivar kind: one of :data:`KINDS`.
    :ivar directory: a whole directory and not a file.
    :ivar by_job: a job is asked for, where there would be a quicker way.
    """

    kind: str
    directory: bool = False
    by_job: bool = False
    deferrable: bool = True
    size: int = _SMALL
    crashes: tuple[str, ...] = ()
    clock: tuple[float, ...] = ()


def _any(chance: random.Random, **more: Any) -> FileopPlan:
    return FileopPlan(
        **{
            "kind": chance.choice(KINDS),
            "directory": chance.random() < 0.5,
            "by_job": chance.random() < 0.5,
            "deferrable": chance.random() < 0.5,
            **more,
        }
    )


def _big_copies(chance: random.Random) -> FileopPlan:
    return _any(chance, kind="cp", size=200_000)


def _killed(chance: random.Random) -> FileopPlan:
    """The small operations have no such guarantee: they are over at once."""
    kind = chance.choice(("cp", "mv", "rm"))
    return _any(chance, kind=kind, by_job=True, crashes=(chance.choice(BOUNDARIES),))


def changes(action: str, **details: Any) -> Mapping[str, Any]:
    """A fault of three in ten of the calls that change something."""
    return {"action": action, "path_regex": CHANGES, "probability": CHANCE, **details}


@dataclass(frozen=True)
class FileopScenario(Scenario):
    """One row of the table, about operations on the system's files.

    :ivar may_fail: jobs fail, and are followed by others.
    """

    plan: Callable[[random.Random], Any] = field(default=_any)
    share: float = 0.5
    may_fail: bool = False


FILEOP_SCENARIOS = (
    FileopScenario("files there: answers lost", (changes("lose_answer"),), refusal=UNKNOWN),
    FileopScenario(
        "files there: 500 and 502 after acting",
        (
            changes("status_after_acting", status=500, probability=0.15, **JSON),
            changes("status_after_acting", status=502, probability=0.15, **HTML),
        ),
        refusal=UNKNOWN,
    ),
    FileopScenario(
        "files there: 503 and lines that break before acting",
        (changes("status", probability=0.15), changes("drop", probability=0.15)),
        refusal=UNKNOWN,
    ),
    FileopScenario(
        "files there: tasks of v1 fail although the job is submitted",
        (changes("task_400_although_submitted"),),
        only=1,
        refusal=UNKNOWN,
    ),
    FileopScenario("files there: worker killed", (), _killed),
    FileopScenario("files there: worker killed and answers lost", (changes("lose_answer"),), _killed),
    FileopScenario(
        "files there: no room for a copy",
        ({"action": "disk_full", "path_regex": CHANGES, "probability": 0.5, "body": 100 * 1024},),
        _big_copies,
        refusal="File too large|no space left|failed|exists on",
        may_fail=True,
    ),
    FileopScenario(
        "files there: our clock jumps",
        (changes("lose_answer"),),
        lambda chance: _any(chance, clock=CLOCKS["jumps"]),
        share=0.25,
        refusal=UNKNOWN,
    ),
)


def run_fileop_campaign(
    site: Site, scenario: FileopScenario, *, runs: int, lane: Lane, seed: int
) -> Findings:
    """Run ``runs`` operations under a scenario; count what went wrong."""
    findings = Findings(runs=runs)
    all_runs = [_Operation(site, scenario, seed, index) for index in range(runs)]
    findings.trouble = do_all(site, scenario, all_runs, lane=lane, seed=seed)
    settled_jobs(site.server)
    for each in all_runs:
        each.judge(findings, site)
    return findings


class _Operation:
    """One operation of a campaign, in a directory of its own with a neighbour that is nobody's business."""

    def __init__(self, site: Site, scenario: FileopScenario, seed: int, index: int) -> None:
        chance = random.Random(f"{seed}/{site.generation}/{scenario.name}/{index}")
        self.plan: FileopPlan = scenario.plan(chance)
        self.name = f"o{seed}g{site.generation}-" + "".join(chance.choices("abcdefghij", k=8)) + f"-{index}"
        self.refusal, self.may_fail = scenario.refusal, scenario.may_fail
        self.outcome: dict[str, Any] = {"state": "never run"}
        self.secrets = [site.server.client_secret]
        self.directory = site.server.scratch / "faults" / self.name
        self.directory.mkdir(parents=True)
        source = self.directory / "source"
        if self.plan.directory:
            source.mkdir()
        for name in ("source/a", "source/b", "source/c") if self.plan.directory else ("source",):
            (self.directory / name).write_bytes(chance.randbytes(self.plan.size))
        (self.directory / "neighbour").write_text("stays")
        self.before = tree(self.directory)
        operator, arguments = self._ways()
        self.task = Task(
            operator,
            arguments,
            site.folder / "tasks" / self.name,
            # A key, so that what a retry needs can be kept.
            {**site.env, "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY},
            crashes=self.plan.crashes,
            clock=self.plan.clock,
        )

    def _ways(self) -> tuple[str, dict[str, Any]]:
        source, target = str(self.directory / "source"), str(self.directory / "target")
        small = {"mkdir": "mkdir", "mkdir -p": "mkdir", "rename": "rename", "small rm": "rm"}
        kind = self.plan.kind
        if kind in small:
            more: dict[str, Any] = {}
            if kind == "rename":
                more = {"target_path": target}
            elif kind != "small rm":
                more = {"parents": kind == "mkdir -p"}
            path = target if kind.startswith("mkdir") else source
            arguments = {"operation": small[kind], "path": path, "arguments": more}
            return "filesystem.FirecrestFilesystemOperator", arguments
        arguments = {"poll_interval": 0.3, "deferrable": self.plan.deferrable}
        if self.plan.by_job:
            arguments["job_name"] = self.name
        if kind == "rm":
            return "internal.FirecrestInternalDeleteOperator", {"path": source, **arguments}
        name = {"cp": "Copy", "mv": "Move"}[kind]
        return f"internal.FirecrestInternal{name}Operator", {
            "source_path": source,
            "target_path": target,
            **arguments,
        }

    @property
    def after(self) -> dict[str, str]:
        """What there must be once it is done."""
        kind = self.plan.kind
        if kind.startswith("mkdir"):
            return {**self.before, "target": "directory"}
        moved = {f"target{name.removeprefix('source')}": what for name, what in self.before.items()
                 if name.startswith("source")}  # fmt: skip
        others = {name: what for name, what in self.before.items() if not name.startswith("source")}
        if kind in ("rm", "small rm"):
            return others
        return {**(self.before if kind == "cp" else others), **moved}

    def live(self, lane: Lane) -> None:
        self.outcome = self.task.live(lane)

    def judge(self, findings: Findings, site: Site) -> None:
        done = judge_outcome(findings, name=self.name, outcome=self.outcome, refusal=self.refusal)
        # Of a refused operation nobody knows whether it happened; but it did so wholly, or not at all.
        allowed = [self.after] if done else [self.after, self.before]
        judge_tree(
            findings, name=f"{self.name} ({self.plan.kind})", found=tree(self.directory), allowed=allowed
        )
        jobs = site.server.jobs(mentioning=str(self.directory))
        if not self.may_fail:
            judge_jobs_of_operation(findings, name=self.name, jobs=jobs)
        count_deaths(findings, self.task.history)
        logs = [path for path in self.task.folder.iterdir() if path.is_file()]
        judge_secrets(findings, logs, self.secrets)
        judge_history(findings, self.name, self.task.history, self.secrets)


def tree(directory: Path) -> dict[str, str]:
    """Every name below a directory, with the digest of its content."""
    return {
        str(path.relative_to(directory)): "directory" if path.is_dir() else digest(path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if ".firecrest-claims" not in path.parts
    }
