"""Directories as tasks, both ways, on both generations. A walk over the real disk is the witness."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models import crypto
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from cryptography.fernet import Fernet

from airflow_provider_firecrest.client.transfers.directories import sending as directory_sending
from airflow_provider_firecrest.client.transfers.steps import workdir
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import Run, TaskInstance, defer, first_event, revived, run_task, until
from tests.trees import seen, written_tree

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
BOTH_APIS = pytest.mark.parametrize("firecrest", [1, 2], ids=["v1", "v2"], indirect=True)
SIZES = pytest.mark.parametrize(("bulk", "way"), [(0, "direct"), (6 << 20, "staged")], ids=["small", "large"])


@pytest.fixture(autouse=True)
def fernet_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_key(monkeypatch, Fernet.generate_key().decode())
    yield
    forget_key()


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Python makes temporary files, empty but for what is under test."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return scratch


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The worker's side."""
    here = tmp_path / "here"
    here.mkdir()
    return here


def use_key(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", key)
    forget_key()


def forget_key() -> None:
    if hasattr(crypto.get_fernet, "cache_clear"):
        crypto.get_fernet.cache_clear()
    else:
        crypto._fernet = None


def upload(source: object, target: object, **arguments: Any) -> FirecrestUploadOperator:
    return FirecrestUploadOperator(
        **{"task_id": "simulate", "poll_interval": 0.2, "deferrable": False, **arguments},
        source_path=str(source),
        target_path=str(target),
    )


def download(source: object, target: object, **arguments: Any) -> FirecrestDownloadOperator:
    return FirecrestDownloadOperator(
        **{"task_id": "simulate", "poll_interval": 0.2, "deferrable": False, **arguments},
        source_path=str(source),
        target_path=str(target),
    )


def whole_run(make: Any) -> tuple[Run, list[dict[str, Any]]]:
    """Run a task to its end through all its deferrals; return it with all events."""
    ti = TaskInstance()
    events: list[dict[str, Any]] = []
    method = ""
    for _ in range(10):
        task = make()
        try:
            if not events:
                return Run(task.execute({"ti": ti}), ti), events
            return Run(task.resume_execution(method, {"event": events[-1]}, {"ti": ti}), ti), events
        except TaskDeferred as deferral:
            events.append(first_event(revived(deferral.trigger)))
            method = deferral.method_name
    raise AssertionError("it deferred ten times")


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def nothing_left(firecrest: FirecrestForTest, here: Path, scratch: Path) -> None:
    """Nothing temporary on either side."""
    assert names(scratch) == []
    assert {each for each in names(here) if each.startswith(".")} == set()
    assert {each for each in names(firecrest.directory) if each.startswith(".firecrest-")} <= {
        ".firecrest-claims"
    }


# The whole way


@BOTH_APIS
@BOTH_WAYS
@SIZES
def test_a_directory_arrives_as_it_was(
    firecrest: FirecrestForTest, here: Path, scratch: Path, deferrable: bool, bulk: int, way: str
) -> None:
    source, target = written_tree(here / "case", bulk=bulk), firecrest.directory / "case"
    done, events = whole_run(lambda: upload(source, target, deferrable=deferrable))

    assert seen(target) == seen(source)
    result = done.result
    assert (result["source"], result["target"], result["way"]) == (str(source), str(target), way)
    files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
    assert (result["files"], result["bytes"]) == (len(files), sum(path.stat().st_size for path in files))
    jobs = {job["id"]: job["state"] for job in firecrest.jobs()}
    assert [jobs[each] for each in result["job_ids"]] == ["COMPLETED"] * len(result["job_ids"])
    assert len(events) == (0 if not deferrable else 1 if way == "direct" else 2)
    nothing_left(firecrest, here, scratch)

    back, events = whole_run(lambda: download(target, here / "back", deferrable=deferrable))

    assert seen(here / "back") == seen(source)
    assert back.result["tree_sha256"] == result["tree_sha256"]
    assert back.result["way"] == way
    assert len(events) == (0 if not deferrable else 1 if way == "direct" else 2)
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_a_thousand_small_files_go_there_and_back(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source = here / "many"
    for number in range(1000):
        path = source / f"{number % 10}" / f"file {number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * (number % 7))
    there = firecrest.directory / "many"
    up = run_task(lambda: upload(source, there, compression="gzip"))
    down = run_task(lambda: download(there, here / "back", compression="gzip"))

    assert seen(here / "back") == seen(there) == seen(source)
    assert (up.result["files"], down.result["files"]) == (1000, 1000)
    assert up.result["tree_sha256"] == down.result["tree_sha256"]
    nothing_left(firecrest, here, scratch)


def test_an_empty_directory_goes_there_and_back(firecrest: FirecrestForTest, here: Path) -> None:
    (here / "nothing").mkdir()
    done = run_task(lambda: upload(here / "nothing", f"{firecrest.directory}/"))
    assert done.result["files"] == 0
    assert (firecrest.directory / "nothing").is_dir()
    run_task(lambda: download(firecrest.directory / "nothing", here / "back"))
    assert seen(here / "back") == {}


@BOTH_APIS
def test_a_read_only_directory_arrives_read_only(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    source.chmod(0o555)
    run_task(lambda: upload(source, there))
    run_task(lambda: download(there, here / "back"))
    assert [path.stat().st_mode & 0o777 for path in (there, here / "back")] == [0o555, 0o555]
    assert seen(there) == seen(here / "back") == seen(source)
    run_task(lambda: upload(source, there, if_exists="overwrite"))
    run_task(lambda: download(there, here / "back", if_exists="overwrite"))
    nothing_left(firecrest, here, scratch)


def test_a_slash_at_the_end_keeps_the_sources_name(firecrest: FirecrestForTest, here: Path) -> None:
    source = written_tree(here / "case")
    done = run_task(lambda: upload(f"{source}/", f"{firecrest.directory}/"))
    assert done.result["target"] == str(firecrest.directory / "case")
    (here / "results").mkdir()
    back = run_task(lambda: download(firecrest.directory / "case", f"{here}/results/"))
    assert back.result["target"] == str(here / "results" / "case")
    assert seen(here / "results" / "case") == seen(source)


def test_what_is_on_its_way_can_be_read_by_its_owner_only(firecrest: FirecrestForTest, here: Path) -> None:
    source = written_tree(here / "case")
    blocked = occupied(firecrest)
    try:
        defer(lambda: upload(source, firecrest.directory / "case", deferrable=True), TaskInstance())
        [work] = [each for each in firecrest.directory.iterdir() if each.name.startswith(".firecrest-")]
        assert work.stat().st_mode & 0o777 == 0o700
    finally:
        released(blocked)


# What is there already


@BOTH_APIS
@BOTH_WAYS
def test_an_existing_target_follows_if_exists(
    firecrest: FirecrestForTest, here: Path, scratch: Path, deferrable: bool
) -> None:
    source, there, back = written_tree(here / "case"), firecrest.directory / "case", here / "back"
    for target in (there, back):
        target.mkdir()
        (target / "old").write_text("old")

    def tasks(if_exists: str) -> list[Any]:
        return [
            lambda: upload(source, there, if_exists=if_exists, deferrable=deferrable),
            lambda: download(there, back, if_exists=if_exists, deferrable=deferrable),
        ]

    with pytest.raises(
        AirflowFailException, match="if_exists='overwrite' replaces it with all that is in it"
    ):
        whole_run(tasks("fail")[0])
    with pytest.raises(AirflowFailException, match="is another tree than"):
        whole_run(tasks("skip")[0])
    assert names(there) == ["old"]
    whole_run(tasks("overwrite")[0])
    assert seen(there) == seen(source)

    with pytest.raises(
        AirflowFailException, match="if_exists='overwrite' replaces it with all that is in it"
    ):
        whole_run(tasks("fail")[1])
    with pytest.raises(AirflowFailException, match="is another tree than"):
        whole_run(tasks("skip")[1])
    assert names(back) == ["old"]
    whole_run(tasks("overwrite")[1])
    assert seen(back) == seen(source)

    for task in tasks("skip"):
        assert whole_run(task)[0].result["way"] == "skip"
    nothing_left(firecrest, here, scratch)


def test_a_file_in_the_way_is_not_compared(firecrest: FirecrestForTest, here: Path) -> None:
    source = written_tree(here / "case")
    (firecrest.directory / "case").write_text("a file")
    with pytest.raises(AirflowFailException, match="is no directory"):
        run_task(lambda: upload(source, firecrest.directory / "case", if_exists="skip"))
    run_task(lambda: upload(source, firecrest.directory / "case", if_exists="overwrite"))
    assert seen(firecrest.directory / "case") == seen(source)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"compression": "zip"}, "compression: 'zip' is not one of none, gzip"),
        ({"time_limit": "soon"}, "time_limit: 'soon' is not a time"),
        ({"if_exists": "maybe"}, "if_exists: 'maybe' is not one of"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_happens(
    firecrest: FirecrestForTest, here: Path, scratch: Path, arguments: dict[str, str], message: str
) -> None:
    source = written_tree(here / "case")
    with pytest.raises(AirflowFailException, match=message):
        run_task(lambda: upload(source, firecrest.directory / "case", **arguments))
    assert names(firecrest.directory) == []
    with pytest.raises(AirflowFailException, match=message):
        run_task(lambda: download(firecrest.directory, here / "back", **arguments))
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_a_link_that_leads_out_is_refused_by_name_on_either_side(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case"), written_tree(firecrest.directory / "case")
    for tree in (source, there):
        (tree / "sub" / "outside").symlink_to("../../elsewhere")
    with pytest.raises(AirflowFailException, match=r"sub/outside -> ../../elsewhere leads out"):
        run_task(lambda: upload(source, firecrest.directory / "copy"))
    with pytest.raises(AirflowFailException, match=r"sub/outside -> ../../elsewhere leads out") as failure:
        run_task(lambda: download(there, here / "copy"))
    assert "was refused by job" in str(failure.value)
    assert not (firecrest.directory / "copy").exists()
    assert not (here / "copy").exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_where_nothing_can_be_written_is_told_before_the_work(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    closed = firecrest.directory / "closed"
    written_tree(closed / "case")
    closed.chmod(0o555)
    before = len(firecrest.jobs())
    try:
        with pytest.raises(AirflowFailException, match=r"source_path: nothing can be written in .*/closed"):
            run_task(lambda: download(closed / "case", here / "case"))
        with pytest.raises(AirflowFailException, match=r"target_path: nothing can be written in .*/closed"):
            run_task(lambda: upload(written_tree(here / "case"), closed / "new"))
    finally:
        closed.chmod(0o755)
    assert len(firecrest.jobs()) == before
    nothing_left(firecrest, here, scratch)


def test_a_full_temporary_directory_is_told_before_packing(
    firecrest: FirecrestForTest, here: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written_tree(here / "case")
    monkeypatch.setattr(directory_sending.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(AirflowException, match=r"The archive needs \d+ bytes in .*scratch, and 10 are free"):
        run_task(lambda: upload(source, firecrest.directory / "case"))
    nothing_left(firecrest, here, scratch)


@pytest.mark.parametrize("firecrest", [1], ids=["v1"], indirect=True)
def test_on_v1_a_tree_of_more_than_five_gib_is_refused_before_it_is_packed(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    (here / "case").mkdir()
    with (here / "case" / "sparse").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(AirflowFailException, match="5 GiB at most"):
        run_task(lambda: upload(here / "case", firecrest.directory / "case"))
    nothing_left(firecrest, here, scratch)


# What goes wrong


@BOTH_APIS
@BOTH_WAYS
def test_a_job_that_says_it_is_done_and_did_nothing_fails_the_task(
    firecrest: FirecrestForTest,
    here: Path,
    scratch: Path,
    deferrable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workdir, "_REPORT_WITHIN", 0.5)
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    firecrest.fault("job_does_nothing")
    with pytest.raises(AirflowException, match=r"Unpacking .* failed\. The job .* ended COMPLETED"):
        whole_run(lambda: upload(source, there, deferrable=deferrable))
    assert not there.exists()
    nothing_left(firecrest, here, scratch)

    written_tree(there)
    firecrest.fault("job_does_nothing")
    with pytest.raises(AirflowException, match=r"Packing .* failed\. The job .* ended COMPLETED"):
        whole_run(lambda: download(there, here / "back", deferrable=deferrable))
    assert not (here / "back").exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_an_archive_that_lost_its_end_on_the_way_there_leaves_no_tree(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    blocked = occupied(firecrest)
    ti = TaskInstance()
    deferral = defer(lambda: upload(source, there, deferrable=True), ti)
    [archive] = firecrest.directory.glob(".firecrest-*/tree.tar")
    archive.write_bytes(archive.read_bytes()[:7000])
    released(blocked)

    event = first_event(revived(deferral.trigger))
    with pytest.raises(AirflowException, match=r"Unpacking (.|\n)*tar: Unexpected EOF"):
        upload(source, there).resume_execution(deferral.method_name, {"event": event}, {"ti": ti})
    assert not there.exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_a_byte_that_changed_on_the_way_leaves_no_tree(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    blocked = occupied(firecrest)
    ti = TaskInstance()
    deferral = defer(lambda: upload(source, there, deferrable=True), ti)
    [archive] = firecrest.directory.glob(".firecrest-*/tree.tar")
    archive.write_bytes(archive.read_bytes().replace(b"#!/bin/sh", b"#!/bin/SH"))
    released(blocked)

    event = first_event(revived(deferral.trigger))
    with pytest.raises(AirflowException, match="other contents than what was sent"):
        upload(source, there).resume_execution(deferral.method_name, {"event": event}, {"ti": ti})
    assert not there.exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_an_archive_that_is_spoiled_on_the_way_back_leaves_no_tree(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    there = written_tree(firecrest.directory / "case")
    ti = TaskInstance()
    deferral = defer(lambda: download(there, here / "back", deferrable=True), ti)
    event = first_event(revived(deferral.trigger))
    [archive] = firecrest.directory.glob(".firecrest-*/tree.tar")
    archive.write_bytes(archive.read_bytes().replace(b"#!/bin/sh", b"#!/bin/SH"))

    with pytest.raises(AirflowException, match="contents differ: tree digest"):
        download(there, here / "back").resume_execution(deferral.method_name, {"event": event}, {"ti": ti})
    assert not (here / "back").exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_a_store_that_fails_leaves_nothing_behind(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case", bulk=6 << 20), firecrest.directory / "case"
    firecrest.fault(
        "status",
        method="POST" if firecrest.generation == 1 else "PUT",
        path_regex="^/s3/",
        times=0,
        status=403,
    )
    with pytest.raises(AirflowException):
        run_task(lambda: upload(source, there))
    firecrest.clear_faults()
    assert not there.exists()
    assert [job for job in firecrest.new_jobs() if job["state"] in ("PENDING", "RUNNING")] == []
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_a_submit_whose_answer_is_lost_does_not_unpack_twice(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    before = {job["id"] for job in firecrest.jobs()}
    firecrest.fault("lose_answer", method="POST", path_regex="/(jobs|jobs/upload)$")
    done = run_task(lambda: upload(source, there))

    assert seen(there) == seen(source)
    new = [job for job in firecrest.jobs() if job["id"] not in before]
    assert [job["id"] for job in new] == done.result["job_ids"]
    nothing_left(firecrest, here, scratch)


# Kills and deadlines


@BOTH_APIS
def test_a_kill_while_deferred_cancels_and_removes(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    from tests.integration.test_triggers import USER_ACTION, stopped_while_waiting

    source, there = written_tree(here / "case"), firecrest.directory / "case"
    before = {job["id"] for job in firecrest.jobs()}
    blocked = occupied(firecrest)
    try:
        deferral = defer(lambda: upload(source, there, deferrable=True), TaskInstance())
        asyncio.run(stopped_while_waiting(revived(deferral.trigger), USER_ACTION))
        [job] = [job for job in firecrest.jobs() if job["id"] not in before | blocked]
        assert job["state"].startswith("CANCELLED")
    finally:
        released(blocked)
    assert not there.exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_a_kill_in_the_worker_cancels_and_removes(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    before = {job["id"] for job in firecrest.jobs()}
    blocked = occupied(firecrest)
    task = upload(source, there)
    seconds: list[float] = []

    def kill() -> None:
        until(lambda: (task._running or {}).get("job_id"))
        started = time.monotonic()
        task.on_kill()
        seconds.append(time.monotonic() - started)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(AirflowException, match="was killed while it waited"):
            task.execute({"ti": TaskInstance()})
        killer.join(20)
        assert seconds[0] < 4.5
        [job] = [job for job in firecrest.jobs() if job["id"] not in before | blocked]
        assert job["state"].startswith("CANCELLED")
    finally:
        released(blocked)
    assert not there.exists()
    nothing_left(firecrest, here, scratch)


def test_a_kill_while_packing_leaves_nothing_anywhere(
    firecrest: FirecrestForTest, here: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    task = upload(source, there)
    real = directory_sending.pack

    def killed_in_the_middle(*arguments: Any, **options: Any) -> Any:
        assert [each for each in names(firecrest.directory) if each.startswith(".firecrest-")]
        task.on_kill()
        return real(*arguments, **options)

    monkeypatch.setattr(directory_sending, "pack", killed_in_the_middle)
    with pytest.raises(AirflowException, match="cancelled"):
        task.execute({"ti": TaskInstance()})
    assert not there.exists()
    nothing_left(firecrest, here, scratch)


@BOTH_APIS
def test_at_the_deadline_the_job_is_cancelled_and_its_directory_removed(
    firecrest: FirecrestForTest, here: Path, scratch: Path
) -> None:
    there = written_tree(firecrest.directory / "case")
    before = {job["id"] for job in firecrest.jobs()}
    blocked = occupied(firecrest)
    try:
        with pytest.raises(AirflowTaskTimeout):
            whole_run(
                lambda: download(
                    there, here / "back", deferrable=True, execution_timeout=timedelta(seconds=3)
                )
            )
        [job] = [job for job in firecrest.jobs() if job["id"] not in before | blocked]
        assert job["state"].startswith("CANCELLED")
    finally:
        released(blocked)
    assert not (here / "back").exists()
    nothing_left(firecrest, here, scratch)


def test_the_only_copy_of_a_replaced_tree_is_never_removed(
    firecrest: FirecrestForTest, here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The job is stopped between taking the old tree away and putting the new one in its place."""
    source, there = written_tree(here / "case"), firecrest.directory / "case"
    there.mkdir()
    (there / "precious").write_text("old")
    blocked = occupied(firecrest)
    ti = TaskInstance()
    deferral = defer(lambda: upload(source, there, if_exists="overwrite", deferrable=True), ti)
    [work] = firecrest.directory.glob(".firecrest-*")
    there.rename(work / "old")
    released({deferral.trigger.job_ids[0]})
    event = first_event(revived(deferral.trigger))
    released(blocked)

    with pytest.raises(AirflowException, match="CANCELLED"):
        upload(source, there).resume_execution(deferral.method_name, {"event": event}, {"ti": ti})
    assert (work / "old" / "precious").read_text() == "old"
    assert f"kept in {work}/old" in caplog.text


# Secrets


@BOTH_APIS
@pytest.mark.parametrize("direction", ["upload", "download"])
def test_no_presigned_url_is_stored_or_logged(
    firecrest: FirecrestForTest,
    here: Path,
    direction: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, there = here / "case", firecrest.directory / "case"
    written_tree(ours if direction == "upload" else there, bulk=6 << 20)
    make = (
        (lambda: upload(ours, there, deferrable=True))
        if direction == "upload"
        else (lambda: download(there, ours, deferrable=True))
    )
    done, events = whole_run(make)

    assert len(events) == 2
    stored = json.dumps([done.result, done.ti.xcoms, events]) + capsys.readouterr().out
    for word in ("X-Amz", "Signature", "/s3/", "policy"):
        assert word.lower() not in stored.lower()


def test_without_a_fernet_key_the_archive_is_waited_for_in_the_worker(
    firecrest: FirecrestForTest, here: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_key(monkeypatch, "")
    there = written_tree(firecrest.directory / "case", bulk=6 << 20)
    _, events = whole_run(lambda: download(there, here / "back", deferrable=True))

    assert seen(here / "back") == seen(there)
    assert len(events) == 1, "it was deferred for the packing only"
    nothing_left(firecrest, here, scratch)


def test_a_worker_with_another_fernet_key_has_the_archive_staged_again(
    firecrest: FirecrestForTest, here: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = written_tree(firecrest.directory / "case", bulk=6 << 20)
    ti = TaskInstance()
    make = lambda: download(there, here / "back", deferrable=True)  # noqa: E731
    deferral = defer(make, ti)
    packed = first_event(revived(deferral.trigger))
    with pytest.raises(TaskDeferred) as again:
        make().resume_execution(deferral.method_name, {"event": packed}, {"ti": ti})
    staged = first_event(revived(again.value.trigger))

    use_key(monkeypatch, Fernet.generate_key().decode())
    result = make().resume_execution(deferral.method_name, {"event": staged}, {"ti": ti})
    assert seen(here / "back") == seen(there)
    assert result["way"] == "staged"
    nothing_left(firecrest, here, scratch)


def occupied(firecrest: FirecrestForTest) -> set[str]:
    """Fill the cluster, so that whatever comes next waits in the queue."""
    from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator

    task = FirecrestSubmitJobOperator(
        task_id="block",
        script="#!/bin/bash\n#SBATCH --ntasks=4\nsleep 300\n",
        working_dir=str(firecrest.directory),
        stdout="/dev/null",
        fence=False,
        reattach="never",
        wait_for_completion=False,
    )
    job_id = str(run_task(lambda: task).result["job_id"])
    until(lambda: next(job["state"] for job in firecrest.jobs() if job["id"] == job_id) == "RUNNING")
    return {job_id}


def released(job_ids: set[str]) -> None:
    from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator

    run_task(lambda: FirecrestCancelJobOperator(task_id="free", job_id=sorted(job_ids)))


def test_the_scratch_directory_is_really_the_one_that_is_used(scratch: Path) -> None:
    """The witness of all the others: Python's temporary files do land where they look."""
    with tempfile.TemporaryDirectory() as directory:
        assert os.path.dirname(directory) == str(scratch)  # noqa: PTH120
