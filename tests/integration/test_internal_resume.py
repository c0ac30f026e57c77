"""File operations whose worker is killed: one effective job for each attempt, and one that a clear gave up is
ended first.

The witnesses are the scheduler's own list and what stands on disk.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import FirecrestClient
from tests.client.transferring import client_of
from tests.faults.miniature import Lane, Task
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import until
from tests.integration.file_tasks import digest, grow

EVERYWHERE = ["before_submit", "after_post", "after_store", "before_defer", "in_execute_complete"]
OPERATORS = {
    "mv": "InternalMove",
    "cp": "InternalCopy",
    "rsync": "InternalRsync",
    "rm": "InternalDelete",
    "compress": "Compress",
}
TUNING = {
    "client.fileops.once.ADOPT_WITHIN": 1.5,
    "client.fileops.looks.PATIENCE": 0.5,
    "client.waiting.cancel._PAUSE": 0.2,
}
QUICK_CALLS = "/(ops|utilities)/(rm|compress)$"

BOTH = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])
V1 = pytest.mark.parametrize("firecrest", [1], indirect=True, ids=["v1"])
V2 = pytest.mark.parametrize("firecrest", [2], indirect=True, ids=["v2"])


CASES = [*((1, kind) for kind in ("mv", "cp", "rsync")), *((2, kind) for kind in OPERATORS)]
IDS = [f"v{generation}-{kind}" for generation, kind in CASES]


@pytest.fixture(autouse=True)
def connection() -> None:
    """The tasks run in processes of their own, which are told the connection."""


class Work:
    """One task that does something to a tree on the cluster, and what became of it."""

    def __init__(self, firecrest: FirecrestForTest, tmp_path: Path, kind: str, **arguments: Any) -> None:
        self.firecrest, self.kind = firecrest, kind
        self.source = grow(firecrest.directory / "tree")
        self.content = digest(self.source)
        self.target = firecrest.directory / ("out.tar.gz" if kind == "compress" else "out")
        paths = {"source_path": f"{self.source}/" if kind == "rsync" else str(self.source)}
        paths |= {"target_path": str(self.target)}
        if kind == "rm":
            paths = {"path": str(self.source)}
        more = {key: arguments.pop(key) for key in ("task_state_store", "crashes") if key in arguments}
        self.task = Task(
            f"internal.Firecrest{OPERATORS[kind]}Operator",
            {**paths, "poll_interval": 0.2, "deferrable": True, **arguments},
            # The folder names the task: no two of them are the same one, on the cluster too.
            tmp_path / firecrest.directory.name,
            firecrest.connection_env,
            **more,
        )

    def die(self, lane: Lane, at: str) -> None:
        """One try that ends by SIGKILL."""
        assert self.task.die(lane, at)["state"] == "crashed"

    def fail(self, lane: Lane) -> dict[str, Any]:
        """One try that fails."""
        outcome = self.task.once(lane)
        assert outcome["state"] == "failed", outcome
        return outcome

    def begin(self, lane: Lane) -> None:
        """A further try up to its deferral, after which nothing more is looked at."""
        self.task.crashes = []
        self.task.try_number += 1
        assert lane.play(self.task.step("execute"))["state"] == "deferred"

    def live(self, lane: Lane) -> dict[str, Any]:
        """Further tries up to the end, which must be good."""
        outcome = self.task.live(lane)
        assert outcome["state"] == "success", outcome
        self.is_done()
        return dict(outcome["result"])

    def is_done(self) -> None:
        """What the disk says."""
        assert self.source.exists() is (self.kind not in ("mv", "rm"))
        if self.kind == "compress":
            with tarfile.open(self.target) as archive:
                assert f"{self.source.name}/sub/größe" in archive.getnames()
        elif self.kind != "rm":
            assert digest(self.target) == self.content
        assert list(self.firecrest.directory.rglob(".firecrest-*")) == []

    def stored(self) -> dict[str, Any]:
        """What the task state store holds."""
        path = self.task.folder / "state.json"
        return dict(json.loads(path.read_text())["firecrest_file_operation"]) if path.exists() else {}

    def jobs(self) -> list[dict[str, Any]]:
        """The scheduler's jobs of this test, oldest first, without those that only hold places."""
        found = sorted(self.firecrest.new_jobs(), key=lambda job: int(job["id"]))
        return [job for job in found if job["name"] != HOLDER]

    def states(self) -> list[str]:
        return [str(job["state"]).split()[0] for job in self.jobs()]

    def over(self) -> None:
        """Wait until no job is active."""
        until(lambda: not {"PENDING", "RUNNING", "COMPLETING"} & set(self.states()))


HOLDER = "holder"


class Queue:
    """A production job that takes every processor, or that ours waits for, until it is let go."""

    _waiting: threading.Thread | None = None

    def __init__(self, firecrest: FirecrestForTest, client: FirecrestClient) -> None:
        self.go = firecrest.directory / "go"
        script = f"#!/bin/bash\n#SBATCH --ntasks=4\nuntil [ -e {self.go} ]; do sleep 0.05; done\n"
        directory = str(firecrest.directory.parent)
        self.job_id = client.submit_job(script, working_dir=directory, name=HOLDER, stdout="/dev/null")
        until(lambda: [job["state"] for job in firecrest.new_jobs()] == ["RUNNING"])

    def let_go(self) -> None:
        self.go.touch()

    def let_go_after_a_cancel(self, work: Work) -> None:
        """Hold everything up until a job of ours has been cancelled, but not for ever."""

        def wait() -> None:
            with contextlib.suppress(AssertionError):
                until(lambda: "CANCELLED" in work.states())
            self.let_go()

        self._waiting = threading.Thread(target=wait)
        self._waiting.start()

    def end(self) -> None:
        self.let_go()
        if self._waiting is not None:
            self._waiting.join(30)


@pytest.fixture
def queue(firecrest: FirecrestForTest) -> Iterator[Queue]:
    """A queue in which nothing starts yet."""
    with client_of(firecrest) as client:
        made = Queue(firecrest, client)
        yield made
    made.end()


def named(firecrest: FirecrestForTest, kind: str) -> dict[str, Any]:
    """Arguments, and faults, with which an operation is done by a job of the kind that is the usual one."""
    if kind in ("rm", "compress"):
        # The direct call is stopped each time.
        v2 = firecrest.generation == 2
        firecrest.fault(
            "status",
            path_regex=QUICK_CALLS,
            times=0,
            status=408 if v2 else 400,
            headers={} if v2 else {"X-Timeout": "Command has finished with timeout signal"},
            body={"errorType": "error", "message": "Command execution timeout limit exceeded."}
            if v2
            else {"description": "Failed", "error": "Command has finished with timeout signal"},
        )
        return {}
    return {"job_name": "nightly"} if firecrest.generation == 1 else {}


class TestARetry:
    @pytest.mark.parametrize(("firecrest", "kind"), CASES, indirect=["firecrest"], ids=IDS)
    def test_after_a_death_at_every_boundary_in_turn_goes_on_with_the_one_job(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, kind: str
    ) -> None:
        work = Work(firecrest, tmp_path, kind, crashes=EVERYWHERE, **named(firecrest, kind))

        result = work.live(lane)

        assert [each["state"] for each in work.task.history].count("crashed") == len(EVERYWHERE)
        assert work.states() == ["COMPLETED"]
        assert result["job_id"] == work.jobs()[0]["id"]
        ours = firecrest.generation == 1 or kind == "rsync"
        assert ("-af" in work.jobs()[0]["name"]) is ours

    @V2
    def test_of_one_whose_job_failed_meanwhile_begins_anew(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue
    ) -> None:
        work = Work(firecrest, tmp_path, "cp", after_job_id=queue.job_id)
        work.die(lane, "after_store")
        [job] = work.jobs()
        with client_of(firecrest) as client:
            client.cancel_job(job["id"])
        queue.let_go()

        work.live(lane)

        assert work.states() == ["CANCELLED", "COMPLETED"]

    @V2
    def test_when_the_scheduler_has_forgotten_the_script_and_logs_believes_the_disk(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "mv")
        work.die(lane, "after_post")
        work.over()
        firecrest.fault("status", path_regex="/metadata$", times=0, status=404, body={"message": "not there"})

        assert "same inode" in work.live(lane)["proof"]

        assert work.states() == ["COMPLETED"]

    @V2
    def test_fails_and_submits_nothing_as_long_as_nobody_can_say_whether_there_is_a_job(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "rsync")
        work.die(lane, "after_post")
        firecrest.fault("status", method="GET", path_regex=firecrest.urls.list, times=0, status=500)
        work.task.env = {**work.task.env, **impatient(work.task.env)}

        assert not work.fail(lane)["for_good"]
        firecrest.clear_faults()
        work.live(lane)

        assert work.states() == ["COMPLETED"]

    @V2
    def test_between_two_jobs_that_may_be_its_own_does_not_choose(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue
    ) -> None:
        work = Work(firecrest, tmp_path, "cp")
        work.die(lane, "after_post")
        with client_of(firecrest) as client:
            client.transfer_cp(str(work.source), str(work.target))
        ids = [job["id"] for job in work.jobs()]

        outcome = work.fail(lane)

        assert outcome["for_good"]
        assert f"jobs {ids[0]}, {ids[1]} may be it" in outcome["error"]
        assert work.states() == ["PENDING", "PENDING"]

    @V2
    def test_does_not_take_another_copy_for_its_own(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "cp")
        work.die(lane, "before_submit")
        elsewhere = firecrest.directory / "elsewhere"
        elsewhere.mkdir()
        with client_of(firecrest) as client:
            other = client.transfer_cp(str(work.source), f"{elsewhere}/out").job_id
        work.over()

        assert work.live(lane)["job_id"] != other

    @V2
    def test_of_one_that_had_submitted_nothing_leaves_the_jobs_of_others_alone(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue
    ) -> None:
        work = Work(firecrest, tmp_path, "cp")
        with client_of(firecrest) as client:
            client.transfer_cp(str(work.source), str(work.target))
        work.task.try_number = 1

        work.begin(lane)

        assert work.states() == ["PENDING", "PENDING"]

    @BOTH
    def test_after_the_work_was_proven_only_tells_the_result(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "mv", **named(firecrest, "mv"))
        result = work.live(lane)

        # The worker died before Airflow had heard of it.
        assert work.live(lane) == result
        assert work.states() == ["COMPLETED"]


class TestWithoutAStore:
    """Airflow before 3.3: what a job's name says is all there is."""

    @pytest.mark.parametrize(
        ("firecrest", "kind"), [(1, "cp"), (2, "rsync")], indirect=["firecrest"], ids=["v1-cp", "v2-rsync"]
    )
    def test_a_job_that_still_runs_is_ended_first(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, kind: str, queue: Queue
    ) -> None:
        work = Work(firecrest, tmp_path, kind, task_state_store=False, after_job_id=queue.job_id)
        work.die(lane, "after_post")
        queue.let_go_after_a_cancel(work)

        work.live(lane)

        assert sorted(work.states()) == ["CANCELLED", "COMPLETED"]

    @V2
    def test_a_job_that_has_the_servers_name_is_known_by_the_paths_in_its_script(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue
    ) -> None:
        work = Work(firecrest, tmp_path, "cp", task_state_store=False)
        work.die(lane, "after_post")
        with client_of(firecrest) as client:
            client.transfer_cp(str(work.source), str(firecrest.directory / "other" / "out"))

        work.begin(lane)

        assert work.states() == ["CANCELLED", "PENDING", "PENDING"]

    @pytest.mark.parametrize(
        ("firecrest", "kind"),
        [(1, "cp"), (2, "mv"), (2, "rm")],
        indirect=["firecrest"],
        ids=["v1-cp", "v2-mv", "v2-rm"],
    )
    def test_work_that_is_done_is_not_done_again_and_the_error_names_the_job(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, kind: str
    ) -> None:
        work = Work(firecrest, tmp_path, kind, task_state_store=False, job_name="nightly")
        work.die(lane, "in_execute_complete")
        [job] = work.jobs()

        outcome = work.fail(lane)

        assert outcome["for_good"]
        assert f"job {job['id']} ({job['name']}) of an earlier try" in outcome["error"]
        assert work.states() == ["COMPLETED"]
        work.is_done()

    @V2
    def test_a_directory_is_not_copied_into_its_copy_although_the_job_had_no_mark(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "cp", task_state_store=False)
        work.die(lane, "in_execute_complete")

        outcome = work.fail(lane)

        assert outcome["for_good"]
        assert "an earlier try of this task may have copied it" in outcome["error"]
        assert work.states() == ["COMPLETED"]
        work.is_done()

    @V1
    def test_a_job_that_ended_well_and_complains_in_its_log_does_not_stand_in_the_way(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "rsync", task_state_store=False)
        work.target.mkdir()
        work.target.chmod(0o555)
        work.fail(lane)
        work.target.chmod(0o755)

        work.live(lane)

        assert work.states() == ["COMPLETED", "COMPLETED"]


class TestAClear:
    @pytest.mark.parametrize(
        ("firecrest", "store"),
        [(1, False), (2, True)],
        indirect=["firecrest"],
        ids=["v1 without a store", "v2 with a store"],
    )
    def test_ends_the_old_job_and_starts_a_new_one(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue, store: bool
    ) -> None:
        work = Work(firecrest, tmp_path, "rsync", task_state_store=store, after_job_id=queue.job_id)
        work.die(lane, "before_defer")
        work.task.clear()
        queue.let_go_after_a_cancel(work)

        work.live(lane)

        assert work.states() == ["CANCELLED", "COMPLETED"]

    @BOTH
    def test_finds_the_old_job_that_nobody_wrote_down(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue
    ) -> None:
        work = Work(firecrest, tmp_path, "cp", **named(firecrest, "cp"))
        work.die(lane, "after_post")
        work.task.clear()

        work.begin(lane)

        assert work.states() == ["CANCELLED", "PENDING"]

    @V2
    def test_after_the_old_job_has_succeeded_does_it_again(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "cp", job_name="nightly", if_exists="overwrite")
        work.die(lane, "before_defer")
        work.over()
        work.task.clear()
        # A directory's copy would go into the first one.
        work.task.arguments |= {"source_path": f"{work.source}/a file", "target_path": f"{work.source}/b"}

        assert work.task.live(lane)["state"] == "success"

        assert work.states() == ["COMPLETED", "COMPLETED"]

    def test_goes_on_with_the_old_job_where_that_is_wanted(
        self, firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
    ) -> None:
        work = Work(firecrest, tmp_path, "mv", reattach="always")
        work.die(lane, "before_defer")
        work.task.clear()

        work.live(lane)

        assert work.states() == ["COMPLETED"]


def test_a_retry_that_must_not_reattach_ends_the_old_job(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, queue: Queue
) -> None:
    work = Work(firecrest, tmp_path, "cp", reattach="never", after_job_id=queue.job_id)
    work.die(lane, "after_store")
    queue.let_go_after_a_cancel(work)

    work.live(lane)

    assert work.states() == ["CANCELLED", "COMPLETED"]


def impatient(env: Any) -> dict[str, str]:
    """The connection, with calls that are given up after a second."""
    connection = json.loads(env["AIRFLOW_CONN_FIRECREST_DEFAULT"])
    extra = connection.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    connection["extra"] = {**extra, "retry_budget": 1.0}
    return {"AIRFLOW_CONN_FIRECREST_DEFAULT": json.dumps(connection)}
