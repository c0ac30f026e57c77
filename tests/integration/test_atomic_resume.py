"""Uploads with ``atomic=True`` whose worker is killed: the target is the old file or the new one at any
moment, and the next try goes on.

The witnesses are the files on disk, the scheduler's own list, and the object store's requests.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.miniature import Lane
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import until
from tests.integration.test_directories import occupied, released
from tests.integration.test_directory_resume import TUNING as TUNING
from tests.integration.test_transfer_resume import PARTS, Transfer

OLD = b"what was there before"
SMALL = 4321
LARGE = 3 * 8 * 1024 * 1024 + 17


class Atomic(Transfer):
    """One upload over a file that is there, in a process that can be killed."""

    def __init__(
        self, firecrest: FirecrestForTest, tmp_path: Path, size: int = SMALL, *, old: bool = True, **more: Any
    ) -> None:
        super().__init__(
            firecrest,
            tmp_path,
            "Upload",
            **{"atomic": True, "if_exists": "overwrite", "retries": 20, **more},
        )
        self.source.write_bytes(random.Random(size).randbytes(size))
        if old:
            self.target.write_bytes(OLD)

    def die(self, lane: Lane, at: str) -> None:
        super().die(lane, at)
        for path in self.task.folder.iterdir():
            assert "signature" not in path.read_text().lower(), path

    def begin(self, lane: Lane) -> dict[str, Any]:
        """A further try up to its first deferral."""
        self.task.try_number += 1
        return self.task.begin(lane)

    def live(self, lane: Lane, outcome: dict[str, Any] | None = None) -> dict[str, Any]:
        """A further try up to its end, or the one that has begun; there must be the file and nothing else."""
        outcome = self.task.go_on(lane, outcome or self.begin(lane))
        assert outcome["state"] == "success", outcome
        assert self.target.read_bytes() == self.source.read_bytes()
        until(self.nothing_is_left)
        assert not self.stored("firecrest_steps")
        return dict(outcome["result"])

    def jobs(self, name: str = "firecrest-place") -> list[str]:
        """How the jobs whose name begins so ended, oldest first."""
        jobs = [each for each in self.firecrest.new_jobs() if each["name"].startswith(name)]
        return [str(each["state"]).split()[0] for each in sorted(jobs, key=lambda job: int(job["id"]))]

    def work_directories(self) -> list[str]:
        return sorted(each.name for each in self.target.parent.glob(".firecrest-*"))

    def is_old(self) -> bool:
        """The old file is there, and nothing beside it but the transfer's own directory."""
        beside = {each.name for each in self.target.parent.iterdir()} - set(self.work_directories())
        return self.target.read_bytes() == OLD and beside == {"data.bin"}


@pytest.fixture(autouse=True)
def connection() -> None:
    """The tasks run in processes of their own, which are told the connection."""


@pytest.fixture
def full(firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The cluster is full: jobs wait in the queue until this is `released`."""
    for name, value in firecrest.connection_env.items():
        monkeypatch.setenv(name, value)
    blocked = occupied(firecrest)
    yield blocked
    released(blocked)


def test_killed_again_and_again_it_is_placed_by_one_job(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path)
    for point in ("after_mkdir", "before_submit"):
        upload.die(lane, point)
        assert upload.is_old()
    for point in ("after_store", "in_execute_complete", "before_clearing", "after_clearing"):
        upload.die(lane, point)

    result = upload.live(lane)

    assert upload.jobs() == ["COMPLETED"]
    assert (result["way"], result["size"]) == ("direct", SMALL)


def test_a_staged_one_killed_again_and_again_sends_each_part_once(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path, LARGE)
    for point in ("before_complete_upload", "after_complete_upload", "after_sending", "before_submit"):
        upload.die(lane, point)
        assert upload.is_old()
    upload.die(lane, "after_post")

    upload.live(lane)

    assert sorted(upload.puts()) == [*range(1, PARTS + 1)]
    assert upload.begun() == 1
    assert (upload.jobs(), upload.jobs("IngressFile")) == (["COMPLETED"], ["COMPLETED"])


def test_killed_while_it_sends_parts_it_sends_only_the_others(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path, LARGE)
    upload.die(lane, "during_parts")
    known = {int(number) for number in upload.stored("firecrest_transfer_parts")["etags"]}
    before = len(upload.puts())

    upload.live(lane)

    # What the dead process had on its way can arrive after its death: a number twice, but no other one.
    assert known
    assert set(upload.puts()[before:]) == set(range(1, PARTS + 1)) - known
    assert upload.begun() == 1


def test_what_the_killed_try_has_placed_is_not_taken_for_somebody_elses(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    """if_exists="fail" is about others' files; here even what the job has written down is gone."""
    upload = Atomic(firecrest, tmp_path, old=False, if_exists="fail")
    upload.die(lane, "in_execute_complete")
    [work] = upload.target.parent.glob(".firecrest-*")
    (work / "report").unlink()

    assert upload.live(lane)["way"] == "skip"

    assert upload.jobs() == ["COMPLETED"]


def test_of_two_jobs_the_one_that_works_counts(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, full: set[str]
) -> None:
    """The job of the killed try waits, and is in no list for longer than it is looked for."""
    upload = Atomic(firecrest, tmp_path, old=False, if_exists="fail")
    upload.die(lane, "after_post")
    firecrest.fault("hide_job", times=0)
    outcome = upload.begin(lane)
    firecrest.clear_faults()
    assert upload.jobs() == ["PENDING", "PENDING"]
    released(full)

    result = upload.live(lane, outcome)

    assert sorted(upload.jobs()) == ["COMPLETED", "FAILED"]
    [worked] = [
        job["id"]
        for job in firecrest.new_jobs()
        if job["name"].startswith("firecrest-") and job["state"] == "COMPLETED"
    ]
    assert result["job_id"] == worked


def change(upload: Atomic) -> None:
    upload.source.write_bytes(b"another one")


def clear(upload: Atomic) -> None:
    upload.task.clear()


def forbid(upload: Atomic) -> None:
    upload.task.arguments["reattach"] = "never"


def forget(upload: Atomic) -> None:
    upload.task.task_state_store = False
    (upload.task.folder / "state.json").unlink()


def do_without(upload: Atomic) -> None:
    upload.task.arguments["atomic"] = False


@pytest.mark.parametrize("why", [change, clear, forbid, forget], ids=lambda why: why.__name__)
def test_one_that_starts_anew_ends_the_old_one_first(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, full: set[str], why: Any
) -> None:
    upload = Atomic(firecrest, tmp_path, old=why is not change, if_exists="overwrite")
    upload.die(lane, "before_defer")
    [old] = upload.work_directories()
    why(upload)

    outcome = upload.begin(lane)

    assert upload.jobs() == ["CANCELLED", "PENDING"]
    # Should two triggerers wait for it, the one that lost it must leave it alone.
    assert outcome["trigger"][1]["marked"]
    [new] = upload.work_directories()
    assert new != old
    released(full)
    upload.live(lane, outcome)
    assert upload.jobs() == ["CANCELLED", "COMPLETED"]


def test_cleared_while_it_sends_it_leaves_no_job_that_waits(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path, LARGE)
    upload.die(lane, "during_parts")
    upload.task.clear()

    upload.live(lane)

    assert (upload.jobs("IngressFile"), upload.jobs()) == (["CANCELLED", "COMPLETED"], ["COMPLETED"])


def test_a_retry_that_is_not_atomic_any_more_ends_what_the_atomic_one_left(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, full: set[str]
) -> None:
    upload = Atomic(firecrest, tmp_path)
    upload.die(lane, "before_defer")
    do_without(upload)

    upload.live(lane)

    assert upload.jobs() == ["CANCELLED"]


def test_one_that_becomes_atomic_ends_what_was_under_way(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path, LARGE, atomic=False)
    upload.die(lane, "during_parts")
    upload.task.arguments["atomic"] = True
    change(upload)

    upload.live(lane)

    assert (upload.jobs("IngressFile"), upload.jobs()) == (["CANCELLED"], ["COMPLETED"])


def test_one_whose_bytes_are_gone_sends_them_again(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path)
    upload.die(lane, "before_submit")
    [work] = upload.target.parent.glob(".firecrest-*")
    shutil.rmtree(work)

    upload.live(lane)

    assert upload.jobs() == ["COMPLETED"]


def test_a_failure_that_may_pass_costs_only_the_step_that_failed(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Atomic(firecrest, tmp_path, LARGE)
    connection = json.loads(firecrest.conn_json)
    connection["extra"]["retry_budget"] = 1
    upload.task.env = {**upload.task.env, "AIRFLOW_CONN_FIRECREST_DEFAULT": json.dumps(connection)}
    firecrest.fault("status", method="POST", path_regex=firecrest.urls.submit, times=0, status=503)
    outcome = upload.task.go_on(lane, upload.begin(lane))
    assert (outcome["state"], outcome["for_good"]) == ("failed", False)
    assert upload.is_old()
    firecrest.clear_faults()

    upload.live(lane)

    assert (upload.begun(), upload.jobs()) == (1, ["COMPLETED"])
