"""Replays of ``/storage/xfer-internal``: transfers are jobs, and jobs that fail do not tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.v1_harness import (
    V1Replayer,
    check_same_answer,
    check_same_json,
    check_same_task,
    load,
    matching,
    names,
)
from tests.conformance.v1_jobs import Jobs
from tests.conformance.v1_trees import add_transfer_files, make_home

_ALL = matching("xfer-int")
WITH_TASK = [name.removesuffix("-task") for name in _ALL if name.endswith("-task")]
REFUSED = [name for name in _ALL if name not in WITH_TASK and not name.endswith(("-task", "-job"))]
REPLAYED = _ALL
OUT_OF_REACH: dict[str, str] = {}


def _arrange(replayer: V1Replayer, name: str) -> dict[str, Any]:
    """The files; and what must differ in the request."""
    top = make_home(replayer.home)
    add_transfer_files(top)
    if "extract" in name:
        replayer.call(
            "POST",
            "/utilities/compress",
            data={"sourcePath": str(top / "xi" / "d"), "targetPath": str(top / "xi" / "d.tar.gz")},
        )
    if name.endswith("noaccount"):
        replayer.settings(account_from_group=True)
    if name.endswith("failed-dep"):
        failed = Jobs(replayer).run("fail")
        return {"data": {**replayer.localise(load(name).request["form"]), "stageOutJobId": failed}}
    return {}


@pytest.mark.parametrize("name", REFUSED)
def test_transfer_is_refused_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    _arrange(v1_replayer, name)
    before = len(v1_replayer.server.jobs())

    check_same_answer(v1_replayer, load(name), v1_replayer.send(load(name)))
    assert len(v1_replayer.server.jobs()) == before


@pytest.mark.parametrize("name", WITH_TASK)
def test_transfer_is_submitted_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    changes = _arrange(v1_replayer, name)

    response = v1_replayer.send(load(name), **changes)

    check_same_answer(v1_replayer, load(name), response)
    seen = v1_replayer.statuses(response.json()["task_id"])
    check_same_task(v1_replayer, load(f"{name}-task"), seen)
    if f"{name}-job" in names():
        _check_job(v1_replayer, name, seen[-1]["data"])


def _check_job(replayer: V1Replayer, name: str, data: dict[str, Any]) -> None:
    """The job ended and logged as recorded."""
    recorded = load(f"{name}-job").content
    jobs = Jobs(replayer)
    jobs.wait(data["jobid"])
    (row,), (expected,) = jobs.ask("/compute/acct", jobs=data["jobid"]), recorded["acct"]
    if expected["name"] == "allocation":
        # Accounting had not heard of the job's name and partition yet.
        expected = {**expected, "name": row["name"], "partition": row["partition"]}
    check_same_json(replayer.anonymise(row), replayer.anonymise(expected))
    for kind, key in (("stdout", "job_file_out"), ("stderr", "job_file_err")):
        log = Path(data[key]).read_text()
        # Two programs wrote into one file: which was first is a matter of chance.
        assert sorted(_lines(replayer, log)) == sorted(_lines(replayer, recorded[kind])), kind


def _lines(replayer: V1Replayer, log: str) -> list[str]:
    masked = re.sub(r"sent .*|total size .*|main\.c\(\d+\) .*", "RATE", str(replayer.anonymise(log)))
    return masked.splitlines()


def test_what_a_transfer_is_for_happens(v1_replayer: V1Replayer) -> None:
    _arrange(v1_replayer, "extract")
    xi = v1_replayer.home / "rig1" / "xi"

    for name in ("cp", "mv", "rm", "rsync", "extract", "compress"):
        task = v1_replayer.result(v1_replayer.send(load(f"xfer-int-{name}")))
        Jobs(v1_replayer).wait(task["data"]["jobid"])

    assert not (xi / "b.txt").exists()
    assert (xi / "b2.txt").read_text() == "b.txt\n"
    assert not (xi / "c.txt").exists()
    assert (xi / "d2" / "d" / "e").is_dir()
    assert (xi / "d" / "e" / "d" / "e").is_dir()
    assert (xi / "a.txt").read_text() == "a.txt\n"


def test_a_failing_transfer_ends_completed_and_only_its_error_file_tells(v1_replayer: V1Replayer) -> None:
    _arrange(v1_replayer, "cp")

    task = v1_replayer.result(v1_replayer.send(load("xfer-int-cp-missing-source")))
    jobs = Jobs(v1_replayer)
    jobs.wait(task["data"]["jobid"])

    assert [job["state"] for job in jobs.tasks(task["data"]["jobid"])] == ["COMPLETED"]
    assert "Exited with exit code 1" in Path(task["data"]["job_file_err"]).read_text()
    assert not (v1_replayer.home / "rig1" / "xi" / "n2").exists()


def test_a_transfer_after_a_failed_job_waits_for_ever(v1_replayer: V1Replayer) -> None:
    name = "xfer-int-cp-after-failed-dep"
    changes = _arrange(v1_replayer, name)
    jobs = Jobs(v1_replayer)

    task = v1_replayer.result(v1_replayer.send(load(name), **changes))

    job_id = task["data"]["jobid"]

    def given_up() -> bool | None:
        return jobs.tasks(job_id)[0]["reason"] == "DependencyNeverSatisfied" or None

    v1_replayer.wait_until(given_up, 10, "the dependency is judged")
    assert jobs.tasks(job_id)[0]["state"] == "PENDING"


def test_a_transfer_can_be_made_to_do_nothing_and_say_nothing(v1_replayer: V1Replayer) -> None:
    _arrange(v1_replayer, "cp")
    v1_replayer.server.fault("file_job_does_nothing", path_regex="xfer-internal/cp$")

    task = v1_replayer.result(v1_replayer.send(load("xfer-int-cp")))
    Jobs(v1_replayer).wait(task["data"]["jobid"])

    assert "finished on" in Path(task["data"]["job_file_out"]).read_text()
    assert Path(task["data"]["job_file_err"]).read_text() == ""
    target = v1_replayer.localise(load("xfer-int-cp").request["form"]["targetPath"])
    assert not Path(target).exists()


@pytest.mark.parametrize("operation", ["rm", "mv", "cp", "rsync", "compress"])
def test_a_transfer_job_keeps_to_the_sandbox(v1_replayer: V1Replayer, operation: str, tmp_path: Path) -> None:
    _arrange(v1_replayer, operation)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine\n")
    form = {"sourcePath": str(v1_replayer.home / "rig1" / "hello.txt"), "targetPath": str(victim)}

    task = v1_replayer.result(v1_replayer.call("POST", f"/storage/xfer-internal/{operation}", data=form))
    Jobs(v1_replayer).wait(task["data"]["jobid"])

    assert victim.read_text() == "mine\n"
    assert "Permission denied" in Path(task["data"]["job_file_err"]).read_text()
