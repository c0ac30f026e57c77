"""Marks, the choice among several jobs of one attempt, and the fence as bash runs it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import limits
from airflow_provider_firecrest.client.attempts import Attempt, Found, add_fence, decide, marked_name
from airflow_provider_firecrest.client.attempts.lookup import is_fenced
from airflow_provider_firecrest.client.attempts.marker import mark_of, plain_name
from airflow_provider_firecrest.client.errors import NotFoundError
from airflow_provider_firecrest.client.models import Job

ATTEMPT = Attempt(("dag", "run", "task", "-1", "conn", "daint"), 2)
SCRIPT = "#!/bin/bash -e\n#SBATCH --time=5\necho ran >> effects\n"


class Api:
    """Answers the look at the claim."""

    def __init__(self, claim: str | None = None) -> None:
        self.claim = claim

    def head(self, path: str, **_: Any) -> Iterator[Any]:
        yield from ()
        if self.claim is None:
            raise NotFoundError("no claim")
        return f"{self.claim}\n"


def job(job_id: str, state: str, exit_code: int | None = None) -> Job:
    return Job(job_id, "x", state, exit_code=exit_code)


def decided(*jobs: Job, claim: str | None = None) -> tuple[str | None, list[str]]:
    flow = decide(Api(claim), Found(ATTEMPT, jobs), working_dir="/w")  # type: ignore[arg-type]
    try:
        while True:
            next(flow)
    except StopIteration as done:
        ours, rest = done.value
        return (None if ours is None else ours.job_id), [each.job_id for each in rest]


@pytest.mark.parametrize(
    ("jobs", "claim", "expected"),
    [
        ((job("1", "RUNNING"), job("2", "RUNNING")), "2", ("2", ["1"])),
        ((job("1", "PENDING"), job("2", "RUNNING")), None, ("2", ["1"])),
        ((job("1", "PENDING"), job("2", "PENDING")), None, ("1", ["2"])),
        ((job("1", "CANCELLED"), job("2", "PENDING")), None, ("2", [])),
        ((job("1", "COMPLETED"), job("2", "PENDING")), None, ("1", ["2"])),
        ((job("1", "FAILED", 75), job("2", "RUNNING")), None, ("2", [])),
        ((job("1", "FAILED", 75),), None, (None, [])),
        ((job("1", "FAILED", 3),), None, ("1", [])),
    ],
    ids=[
        "the holder of the claim",
        "one that runs and is about to claim",
        "the oldest of those that wait",
        "one that waits rather than one that was cancelled",
        "one that succeeded",
        "not one that the fence sent away",
        "none but one that was sent away",
        "one that failed, if it is the only one",
    ],
)
def test_the_job_that_counts_is(
    jobs: tuple[Job, ...], claim: str | None, expected: tuple[str | None, list[str]]
) -> None:
    assert decided(*jobs, claim=claim) == expected


def test_a_mark_ends_the_name_whatever_its_length() -> None:
    for name in ("icon", "x" * 500):
        marked = marked_name(name, ATTEMPT)
        assert len(marked) <= limits.MAX_JOB_NAME
        assert mark_of(marked) == ATTEMPT.mark
        assert name.startswith(plain_name(marked))
    assert mark_of("icon-af12") is None


def test_attempts_have_marks_of_their_own() -> None:
    others = [ATTEMPT.next(), Attempt(ATTEMPT.identity, 3), Attempt((*ATTEMPT.identity[:-1], "eiger"), 2)]
    assert len({each.mark for each in [ATTEMPT, *others]}) == 4
    assert Attempt(ATTEMPT.identity, 2).mark == ATTEMPT.mark


def run(folder: Path, job_id: str, text: str | None = None, array: str | None = None) -> tuple[int, str]:
    env = {"SLURM_JOB_ID": job_id, "PATH": "/usr/bin:/bin"}
    if array:
        env["SLURM_ARRAY_JOB_ID"] = array
    text = add_fence(SCRIPT, ATTEMPT) if text is None else text
    done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def effects(folder: Path) -> int:
    path = folder / "effects"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_of_two_jobs_the_first_goes_on_and_the_second_leaves_with_75(tmp_path: Path) -> None:
    assert run(tmp_path, "7") == (0, "")
    code, words = run(tmp_path, "8")
    assert (code, effects(tmp_path)) == (75, 1)
    assert "job 7 does this already; job 8 leaves" in words
    assert is_fenced(job("8", "FAILED", code))


def test_a_requeued_job_and_all_elements_of_an_array_pass(tmp_path: Path) -> None:
    assert [run(tmp_path, job_id, array="7")[0] for job_id in ("7", "8", "9", "8")] == [0, 0, 0, 0]
    assert run(tmp_path, "10", array="10")[0] == 75


def test_of_many_jobs_at_once_exactly_one_goes_on(tmp_path: Path) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: codes.append(run(tmp_path, str(number))[0]))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(codes), effects(tmp_path)) == ([0] + [75] * 11, 1)


def test_a_claim_that_cannot_be_written_lets_the_job_run_and_says_so(tmp_path: Path) -> None:
    (tmp_path / ".firecrest-claims").write_text("a file where the directory should be")
    code, words = run(tmp_path, "7")
    assert (code, effects(tmp_path)) == (0, 1)
    assert "going on without it" in words


def test_another_attempt_is_not_kept_out(tmp_path: Path) -> None:
    run(tmp_path, "7")
    assert run(tmp_path, "8", add_fence(SCRIPT, ATTEMPT.next()))[0] == 0


def test_the_fence_stands_behind_the_directives_and_not_in_other_languages() -> None:
    text = add_fence(SCRIPT, ATTEMPT)
    assert text.index("#SBATCH --time=5") < text.index("firecrest_claim") < text.index("echo ran")
    python = "#!/usr/bin/python3\nprint(1)\n"
    assert add_fence(python, ATTEMPT) == python
