"""Directories whose worker is killed: the next try goes on, and what is given up leaves nothing.

The witnesses are a walk over the disks, the scheduler's own list, and the object store's requests.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.miniature import Lane, Task
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import until
from tests.integration.test_directories import occupied, released
from tests.integration.test_quota import QOS
from tests.trees import seen, written_tree

PART = 8 * 1024 * 1024
BULK = 2 * PART + 17
PARTS = 3
KEY = "cFJrYzQ0bVBqbXhYZ2JrS2dqQ2FmZz09Y2ZqZ2JrS2c="
TUNING = {
    "client.limits.JOB_VISIBLE_WITHIN": 1.0,
    "client.staging.ranges.RECORD_EVERY": 0.0,
    "client.transfers.steps.jobs._LOOK_EVERY": 0.2,
    "client.transfers.proof.APPEAR_WITHIN": 0.5,
    "operators._quota.FIRST_PAUSE": 0.2,
}

BOTH = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])
BOTH_WAYS = pytest.mark.parametrize("kind", ["Upload", "Download"])


class Moving:
    """One task that moves a directory, and what became of it."""

    def __init__(
        self, firecrest: FirecrestForTest, tmp_path: Path, kind: str, *, bulk: int = 0, **arguments: Any
    ) -> None:
        self.firecrest, self.tmp_path = firecrest, tmp_path
        self.here, self.there = tmp_path / "here", firecrest.directory
        self.here.mkdir()
        upload = kind == "Upload"
        source, target = (self.here, self.there) if upload else (self.there, self.here)
        self.source, self.target = written_tree(source / "case", bulk=bulk), target / "case"
        more = {key: arguments.pop(key) for key in ("task_state_store",) if key in arguments}
        self.task = Task(
            f"transfers.Firecrest{kind}Operator",
            {
                "source_path": str(self.source),
                "target_path": str(self.target),
                "poll_interval": 0.2,
                "deferrable": True,
                **arguments,
            },
            tmp_path / "task",
            {**firecrest.connection_env, "AIRFLOW__CORE__FERNET_KEY": arguments.pop("key", KEY)},
            retries=20,
            **more,
        )
        self.on_another_worker("scratch")

    def on_another_worker(self, name: str) -> None:
        """Have further tries make their temporary files elsewhere."""
        self.scratch = self.tmp_path / name
        self.scratch.mkdir()
        self.task.env = {**self.task.env, "TMPDIR": str(self.scratch)}

    def die(self, lane: Lane, at: str) -> None:
        """One try that ends by SIGKILL."""
        outcome = self.task.die(lane, at)
        assert outcome["state"] == "crashed", (outcome, self.log())
        self.nothing_is_told()

    def nothing_is_told(self) -> None:
        """No presigned URL stands in clear in what is stored, or logged."""
        for path in self.task.folder.iterdir():
            text = path.read_text().lower()
            assert "signature" not in text, path
            assert "awsaccesskeyid" not in text, path

    def begin(self, lane: Lane) -> dict[str, Any]:
        """A further try up to its first deferral."""
        self.task.try_number += 1
        outcome = self.task.begin(lane)
        assert outcome["state"] == "deferred", (outcome, self.log())
        return outcome

    def live(self, lane: Lane, outcome: dict[str, Any] | None = None) -> dict[str, Any]:
        """A further try up to the end, or the current one; it must be good, and the tree the right one."""
        outcome = self.task.go_on(lane, outcome or self.begin_or_end(lane))
        assert outcome["state"] == "success", (outcome, self.log())
        assert seen(self.target) == seen(self.source)
        assert not self.stored()
        self.nothing_is_told()
        return dict(outcome["result"])

    def begin_or_end(self, lane: Lane) -> dict[str, Any]:
        self.task.try_number += 1
        return self.task.begin(lane)

    def log(self) -> str:
        return self.task.log.read_text()[-6000:] if self.task.log.exists() else ""

    def stored(self) -> dict[str, Any]:
        """What the task state store holds of the directory."""
        path = self.task.folder / "state.json"
        return dict(json.loads(path.read_text()).get("firecrest_steps") or {}) if path.exists() else {}

    def jobs(self, name: str = "firecrest-") -> list[str]:
        """How the jobs whose name begins so ended, oldest first."""
        jobs = [each for each in self.firecrest.new_jobs() if each["name"].startswith(name)]
        return [str(each["state"]).split()[0] for each in sorted(jobs, key=lambda job: int(job["id"]))]

    def puts(self) -> list[int]:
        """Numbers of the parts that the object store has received, in their order."""
        return [
            each["part"]
            for each in self.firecrest.requests()
            if each["method"] == "PUT" and each["status"] == 200 and each["path"].startswith("/s3/")
        ]

    def staged(self) -> int:
        """Staged transfers that the server was asked for."""
        ends = ("/transfer/upload", "/transfer/download", "/xfer-external/upload", "/xfer-external/download")
        return sum(
            each["method"] == "POST" and each["path"].endswith(ends) for each in self.firecrest.requests()
        )

    def work_directories(self) -> list[str]:
        return sorted(each.name for each in self.there.glob(".firecrest-*"))

    def nothing_is_left(self) -> None:
        """Nothing temporary on either side, in the queue, or half sent in the object store."""
        assert [sorted(each.name for each in path.iterdir()) for path in (self.here, self.there)] == [
            ["case"],
            ["case"],
        ]
        assert [each.name for each in self.scratch.iterdir() if each.name.startswith("firecrest")] == []
        assert self.firecrest.new_uploads() == []
        active = [each for each in self.firecrest.new_jobs() if each["state"] in ("PENDING", "RUNNING")]
        assert active == []


def count(firecrest: FirecrestForTest, method: str, beginning: str) -> int:
    """Requests that the server, or the object store, has answered."""
    return sum(
        each["method"] == method and each["path"].startswith(beginning) for each in firecrest.requests()
    )


# Killed at each step


ALL_OF_AN_UPLOAD = [
    "after_mkdir",
    "during_packing",
    "after_packing",
    "before_submit",
    "after_store",
    "in_execute_complete",
    "before_clearing",
    "after_clearing",
]


@pytest.mark.parametrize(
    ("firecrest", "points"),
    [
        (2, ALL_OF_AN_UPLOAD),
        (2, ["after_post", "before_defer"]),
        (1, ["after_packing", "after_post", "in_execute_complete", "before_clearing"]),
    ],
    indirect=["firecrest"],
    ids=["v2, all over", "v2, while it waits", "v1"],
)
def test_an_upload_killed_again_and_again_is_unpacked_by_one_job(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, points: list[str]
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload")
    for point in points:
        upload.die(lane, point)

    result = upload.live(lane)

    assert upload.jobs() == ["COMPLETED"]
    assert result["way"] == "direct"
    upload.nothing_is_left()


@pytest.mark.parametrize(
    "points",
    [
        ["after_packing", "before_complete_upload", "before_defer", "before_submit"],
        ["after_complete_upload", "after_sending", "after_post"],
    ],
    ids=["before the next step", "after it"],
)
def test_a_staged_upload_killed_again_and_again_sends_each_part_once(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, points: list[str]
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload", bulk=BULK)
    for point in points:
        upload.die(lane, point)

    assert upload.live(lane)["way"] == "staged"

    assert sorted(upload.puts()) == [*range(1, PARTS + 1)]
    assert upload.staged() == 1
    assert (upload.jobs(), upload.jobs("IngressFile")) == (["COMPLETED"], ["COMPLETED"])
    upload.nothing_is_left()


@pytest.mark.parametrize("firecrest", [1], indirect=True, ids=["v1"])
def test_on_v1_an_upload_whose_form_was_sent_is_not_sent_again(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload", bulk=BULK)
    for point in ("before_defer", "before_submit"):
        upload.die(lane, point)

    upload.live(lane)

    assert upload.staged() == 1
    assert upload.jobs() == ["COMPLETED"]
    upload.nothing_is_left()


@pytest.mark.parametrize("same", [True, False], ids=["the same worker", "another worker"])
def test_an_upload_killed_while_it_sends_parts_sends_only_the_others(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, same: bool
) -> None:
    """Another worker packs the tree again, which makes the same bytes, compressed or not."""
    upload = Moving(firecrest, tmp_path, "Upload", bulk=BULK, compression="none" if same else "gzip")
    upload.die(lane, "during_parts")
    state = json.loads((upload.task.folder / "state.json").read_text())
    assert state["firecrest_transfer"]["sealed"]
    known = {int(number) for number in state["firecrest_transfer_parts"]["etags"]}
    before = len(upload.puts())
    [archive] = upload.scratch.rglob("case.tar*")
    packed = archive.stat()
    if not same:
        upload.on_another_worker("elsewhere")
    upload.die(lane, "before_complete_upload")

    [archive] = upload.scratch.rglob("case.tar*")
    assert (archive.stat().st_ino == packed.st_ino) is same
    upload.live(lane)

    # What the dead process had on its way can arrive after its death: a number twice, but no other one.
    assert known
    assert set(upload.puts()[before:]) == set(range(1, PARTS + 1)) - known
    assert upload.staged() == 1
    upload.nothing_is_left()


ALL_OF_A_DOWNLOAD = [
    "after_mkdir",
    "before_submit",
    "after_store",
    "in_execute_complete",
    "after_fetching",
    "during_unpacking",
    "before_publishing",
    "after_publishing",
    "before_clearing",
    "after_clearing",
]


@pytest.mark.parametrize(
    ("firecrest", "points"),
    [
        (2, ALL_OF_A_DOWNLOAD),
        (2, ["after_post", "before_defer"]),
        (1, ["after_post", "in_execute_complete", "before_publishing"]),
    ],
    indirect=["firecrest"],
    ids=["v2, all over", "v2, while it waits", "v1"],
)
def test_a_download_killed_again_and_again_is_packed_by_one_job(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, points: list[str]
) -> None:
    download = Moving(firecrest, tmp_path, "Download")
    for point in points:
        download.die(lane, point)

    result = download.live(lane)

    assert download.jobs() == ["COMPLETED"]
    assert result["way"] == "direct"
    download.nothing_is_left()


@BOTH
def test_a_staged_download_killed_later_is_neither_packed_nor_staged_nor_fetched_twice(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    download = Moving(firecrest, tmp_path, "Download", bulk=BULK)
    download.die(lane, "during_ranges")
    assert bool(download.stored()["sealed"]) is (firecrest.generation == 2)
    [part] = download.here.rglob("*tree.tar*.part")
    inode = part.stat().st_ino

    download.die(lane, "after_fetching")

    [archive] = download.here.rglob("*tree.tar")
    assert archive.stat().st_ino == inode
    gets = count(firecrest, "GET", "/s3/")
    assert download.live(lane)["way"] == "staged"
    assert count(firecrest, "GET", "/s3/") == gets
    assert download.jobs() == ["COMPLETED"]
    assert download.staged() == 1
    download.nothing_is_left()


def test_a_download_killed_before_it_wrote_down_what_was_staged_stages_it_again(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    download = Moving(firecrest, tmp_path, "Download", bulk=BULK)
    download.die(lane, "after_staging")

    download.live(lane)

    assert download.jobs() == ["COMPLETED"]
    assert download.staged() == 2
    # The first one is left to its end: half an object in the store nobody could remove.
    until(lambda: download.jobs("Outgress") == ["COMPLETED", "COMPLETED"])
    download.nothing_is_left()


@pytest.mark.parametrize("point", ["before_publishing", "between_renames", "after_publishing"])
def test_a_download_killed_while_it_replaces_a_directory_loses_neither(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, point: str
) -> None:
    download = Moving(firecrest, tmp_path, "Download", if_exists="overwrite")
    download.target.mkdir()
    (download.target / "precious").write_text("old")
    download.die(lane, point)
    kept = list(download.here.rglob("precious"))
    assert len(kept) == 1

    download.live(lane)

    assert download.jobs() == ["COMPLETED"]
    download.nothing_is_left()


def test_what_a_killed_download_was_replacing_is_put_back_even_if_the_next_try_fails(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    download = Moving(firecrest, tmp_path, "Download", if_exists="overwrite")
    download.target.mkdir()
    (download.target / "precious").write_text("old")
    download.die(lane, "between_renames")
    assert not download.target.exists()
    # The source has changed, and the job that packs it will refuse it.
    change(download)
    (download.source / "sub" / "out").symlink_to("/etc")

    outcome = download.task.go_on(lane, download.begin(lane))

    assert outcome["for_good"], download.log()
    assert (download.target / "precious").read_text() == "old"
    assert download.work_directories() == []
    assert sorted(each.name for each in download.here.iterdir()) == ["case"]


@BOTH_WAYS
def test_the_same_tree_is_measured_by_one_job(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, kind: str
) -> None:
    moving = Moving(firecrest, tmp_path, kind, if_exists="skip")
    shutil.copytree(moving.source, moving.target, symlinks=True)
    moving.die(lane, "after_post")

    assert moving.live(lane)["way"] == "skip"

    assert moving.jobs() == ["COMPLETED"]
    moving.nothing_is_left()


# Not to be gone on with


@pytest.fixture
def full(firecrest: FirecrestForTest) -> Iterator[set[str]]:
    """A cluster on which whatever comes next waits."""
    blocked = occupied(firecrest)
    yield blocked
    released(blocked)


def change(moving: Moving) -> None:
    (moving.source / "more").write_text("more")
    # FirecREST tells times in whole seconds.
    os.utime(moving.source, (1_200_000_000, 1_200_000_000))


def clear(moving: Moving) -> None:
    moving.task.clear()


def forbid(moving: Moving) -> None:
    moving.task.arguments["reattach"] = "never"


def forget(moving: Moving) -> None:
    moving.task.task_state_store = False
    (moving.task.folder / "state.json").unlink()


@pytest.mark.parametrize(
    ("firecrest", "kind", "why"),
    [
        *[(2, kind, why) for kind in ("Upload", "Download") for why in (change, clear, forbid, forget)],
        (1, "Upload", clear),
        (1, "Download", forget),
    ],
    indirect=["firecrest"],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_a_transfer_that_starts_anew_ends_the_old_one_first(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, full: set[str], kind: str, why: Any
) -> None:
    moving = Moving(firecrest, tmp_path, kind)
    moving.die(lane, "before_defer")
    [old] = moving.work_directories()
    why(moving)

    outcome = moving.begin(lane)

    assert moving.jobs() == ["CANCELLED", "PENDING"]
    # Should two triggerers wait for it, the one that lost it must leave it alone.
    assert outcome["trigger"][1]["marked"]
    [new] = moving.work_directories()
    assert new != old
    released(full)
    moving.live(lane, outcome)
    assert moving.jobs() == ["CANCELLED", "COMPLETED"]
    until(lambda: not moving.work_directories())
    assert sorted(each.name for each in moving.here.iterdir()) == ["case"]


def test_an_upload_that_is_cleared_while_it_sends_leaves_no_job_that_waits(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload", bulk=BULK)
    upload.die(lane, "during_parts")
    upload.task.clear()

    upload.live(lane)

    assert upload.jobs("IngressFile") == ["CANCELLED", "COMPLETED"]
    assert upload.jobs() == ["COMPLETED"]
    assert [each.name for each in upload.scratch.iterdir() if each.name.startswith("firecrest")] == []
    assert upload.work_directories() == []


@pytest.mark.parametrize(
    ("kind", "point"), [("Upload", "in_execute_complete"), ("Download", "after_publishing")]
)
def test_what_arrived_before_its_source_changed_is_replaced_by_the_new_one(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, kind: str, point: str
) -> None:
    """if_exists="fail" is about others' directories, not about what the try before has put there."""
    moving = Moving(firecrest, tmp_path, kind)
    moving.die(lane, point)
    assert moving.target.is_dir()
    change(moving)

    moving.live(lane)

    assert moving.jobs() == ["COMPLETED", "COMPLETED"]
    moving.nothing_is_left()


def test_a_download_takes_no_other_directory_for_its_own(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    download = Moving(firecrest, tmp_path, "Download")
    download.die(lane, "before_publishing")
    download.target.mkdir()
    (download.target / "somebody's").write_text("else")

    outcome = download.task.go_on(lane, download.begin_or_end(lane))

    assert outcome["for_good"], download.log()
    assert "has come into being meanwhile" in outcome["error"]
    assert (download.target / "somebody's").read_text() == "else"
    download.nothing_is_left()


# A job that nobody sees


def test_a_job_that_no_list_shows_is_known_by_its_claim(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload")
    upload.die(lane, "after_post")
    until(upload.target.is_dir)
    firecrest.fault("hide_job", method="GET", path_regex="/jobs$", times=0)

    outcome = upload.begin(lane)
    firecrest.clear_faults()
    upload.live(lane, outcome)

    assert upload.jobs() == ["COMPLETED"]
    upload.nothing_is_left()


@BOTH
def test_of_two_jobs_of_one_upload_the_one_that_works_counts(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, full: set[str]
) -> None:
    """The job of the killed try waits, and is in no list for longer than it is looked for."""
    upload = Moving(firecrest, tmp_path, "Upload")
    upload.die(lane, "after_post")
    firecrest.fault("hide_job", times=0)

    outcome = upload.begin(lane)
    firecrest.clear_faults()
    assert upload.jobs() == ["PENDING", "PENDING"]
    released(full)
    result = upload.live(lane, outcome)

    assert sorted(upload.jobs()) == ["COMPLETED", "FAILED"]
    [worked] = [
        job
        for job in firecrest.new_jobs()
        if job["name"].startswith("firecrest-") and job["state"] == "COMPLETED"
    ]
    assert result["job_ids"][-1] == worked["id"]
    assert upload.work_directories() == []


# What fails and may pass


def refuse_jobs(moving: Moving) -> None:
    """Have the server answer each submit that it cannot be reached now."""
    connection = json.loads(moving.firecrest.conn_json)
    connection["extra"] = {**connection["extra"], "retry_budget": 1}
    moving.task.env = {**moving.task.env, "AIRFLOW_CONN_FIRECREST_DEFAULT": json.dumps(connection)}
    moving.firecrest.fault(
        "status", method="POST", path_regex=moving.firecrest.urls.submit, times=0, status=503
    )


def test_a_failure_that_may_pass_costs_only_the_step_that_failed(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload", bulk=BULK)
    refuse_jobs(upload)
    outcome = upload.task.go_on(lane, upload.begin_or_end(lane))
    assert (outcome["state"], outcome["for_good"]) == ("failed", False)
    firecrest.clear_faults()

    upload.live(lane)

    assert upload.staged() == 1
    assert upload.jobs() == ["COMPLETED"]
    upload.nothing_is_left()


def test_a_failure_in_the_last_try_leaves_nothing(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload")
    upload.task.max_tries = 0
    refuse_jobs(upload)

    outcome = upload.task.go_on(lane, upload.begin_or_end(lane))

    assert outcome["state"] == "failed"
    assert upload.work_directories() == []
    assert [each.name for each in upload.scratch.iterdir() if each.name.startswith("firecrest")] == []
    assert not upload.stored()


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
def test_a_limit_that_stands_in_the_way_of_a_later_step_costs_only_time(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, deferrable: bool
) -> None:
    """No retry is needed, and where the worker waits no store."""
    upload = Moving(
        firecrest, tmp_path, "Upload", bulk=BULK, deferrable=deferrable, task_state_store=deferrable
    )
    upload.task.max_tries = 0
    firecrest.fault("status", method="POST", path_regex=firecrest.urls.submit, times=2, status=403, body=QOS)

    upload.live(lane)

    assert upload.staged() == 1
    assert sorted(upload.puts()) == [*range(1, PARTS + 1)]
    assert upload.jobs() == ["COMPLETED"]
    upload.nothing_is_left()


# A file where there was a directory


def test_a_file_in_the_place_of_the_directory_ends_what_the_directory_left(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, full: set[str]
) -> None:
    upload = Moving(firecrest, tmp_path, "Upload")
    upload.die(lane, "before_defer")
    upload.source.rename(tmp_path / "away")
    upload.source.write_text("a file")

    outcome = upload.task.go_on(lane, upload.begin_or_end(lane))

    assert outcome["state"] == "success", upload.log()
    assert upload.target.read_text() == "a file"
    assert upload.jobs() == ["CANCELLED"]
    assert upload.work_directories() == []
    assert not upload.stored()
