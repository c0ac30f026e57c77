"""The judge sees what must never be: each count rises for its own kind of failure, and for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.judge import (
    Findings,
    judge_claims,
    judge_file,
    judge_history,
    judge_job,
    judge_jobs_of_operation,
    judge_outcome,
    judge_transfer_jobs,
    judge_tree,
    secrets_in,
)

SUCCESS = {"state": "success", "result": {"job_id": "7"}}


def job(name: str = "mine-af0", job_id: str = "7", state: str = "COMPLETED", left: bool = False) -> Any:
    return {"id": job_id, "name": name, "state": state, "processes_left": left}


def counts(findings: Findings) -> dict[str, int]:
    kinds = ("duplicates", "lost", "wrong_bytes", "orphans", "leaks")
    return {kind: getattr(findings, kind) for kind in kinds if getattr(findings, kind)}


@pytest.mark.parametrize(
    ("lines", "outcome", "jobs", "expected"),
    [
        (["7"], SUCCESS, [job()], {}),
        (["7", "8"], {**SUCCESS, "result": {"job_id": "8"}}, [job()], {"duplicates": 1}),
        ([], SUCCESS, [job()], {"lost": 1}),
        (["8"], SUCCESS, [job()], {"lost": 1}),
        (["7"], {"state": "failed", "error": "x"}, [job()], {"lost": 1}),
        (["7"], SUCCESS, [job(), job(job_id="8", state="RUNNING")], {"orphans": 1}),
        (["7"], SUCCESS, [job(state="COMPLETED", left=True)], {"orphans": 1}),
        (["7"], SUCCESS, [job(), job(name="somebody else's", state="RUNNING")], {}),
    ],
)
def test_jobs(
    tmp_path: Path, lines: list[str], outcome: Any, jobs: list[Any], expected: dict[str, int]
) -> None:
    effects = tmp_path / "effects"
    effects.write_text("".join(f"{line} \n" for line in lines))
    findings = Findings()
    judge_job(findings, name="mine", outcome=outcome, effects=effects, jobs=jobs)
    assert counts(findings) == expected
    assert findings.clean is not bool(expected)


def test_each_element_of_an_array_is_counted(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.write_text("7 0\n7 1\n7 1\n")
    findings = Findings()
    judge_job(findings, name="m", outcome=SUCCESS, effects=effects, jobs=[], elements=(0, 1, 2))
    assert counts(findings) == {"duplicates": 1, "lost": 1}


def test_a_claim_must_be_held_by_the_job_that_ran(tmp_path: Path) -> None:
    claims = tmp_path / ".firecrest-claims"
    claims.mkdir()
    (claims / "af0123").write_text("7\n")
    effects = tmp_path / "effects"
    for line, expected in (("7", {}), ("8", {"lost": 1})):
        effects.write_text(f"{line} \n")
        findings = Findings()
        judge_claims(findings, name="m", folder=tmp_path, effects=effects)
        assert counts(findings) == expected


@pytest.mark.parametrize(
    ("content", "litter", "outcome", "expected"),
    [
        (b"right", None, "success", {}),
        (b"wrong", None, "success", {"wrong_bytes": 1}),
        (b"wrong", None, "failed", {"wrong_bytes": 1, "lost": 1}),
        (None, None, "success", {"lost": 1}),
        (b"right", ".data.part", "success", {"orphans": 1}),
    ],
)
def test_files(
    tmp_path: Path, content: bytes | None, litter: str | None, outcome: str, expected: dict[str, int]
) -> None:
    target = tmp_path / "data"
    if content is not None:
        target.write_bytes(content)
    if litter:
        (tmp_path / litter).touch()
    findings = Findings()
    judge_file(findings, name="m", outcome={"state": outcome}, target=target, content=b"right")
    assert counts(findings) == expected


@pytest.mark.parametrize(
    ("content", "outcome", "expected"),
    [
        (b"old", "failed", {"lost": 1}),
        (b"right", "failed", {"lost": 1}),
        (b"half", "failed", {"lost": 1, "wrong_bytes": 1}),
        (b"old", "success", {"wrong_bytes": 1}),
        (b"right", "success", {}),
    ],
)
def test_a_file_that_was_there_before_may_be_left_by_a_task_that_fails(
    tmp_path: Path, content: bytes, outcome: str, expected: dict[str, int]
) -> None:
    target = tmp_path / "data"
    target.write_bytes(content)
    findings = Findings()
    ended = {"state": outcome, "error": ""}
    judge_file(findings, name="m", outcome=ended, target=target, content=b"right", before=b"old")
    assert counts(findings) == expected


def test_a_transfer_job_that_runs_on_is_an_orphan() -> None:
    findings = Findings()
    judge_transfer_jobs(findings, [job("IngressFileTransfer"), job("OutgressFileTransfer", state="RUNNING")])
    assert counts(findings) == {"orphans": 1}


@pytest.mark.parametrize(
    "text",
    [
        "X-Amz-Signature=0123456789abcdef",
        "https%3A%2F%2Fs3%2Fx%3FX-Amz-Signature%3D0123456789abcdef",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln",
        "top%20secret%2Fvalue",
    ],
)
def test_secrets_are_found_plain_and_url_encoded(text: str) -> None:
    assert secrets_in(f"... {text} ...".encode(), ["top secret/value"])
    findings = Findings()
    judge_history(findings, "m", [{"error": text}], ["top secret/value"])
    assert findings.leaks


def test_what_is_no_secret_is_not_taken_for_one() -> None:
    assert secrets_in(b"X-Amz-Signature=*** eyJ nothing here, Bearer ***", ["top secret/value"]) == []


def failed(error: str) -> dict[str, Any]:
    return {"state": "failed", "for_good": True, "error": error}


@pytest.mark.parametrize(
    ("outcome", "refusal", "lost", "done"),
    [
        ({"state": "success", "result": None}, "", 0, True),
        (failed("no space left"), "", 1, False),
        (failed("There is no space left for it."), "no SPACE left", 0, False),
        (failed("who knows"), "no space left", 1, False),
        ({"state": "crashed", "status": -9}, "", 1, False),
    ],
)
def test_a_task_that_does_not_succeed_is_lost_unless_it_says_why(
    outcome: dict[str, Any], refusal: str, lost: int, done: bool
) -> None:
    findings = Findings()
    assert judge_outcome(findings, name="t", outcome=outcome, refusal=refusal) is done
    assert findings.lost == lost


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ({"a": "1", "b": "2"}, (0, 0, 0)),
        ({"a": "1"}, (0, 0, 0)),
        ({"a": "1", "b": "3"}, (1, 0, 0)),
        ({"b": "2"}, (0, 1, 0)),
        ({"a": "1", "b": "2", "b/copy": "2", ".part": "4"}, (0, 0, 2)),
    ],
    ids=["as it must be", "as it may be", "wrong", "missing", "too much"],
)
def test_a_tree_that_is_not_one_of_those_allowed_is_told_name_by_name(
    found: dict[str, str], counts: tuple[int, int, int]
) -> None:
    findings = Findings()
    judge_tree(findings, name="t", found=found, allowed=[{"a": "1", "b": "2"}, {"a": "1"}])
    assert (findings.wrong_bytes, findings.lost, findings.orphans) == counts


def test_a_second_job_that_came_to_its_end_is_a_duplicate_and_one_that_runs_an_orphan() -> None:
    states = ("COMPLETED", "CANCELLED", "COMPLETED", "RUNNING")
    jobs = [
        {"id": str(number), "state": state, "processes_left": False} for number, state in enumerate(states)
    ]
    findings = Findings()
    judge_jobs_of_operation(findings, name="t", jobs=jobs)
    assert (findings.duplicates, findings.orphans) == (1, 1)
