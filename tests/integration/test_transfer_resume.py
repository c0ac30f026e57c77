"""Transfers whose worker is killed: the next try goes on, and what is given up is cancelled.

The witnesses are the object store's requests, the scheduler's own list, and digests on disk.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.miniature import Lane, Task
from tests.fixtures_local import FirecrestForTest

PART = 8 * 1024 * 1024
SIZE = 3 * PART + 17
PARTS = 4
KEY = "cFJrYzQ0bVBqbXhYZ2JrS2dqQ2FmZz09Y2ZqZ2JrS2c="
TUNING = {
    "client.staging.ranges.RECORD_EVERY": 0.0,
    "client.staging.options.APPEAR_WITHIN": 2.0,
    "client.transfers.proof.APPEAR_WITHIN": 0.5,
}

BOTH = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])


@pytest.fixture(autouse=True)
def connection() -> None:
    """The tasks run in processes of their own, which are told the connection."""


class Transfer:
    """One task that moves a file, and what became of it."""

    def __init__(self, firecrest: FirecrestForTest, tmp_path: Path, kind: str, **arguments: Any) -> None:
        self.firecrest = firecrest
        here, there = tmp_path / "here", firecrest.directory
        here.mkdir()
        upload = kind == "Upload"
        self.source, self.target = (here / "data.bin", there / "data.bin")
        if not upload:
            self.source, self.target = self.target, self.source
        self.fill(1)
        crashes = arguments.pop("crashes", ())
        more = {key: arguments.pop(key) for key in ("task_state_store", "retries") if key in arguments}
        key = arguments.pop("key", KEY)
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
            {**firecrest.connection_env, "AIRFLOW__CORE__FERNET_KEY": key},
            crashes=crashes,
            **more,
        )

    def fill(self, seed: int) -> None:
        """Give the source its content."""
        self.source.write_bytes(random.Random(seed).randbytes(SIZE))

    def die(self, lane: Lane, at: str) -> None:
        """One try that ends by SIGKILL."""
        assert self.task.die(lane, at)["state"] == "crashed"

    def live(self, lane: Lane) -> dict[str, Any]:
        """Further tries up to the end, which must be good."""
        outcome = self.task.live(lane)
        assert outcome["state"] == "success", outcome
        assert sha256(self.target) == sha256(self.source) == outcome["result"]["sha256"]
        return dict(outcome["result"])

    def stored(self, key: str) -> dict[str, Any]:
        """What the task state store holds."""
        path = self.task.folder / "state.json"
        return dict(json.loads(path.read_text()).get(key) or {}) if path.exists() else {}

    def puts(self) -> list[int]:
        """Numbers of the parts that the object store has received since the test began, in their order."""
        return [
            each["part"]
            for each in self.firecrest.requests()
            if each["method"] == "PUT" and each["status"] == 200 and each["path"].startswith("/s3/")
        ]

    def begun(self) -> int:
        """Staged transfers that the server was asked for."""
        return sum(
            each["method"] == "POST"
            and each["path"].endswith(
                ("/transfer/upload", "/transfer/download", "/xfer-external/upload", "/xfer-external/download")
            )
            for each in self.firecrest.requests()
        )

    def states(self) -> list[str]:
        """How the server's jobs ended, oldest first."""
        jobs = sorted(self.firecrest.new_jobs(), key=lambda job: int(job["id"]))
        return [str(job["state"]).split()[0] for job in jobs]

    def nothing_is_left(self) -> bool:
        directories = (self.source.parent, self.target.parent)
        return [sorted(each.name for each in path.iterdir()) for path in directories] == [["data.bin"]] * 2


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestAnUpload:
    def test_killed_while_it_sends_parts_sends_only_the_others(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload")
        known: list[set[int]] = []
        for _ in range(2):
            upload.die(lane, "during_parts")
            known.append({int(number) for number in upload.stored("firecrest_transfer_parts")["etags"]})
        before = len(upload.puts())

        upload.live(lane)

        assert known[0] < known[1] or len(known[0]) == PARTS
        # What the dead process had on its way can arrive after its death: a number twice, but no other one.
        assert set(upload.puts()[before:]) == set(range(1, PARTS + 1)) - known[-1]
        assert (upload.begun(), upload.states()) == (1, ["COMPLETED"])
        assert upload.nothing_is_left()
        assert not upload.stored("firecrest_transfer")

    @pytest.mark.parametrize(
        "point", ["before_complete_upload", "after_complete_upload", "before_defer", "in_execute_complete"]
    )
    def test_killed_once_all_parts_are_there_sends_nothing(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, point: str
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload")
        upload.die(lane, point)

        upload.live(lane)

        assert sorted(upload.puts()) == [*range(1, PARTS + 1)]
        assert (upload.begun(), upload.states()) == (1, ["COMPLETED"])
        assert firecrest.new_uploads() == []
        assert upload.nothing_is_left()

    @pytest.mark.parametrize("firecrest", [1], indirect=True, ids=["v1"])
    @pytest.mark.parametrize("point", ["before_defer", "in_execute_complete"])
    def test_on_v1_killed_after_its_form_was_sent_only_waits(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, point: str
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload")
        upload.die(lane, point)

        upload.live(lane)

        assert upload.begun() == 1
        assert upload.nothing_is_left()

    def test_of_another_content_starts_anew_and_cancels_the_old_job(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload")
        upload.die(lane, "before_complete_upload")
        upload.fill(2)

        upload.live(lane)

        assert upload.states() == ["CANCELLED", "COMPLETED"]

    def test_starts_anew_when_the_servers_job_has_ended_meanwhile(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        from tests.client.transferring import client_of

        upload = Transfer(firecrest, tmp_path, "Upload")
        upload.die(lane, "during_parts")
        with client_of(firecrest) as client:
            client.cancel_job(upload.stored("firecrest_transfer")["job_id"])

        upload.live(lane)

        assert upload.states() == ["CANCELLED", "COMPLETED"]
        assert upload.begun() == 2

    def test_that_was_cleared_starts_anew_and_cancels_the_old_job(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload")
        upload.die(lane, "during_parts")
        upload.task.clear()

        upload.live(lane)

        assert upload.states() == ["CANCELLED", "COMPLETED"]

    def test_that_must_not_be_gone_on_with_starts_anew(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload", reattach="never")
        upload.die(lane, "during_parts")

        upload.live(lane)

        assert upload.states() == ["CANCELLED", "COMPLETED"]

    def test_starts_anew_where_airflow_keeps_no_state_and_finds_the_old_job_by_its_target(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload", task_state_store=False)
        upload.die(lane, "during_parts")

        upload.live(lane)

        assert upload.states() == ["CANCELLED", "COMPLETED"]

    def test_starts_anew_where_airflow_has_no_key_to_keep_urls_with(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        upload = Transfer(firecrest, tmp_path, "Upload", key="")
        upload.die(lane, "during_parts")
        assert "http" not in json.dumps(upload.stored("firecrest_transfer"))

        upload.live(lane)

        assert upload.states() == ["CANCELLED", "COMPLETED"]

    def test_of_a_small_file_killed_after_it_arrived_does_not_trip_over_itself(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        """A direct upload has no crash point; the worker dies when its answer is lost."""
        upload = Transfer(firecrest, tmp_path, "Upload", deferrable=False)
        upload.source.write_bytes(b"small")
        firecrest.fault("delay", method="GET", path_regex="ops/checksum", delay_s=30)
        upload.task.try_number = 1
        outcome = lane.play(upload.task.step("execute", kill_after=3.0))
        assert outcome["state"] == "crashed"
        assert upload.target.read_bytes() == b"small"
        firecrest.clear_faults()

        upload.live(lane)


class TestADownload:
    @BOTH
    @pytest.mark.parametrize("point", ["before_defer", "during_ranges", "in_execute_complete"])
    def test_that_was_killed_is_not_staged_twice(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, point: str
    ) -> None:
        download = Transfer(firecrest, tmp_path, "Download")
        download.die(lane, point)

        download.live(lane)

        assert download.begun() == 1
        assert download.nothing_is_left()
        assert not download.stored("firecrest_transfer")

    def test_killed_while_it_fetches_leaves_a_file_that_is_used(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        download = Transfer(firecrest, tmp_path, "Download")
        download.die(lane, "during_ranges")
        [left] = download.target.parent.glob(".data.bin.*.part")
        inode = left.stat().st_ino

        download.live(lane)

        assert download.target.stat().st_ino == inode

    @BOTH
    def test_of_another_content_is_staged_anew(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        download = Transfer(firecrest, tmp_path, "Download")
        download.die(lane, "during_ranges")
        download.source.write_bytes(random.Random(2).randbytes(SIZE - 1))

        download.live(lane)

        assert download.begun() == 2
        assert download.nothing_is_left()

    def test_that_was_cleared_is_staged_anew_and_replaces_the_old_partial_file(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        download = Transfer(firecrest, tmp_path, "Download")
        download.die(lane, "during_ranges")
        download.task.clear()

        download.live(lane)

        assert download.begun() == 2
        assert download.nothing_is_left()

    def test_without_a_store_still_goes_on_with_the_partial_file(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        download = Transfer(firecrest, tmp_path, "Download", task_state_store=False)
        download.die(lane, "during_ranges")
        [left] = download.target.parent.glob(".data.bin.*.part")
        inode = left.stat().st_ino

        download.live(lane)

        assert download.target.stat().st_ino == inode
        assert download.begun() == 2

    @pytest.mark.parametrize("same", [True, False], ids=["its own", "somebody else's"])
    def test_takes_the_file_that_the_killed_try_had_finished_and_no_other(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, same: bool
    ) -> None:
        """The worker died between giving the file its name and saying so."""
        download = Transfer(firecrest, tmp_path, "Download")
        download.die(lane, "in_execute_complete")
        download.target.write_bytes(download.source.read_bytes() if same else b"somebody else's")

        if same:
            assert download.live(lane)["way"] == "skip"
            assert not download.stored("firecrest_transfer")
        else:
            outcome = download.task.live(lane)
            assert outcome["for_good"]
            assert "another file" in outcome["error"]
            assert download.target.read_bytes() == b"somebody else's"

    def test_whose_object_is_gone_is_staged_anew_by_the_next_try(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        download = Transfer(firecrest, tmp_path, "Download")
        download.die(lane, "in_execute_complete")
        firecrest.lose_new_objects()

        download.live(lane)

        assert download.begun() == 2


@pytest.mark.parametrize("kind", ["Upload", "Download"])
@BOTH
def test_no_url_is_written_down_in_clear(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, kind: str
) -> None:
    transfer = Transfer(firecrest, tmp_path, kind)
    point = "before_defer" if kind == "Download" or firecrest.generation == 1 else "during_parts"
    transfer.die(lane, point)
    kept = transfer.stored("firecrest_transfer")
    transfer.live(lane)

    texts = [json.dumps(kept), *[path.read_text() for path in transfer.task.folder.iterdir()]]
    assert kept
    for text in texts:
        assert "signature" not in text.lower()
        assert "AWSAccessKeyId" not in text
