"""What really happened, as against what the operators say: counts of what must never be.

The witnesses are the scheduler's own job list, a file to which every run of a job appends a line, the fence's
claims on disk, and digests of files. Must not know how operators or faults work; of their names it knows the
form of a job's mark, to find claims.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"})

_TRANSFER_JOBS = re.compile(r"(In|Out)gressFileTransfer")
_SECRET = re.compile(
    rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]+|X-Amz-(?:Signature|Credential)(?:=|%3D|%253D)[0-9A-Za-z%]{6,}",
    re.IGNORECASE,
)


@dataclass
class Findings:
    """Counts of what must never be, and a line on each.

    :ivar trouble: faults of the server that took place, and workers and triggerers that died: without any,
        a campaign says nothing.
    """

    runs: int = 0
    trouble: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong_bytes: int = 0
    orphans: int = 0
    leaks: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any((self.duplicates, self.lost, self.wrong_bytes, self.orphans, self.leaks))

    def add(self, kind: str, note: str, count: int = 1) -> None:
        setattr(self, kind, getattr(self, kind) + count)
        self.notes.append(f"{kind}: {note}")


def count_deaths(findings: Findings, history: Iterable[dict[str, Any]]) -> None:
    """Count the steps of a task that died."""
    findings.trouble += sum(step["state"] == "crashed" for step in history)


def judge_job(
    findings: Findings,
    *,
    name: str,
    outcome: dict[str, Any],
    effects: Path,
    jobs: Iterable[dict[str, Any]],
    elements: Sequence[int] | None = None,
    expected: int = 1,
) -> None:
    """Judge one task that runs a job.

    :param name: beginning of the names of this task's jobs, and of nobody else's.
    :param outcome: what the task ended with.
    :param effects: the file with one line ``<job id> <element>`` for each run of the script's body.
    :param elements: elements that each run of an array has.
    :param expected: runs there should be: more than one where jobs were made to fail.
    """
    mine = [job for job in jobs if job["name"].startswith(name)]
    lines = [line.split() for line in effects.read_text().splitlines()] if effects.exists() else []
    runs = Counter(line[1] if elements else "" for line in lines)
    wanted = [str(each) for each in elements] if elements else [""]
    for element in wanted:
        if runs[element] > expected:
            findings.add(
                "duplicates", f"{name} {element} ran {runs[element]} times", runs[element] - expected
            )
        if runs[element] < expected:
            findings.add("lost", f"{name} {element} ran {runs[element]} times")
    if outcome["state"] != "success":
        findings.add("lost", f"{name}: the task ended with {outcome}")
    elif lines and (outcome["result"] or {}).get("job_id") != lines[-1][0]:
        findings.add("lost", f"{name}: job {lines[-1][0]} ran, the result tells of {outcome['result']}")
    for job in mine:
        if job["state"] not in ENDED or job["processes_left"]:
            findings.add("orphans", f"{name}: job {job['id']} is {job['state']}")


def judge_claims(findings: Findings, *, name: str, folder: Path, effects: Path) -> None:
    """Each claim in a folder must name a job that ran, and each job that ran must hold one."""
    holders = {
        path.read_text().strip() for path in folder.glob(".firecrest-claims/af*") if "." not in path.name
    }
    ran = {line.split()[0] for line in effects.read_text().splitlines()} if effects.exists() else set()
    if holders != ran:
        findings.add("lost", f"{name}: claims are held by {sorted(holders)}, but {sorted(ran)} ran")


def judge_file(
    findings: Findings,
    *,
    name: str,
    outcome: dict[str, Any],
    target: Path,
    content: bytes,
    refusal: str = "",
    before: bytes | None = None,
) -> None:
    """A file under its final name must be the right one, whatever the task says; and be there on success.

    :param refusal: as for :func:`judge_outcome`.
    :param before: what a task that fails may leave there as well.
    """
    right = [content] if before is None or outcome["state"] == "success" else [content, before]
    if target.exists() and target.read_bytes() not in right:
        findings.add("wrong_bytes", f"{name}: {target.stat().st_size} bytes instead of {len(content)}")
    if judge_outcome(findings, name=name, outcome=outcome, refusal=refusal) and not target.exists():
        findings.add("lost", f"{name}: success without a file")
    litter = [path.name for path in target.parent.iterdir() if path != target and "claims" not in path.name]
    if litter:
        findings.add("orphans", f"{name}: left beside the target: {litter}", len(litter))


def judge_remains(findings: Findings, *, name: str, target: Path, content: bytes) -> None:
    """Once whoever ends a transfer has cleared up, there is no half of a file and no piece of it."""
    if target.exists() and target.read_bytes() != content:
        findings.add("wrong_bytes", f"{name}: a half of {target.stat().st_size} bytes was left")
    pieces = sorted(path.name for path in target.parent.iterdir() if path != target)
    if pieces:
        findings.add("orphans", f"{name}: pieces were left: {pieces}", len(pieces))


def judge_outcome(findings: Findings, *, name: str, outcome: dict[str, Any], refusal: str = "") -> bool:
    """A task must succeed, or where that cannot be, say why; return whether it succeeded.

    :param refusal: regular expression of what an error says that is as good as can be; "" for none.
    """
    if outcome["state"] == "success":
        return True
    clear = refusal and outcome["state"] == "failed" and re.search(refusal, outcome["error"], re.IGNORECASE)
    if not clear:
        findings.add("lost", f"{name}: the task ended with {outcome}")
    return False


def judge_tree(
    findings: Findings, *, name: str, found: dict[str, str], allowed: Sequence[dict[str, str]]
) -> None:
    """A directory must hold what it is to hold, nothing else, and nothing wrong.

    :param found: digests by name.
    :param allowed: what it may hold.
    """
    if found in allowed:
        return
    wanted = allowed[0]
    wrong = sorted(each for each in wanted if each in found and found[each] != wanted[each])
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    for kind, names, what in (
        ("wrong_bytes", wrong, "differ"),
        ("lost", missing, "are missing"),
        ("orphans", more, "are too much"),
    ):
        if names:
            findings.add(kind, f"{name}: {', '.join(names)} {what}", len(names))


def judge_jobs_of_operation(findings: Findings, *, name: str, jobs: Iterable[dict[str, Any]]) -> None:
    """Of an operation that is done once, one job at most may have come to its end; none may be left running.

    :param jobs: those whose scripts name the operation's files.
    """
    ran = []
    for job in jobs:
        if job["state"] == "COMPLETED":
            ran.append(job["id"])
        elif job["state"] not in ENDED or job["processes_left"]:
            findings.add("orphans", f"{name}: job {job['id']} is {job['state']}")
    if len(ran) > 1:
        findings.add("duplicates", f"{name}: jobs {', '.join(ran)} did it", len(ran) - 1)


def judge_transfer_jobs(findings: Findings, jobs: Iterable[dict[str, Any]]) -> None:
    """No transfer job of the server may be left running."""
    for job in jobs:
        if _TRANSFER_JOBS.search(job["name"]) and (job["state"] not in ENDED or job["processes_left"]):
            findings.add("orphans", f"transfer job {job['id']} ({job['name']}) is {job['state']}")


def judge_secrets(findings: Findings, paths: Iterable[Path], secrets: Iterable[str]) -> None:
    """No known secret and nothing of the form of a token or a signature may be in any of the files."""
    for path in paths:
        for found in secrets_in(path.read_bytes(), secrets):
            findings.add("leaks", f"{path}: {found}")


def judge_history(
    findings: Findings, name: str, history: list[dict[str, Any]], secrets: Iterable[str]
) -> None:
    """Nor in what Airflow keeps of a task: results, events, arguments of triggers, messages."""
    for found in secrets_in(json.dumps(history).encode(), secrets):
        findings.add("leaks", f"{name}: {found} in what Airflow keeps")


def secrets_in(data: bytes, secrets: Iterable[str]) -> list[str]:
    """Descriptions, fit to be shown, of the secrets in ``data``, plain or URL-encoded."""
    found = ["a known secret" for each in secrets if any(form in data for form in _forms(each))]
    return found + [f"{match.group()[:14].decode(errors='replace')}..." for match in _SECRET.finditer(data)]


def _forms(secret: str) -> list[bytes]:
    from urllib.parse import quote, quote_plus

    forms = {secret, quote(secret, safe=""), quote_plus(secret), quote(quote(secret, safe=""), safe="")}
    return [form.encode() for form in forms]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
