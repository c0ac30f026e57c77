"""Uploads to the local FirecREST. The oracle is the file on its disk and the scheduler's own job list."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    CommandTimeoutError,
    ConflictError,
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    TooLargeError,
    TransferFailedError,
    UnavailableError,
)
from airflow_provider_firecrest.client.models import TransferJob
from airflow_provider_firecrest.client.transfers import (
    StagedUpload,
    TransferResult,
    cancel_staged,
    finish_upload,
    plan_upload,
    stage_upload,
    staged_instead,
    upload_direct,
)
from tests.fixtures_local import FirecrestForTest
from tests.odd_names import ODD_NAMES

from .transferring import (
    LARGE,
    active_jobs,
    client,
    client_of,
    impatient,
    names_in,
    over,
    sha256,
    upload,
    written,
)

__all__ = ["client", "impatient"]

MIB = 1024 * 1024


# Whole uploads


@pytest.mark.parametrize(
    ("size", "way"),
    [(0, "direct"), (1, "direct"), (5 * MIB, "direct"), (5 * MIB + 1, "staged"), (LARGE, "staged")],
)
def test_a_file_arrives_whole_whatever_its_size(
    size: int, way: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", size)
    target = firecrest.directory / "data.bin"

    done = upload(client, source, target)

    assert target.stat().st_size == size
    assert sha256(target) == sha256(source) == done.sha256
    assert (done.source, done.target, done.size, done.way) == (str(source), str(target), size, way)
    assert (done.job_id is not None) == (way == "staged")
    assert names_in(firecrest.directory) == ["data.bin"]
    assert active_jobs(firecrest) == []
    assert json.loads(json.dumps(done.as_dict()))["sha256"] == sha256(source)


@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("target", ["", "/", "/data.bin"])
def test_a_directory_as_target_gets_the_sources_name(
    target: str, size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", size)

    done = upload(client, source, f"{firecrest.directory}{target}")

    assert done.target == str(firecrest.directory / "data.bin")
    assert sha256(firecrest.directory / "data.bin") == sha256(source)


def test_progress_is_told_up_to_the_last_byte(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", LARGE)
    told: list[tuple[int, int]] = []
    plan = plan_upload(client, source, str(firecrest.directory) + "/")

    staged = stage_upload(client, plan, progress=lambda done, total: told.append((done, total)))
    finish_upload(client, staged, over(client, staged))

    assert told[-1] == (LARGE, LARGE)


def test_a_staged_upload_can_be_finished_by_another_process(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", LARGE)
    staged = stage_upload(client, plan_upload(client, source, str(firecrest.directory) + "/"))

    carried = json.dumps(staged.as_dict())
    job = over(client, staged)
    with client_of(firecrest) as other:
        done = finish_upload(other, StagedUpload.from_dict(json.loads(carried)), job)

    assert "http" not in carried
    assert "Signature" not in carried
    assert done.sha256 == sha256(firecrest.directory / "data.bin")


def test_without_a_checksum_the_size_is_compared(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", 1000)

    upload(client, source, firecrest.directory / "data.bin", verify_checksum=False)

    assert not [each for each in firecrest.requests() if each["path"].endswith("/checksum")]
    assert [each for each in firecrest.requests() if each["path"].endswith("/stat")]


# What is there already


def test_an_existing_target_is_left_alone_by_default(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", 1000)
    target = firecrest.directory / "data.bin"
    target.write_text("old")

    with pytest.raises(ConflictError, match=r"target_path: .*if_exists='overwrite'"):
        upload(client, source, target)
    assert target.read_text() == "old"


@pytest.mark.parametrize("size", [0, 1000, LARGE])
def test_overwrite_replaces_what_is_there(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", size)
    target = written(firecrest.directory / "data.bin", 2 * LARGE, seed=2)

    upload(client, source, target, if_exists="overwrite")

    assert sha256(target) == sha256(source)


@pytest.mark.parametrize("size", [0, 1000, LARGE])
def test_skip_accepts_the_same_file_and_sends_nothing(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", size)
    written(firecrest.directory / "data.bin", size)

    plan = plan_upload(client, source, str(firecrest.directory), if_exists="skip")

    assert (plan.way, plan.sha256) == ("skip", sha256(source))
    assert not [each for each in firecrest.requests() if each["method"] == "POST" and "/ops/" in each["path"]]


@pytest.mark.parametrize("other", [999, 1000, 0])
def test_skip_does_not_accept_another_file(
    other: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", 1000)
    target = written(firecrest.directory / "data.bin", other, seed=2)
    before = sha256(target)

    with pytest.raises(ConflictError, match="another file"):
        plan_upload(client, source, str(target), if_exists="skip")
    assert sha256(target) == before


def test_skip_uploads_what_is_not_there(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "data.bin", 1000)

    upload(client, source, firecrest.directory / "data.bin", if_exists="skip")

    assert sha256(firecrest.directory / "data.bin") == sha256(source)


# Names


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, 100) for name in ODD_NAMES),
        *((name, LARGE) for name in ODD_NAMES),
        # Each takes the server's time limit.
        *((name, 0) for name in ODD_NAMES[:4]),
    ],
)
def test_a_name_is_refused_or_arrives_with_the_same_bytes(
    name: str, size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """Never as another file, never with something executed."""
    source = written(tmp_path / "data.bin", size)

    done: TransferResult | None = None
    with contextlib.suppress(InvalidRequestError):
        done = upload(client, source, firecrest.directory / name)

    if done is None:
        assert names_in(firecrest.directory) == []
        assert nothing_moved(firecrest)
    else:
        assert names_in(firecrest.directory) == [name]
        assert sha256(firecrest.directory / name) == sha256(source) == done.sha256
    assert active_jobs(firecrest) == []


@pytest.mark.parametrize(
    "name", ["sp ace.txt", "ünï-日本.txt", "a&b.txt", "semi;colon.txt", "back\\slash.txt"]
)
def test_a_small_file_of_an_odd_name_is_not_refused(
    name: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    upload(client, written(tmp_path / "f", 100), firecrest.directory / name)

    assert names_in(firecrest.directory) == [name]


def test_a_source_of_any_name_can_be_sent(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / 'it\'s $(id) "odd"\n&.bin', 100)

    upload(client, source, firecrest.directory / "plain.bin")

    assert sha256(firecrest.directory / "plain.bin") == sha256(source)


# Refused before a byte moves


def nothing_moved(firecrest: FirecrestForTest) -> bool:
    return not [each for each in firecrest.requests() if re.search(r"/(ops|transfer)/upload$", each["path"])]


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_target_directory_that_does_not_exist_is_told(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", size)

    for target in ("missing/f", "missing/", "missing/deeper/f"):
        with pytest.raises(NotFoundError, match=r"^target_path: there is no directory .*/missing"):
            plan_upload(client, source, f"{firecrest.directory}/{target}")
    assert nothing_moved(firecrest)


def test_a_file_where_a_directory_is_needed_is_told(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    (firecrest.directory / "file").write_text("x")

    with pytest.raises(FirecrestError, match=r"(?i)not a directory"):
        plan_upload(client, written(tmp_path / "f", 10), f"{firecrest.directory}/file/f")
    assert nothing_moved(firecrest)


def test_a_directory_of_the_targets_name_is_told(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    (firecrest.directory / "f").mkdir()

    with pytest.raises(ConflictError, match="is a directory"):
        plan_upload(client, written(tmp_path / "f", 10), f"{firecrest.directory}/")


@pytest.mark.parametrize("target", ["/etc/passwd", "/", "/tmp/x", "relative/f", "", "~/f"])
def test_a_target_outside_the_file_systems_is_refused(
    target: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """The server's transfer jobs do not check that themselves."""
    with pytest.raises(InvalidRequestError, match=r"^target_path: "):
        plan_upload(client, written(tmp_path / "f", 10), target)
    assert nothing_moved(firecrest)


def test_a_path_cannot_climb_out_of_the_file_systems(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match=r"^target_path: .*'\.\.'"):
        plan_upload(client, written(tmp_path / "f", 10), f"{firecrest.directory}/../../../etc/f")


@pytest.mark.parametrize("size", [10, LARGE])
def test_somebody_elses_directory_is_refused(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    foreign = firecrest.scratch.parent / "otheruser"

    with pytest.raises(PermissionDeniedError):
        plan_upload(client, written(tmp_path / "f", size), f"{foreign}/f")
    assert nothing_moved(firecrest)


@pytest.mark.parametrize("value", ["replace", "", "Fail"])
def test_an_unknown_policy_is_refused(value: Any, client: FirecrestClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"^if_exists: "):
        plan_upload(client, written(tmp_path / "f", 10), "/x", if_exists=value)


def test_a_source_that_is_missing_a_directory_or_no_file_is_told_at_once(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """A pipe must not be opened: that would wait for its writer."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    cases = {
        "missing": "there is no local file",
        ".": "directory",
        "pipe": "not a regular file",
        "broken": "no local",
    }

    for name, words in cases.items():
        with pytest.raises(InvalidRequestError, match=rf"^source_path: .*{words}"):
            plan_upload(client, tmp_path / name, f"{firecrest.directory}/f")
    assert firecrest.requests() == []


def test_an_unknown_system_is_told(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match=r"'nosuch'.*cluster"):
        plan_upload(client, written(tmp_path / "f", 10), f"{firecrest.directory}/f", system="nosuch")


# Lies and losses


def test_an_upload_whose_job_says_success_without_a_file_fails_with_the_evidence(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", LARGE)
    firecrest.fault("ingress_says_success_without_file", path_regex="transfer/upload")

    with pytest.raises(TransferFailedError) as raised:
        upload(client, source, firecrest.directory / "f")

    assert f"{firecrest.directory}/f is not on cluster" in str(raised.value)
    assert "ended COMPLETED" in str(raised.value)
    assert "File was successfully downloaded" in str(raised.value)
    assert raised.value.transfer is not None
    assert "http" not in str(raised.value)


def test_a_directory_that_vanishes_on_the_way_fails_the_upload(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """The job ends COMPLETED and says that it was successful."""
    (firecrest.directory / "sub").mkdir()
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/sub/f")
    (firecrest.directory / "sub").rmdir()

    staged = stage_upload(client, plan)
    job = over(client, staged)

    assert job.state == "COMPLETED"
    with pytest.raises(TransferFailedError, match="No such file or directory"):
        finish_upload(client, staged, job)


@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("damage", ["size", "content"])
def test_a_file_that_arrives_damaged_is_told_and_removed(
    damage: str,
    size: int,
    client: FirecrestClient,
    firecrest: FirecrestForTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = written(tmp_path / "f", size)
    target = firecrest.directory / "f"
    plan = plan_upload(client, source, str(target))

    def spoil(*_: Any, **__: Any) -> None:
        content = bytearray(target.read_bytes())
        target.write_bytes(content[:-1] if damage == "size" else bytes([content[0] ^ 1]) + content[1:])

    if plan.way == "direct":
        send = client.upload
        monkeypatch.setattr(client, "upload", lambda *a, **k: (send(*a, **k), spoil()), raising=False)
        with pytest.raises(IntegrityError) as raised:
            upload_direct(client, plan)
    else:
        staged = stage_upload(client, plan)
        job = over(client, staged)
        spoil()
        with pytest.raises(IntegrityError) as raised:
            finish_upload(client, staged, job)

    assert "It was removed." in str(raised.value)
    assert not target.exists()


def test_a_bit_that_flips_on_the_way_is_noticed(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    firecrest.fault("bit_flip_upload", path_regex="ops/upload")

    with pytest.raises(FirecrestError):
        upload(client, written(tmp_path / "f", 100_000), firecrest.directory / "f")
    assert not (firecrest.directory / "f").exists() or names_in(firecrest.directory) == []


def test_a_checksum_too_slow_for_the_call_is_computed_by_a_job(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", 1000)
    firecrest.fault(
        "status",
        path_regex="ops/checksum",
        status=408,
        body={"errorType": "error", "message": "Command execution timeout limit exceeded."},
    )
    before = len(firecrest.jobs())

    done = upload(client, source, firecrest.directory / "f")

    assert done.sha256 == sha256(source)
    assert len(firecrest.jobs()) == before + 1
    assert names_in(firecrest.directory) == ["f"]
    assert active_jobs(firecrest) == []


def test_413_on_a_direct_upload_leads_to_the_staged_way(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """A gateway may carry less than FirecREST says."""
    source = written(tmp_path / "f", 1000)
    firecrest.fault("status", path_regex="ops/upload", status=413)
    plan = plan_upload(client, source, f"{firecrest.directory}/f")
    with pytest.raises(TooLargeError):
        upload_direct(client, plan)

    other = staged_instead(client, plan)
    staged = stage_upload(client, other)
    done = finish_upload(client, staged, over(client, staged))

    assert (other.way, done.way) == ("staged", "staged")
    assert sha256(firecrest.directory / "f") == sha256(source)


def test_the_staged_way_instead_is_refused_for_a_name_it_cannot_carry(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    plan = plan_upload(client, written(tmp_path / "f", 1000), f"{firecrest.directory}/a&b")

    with pytest.raises(InvalidRequestError, match=r"^target_path: "):
        staged_instead(client, plan)


def test_a_lost_answer_to_a_direct_upload_does_no_harm(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", 1000)
    firecrest.fault("lose_answer", path_regex="ops/upload", times=2)

    upload(client, source, firecrest.directory / "f")

    assert sha256(firecrest.directory / "f") == sha256(source)


@pytest.mark.parametrize("there", [False, True], ids=["nothing there before", "a file there before"])
def test_a_direct_upload_given_up_leaves_no_half_file_behind(
    there: bool, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """Else the next attempt would find a target that exists, and it would be ours.

    What was there before stays: nobody knows whether it was touched.
    """
    target = firecrest.directory / "f"
    if there:
        target.write_text("old")
    firecrest.fault(
        "status_after_acting",
        path_regex="ops/upload",
        times=0,
        status=408,
        body={"errorType": "error", "message": "Command execution timeout limit exceeded."},
    )

    with pytest.raises(CommandTimeoutError):
        upload(client, written(tmp_path / "f", 1000), target, if_exists="overwrite")

    assert target.exists() == there


def test_a_staging_whose_start_was_not_answered_is_not_repeated_and_its_job_is_cancelled(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """Another upload under way is left alone."""
    before = len(firecrest.jobs())
    other = client.transfer_upload(f"{firecrest.directory}/other", LARGE)
    firecrest.fault("lose_answer", path_regex="transfer/upload")
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")

    with pytest.raises(AmbiguousError):
        stage_upload(client, plan)

    assert len(firecrest.jobs()) == before + 2
    wait_until(lambda: [job["id"] for job in active_jobs(firecrest)] == [other.transfer.job_id])
    client.cancel_job(other.transfer.job_id)


def test_an_orphan_that_cannot_be_looked_for_does_not_hide_the_error(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(firecrest, retry_budget=0.0) as hasty:
        plan = plan_upload(hasty, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")
        firecrest.fault("drop", path_regex="transfer/upload")
        firecrest.fault("status", path_regex="/jobs$", status=503)

        with pytest.raises(AmbiguousError):
            stage_upload(hasty, plan)
    assert "it cannot be looked for" in caplog.text


def test_a_store_that_is_down_is_waited_for(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    firecrest.fault(
        "status",
        path_regex="transfer/upload",
        times=2,
        status=500,
        body={"errorType": "error", "message": "('Could not connect to the endpoint URL: \"http://s3/x\"',)"},
    )

    upload(client, written(tmp_path / "f", LARGE), firecrest.directory / "f")

    assert names_in(firecrest.directory) == ["f"]


# Giving up


def cancelled(firecrest: FirecrestForTest, job_id: str | None) -> bool:
    (job,) = [each for each in firecrest.jobs() if each["id"] == job_id]
    return str(job["state"]).startswith("CANCELLED")


def test_parts_that_cannot_be_sent_cancel_the_servers_job(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """It would hold its slot up to its time limit."""
    firecrest.fault("status", method="PUT", path_regex="^/s3/|/f$", times=0, status=403, body="<Error/>")
    started: list[TransferJob] = []
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")

    with pytest.raises(FirecrestError) as raised:
        stage_upload(client, plan, on_start=started.append)

    assert "Signature" not in str(raised.value)
    assert len(started) == 1
    wait_until(lambda: cancelled(firecrest, started[0].job_id))
    wait_until(lambda: active_jobs(firecrest) == [])
    assert names_in(firecrest.directory) == []


def test_a_file_that_shrank_since_the_plan_cancels_the_servers_job(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", LARGE)
    plan = plan_upload(client, source, f"{firecrest.directory}/f")
    source.write_bytes(b"x" * (LARGE - 1))

    with pytest.raises(InvalidRequestError, match="changed its size"):
        stage_upload(client, plan)

    wait_until(lambda: active_jobs(firecrest) == [])
    assert names_in(firecrest.directory) == []
    assert not [each for each in firecrest.requests() if each["part"]]


def test_a_small_file_that_changed_since_the_plan_is_told(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(tmp_path / "f", 100)
    plan = plan_upload(client, source, f"{firecrest.directory}/f")
    source.write_bytes(b"x" * 101)

    with pytest.raises(InvalidRequestError, match="changed"):
        upload_direct(client, plan)
    assert nothing_moved(firecrest)


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_file_that_was_removed_since_the_plan_is_told(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path, size: int
) -> None:
    source = written(tmp_path / "f", size)
    plan = plan_upload(client, source, f"{firecrest.directory}/f")
    source.unlink()

    with pytest.raises(InvalidRequestError, match=r"source_path: .*/f is not there any more"):
        (upload_direct if plan.way == "direct" else stage_upload)(client, plan)
    wait_until(lambda: active_jobs(firecrest) == [])
    assert nothing_moved(firecrest)


def test_a_callback_that_fails_cancels_the_servers_job(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """Pushing the job's id somewhere can fail, too."""
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")

    def broken(_: TransferJob) -> None:
        raise KeyError("no XCom")

    with pytest.raises(KeyError):
        stage_upload(client, plan, on_start=broken)
    wait_until(lambda: active_jobs(firecrest) == [])


def test_sending_can_be_stopped_and_the_job_is_cancelled(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    firecrest.fault("delay", method="PUT", times=0, delay_s=0.5)
    stop = threading.Event()
    stop.set()
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")

    with pytest.raises(TransferFailedError):
        stage_upload(client, plan, stop=stop)
    wait_until(lambda: active_jobs(firecrest) == [])


def test_a_ticket_that_does_not_fit_the_file_cancels_the_servers_job(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    ask = client.transfer_upload
    monkeypatch.setattr(
        client, "transfer_upload", lambda *a, **k: replace(ask(*a, **k), part_urls=()), raising=False
    )
    plan = plan_upload(client, written(tmp_path / "f", LARGE), f"{firecrest.directory}/f")

    with pytest.raises(FirecrestError):
        stage_upload(client, plan)
    wait_until(lambda: active_jobs(firecrest) == [])


def test_a_transfer_given_up_cancels_its_job_and_never_raises(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    staged = StagedUpload("s", f"{firecrest.directory}/f", LARGE, "0" * 64, "cluster", job_id="99999999")
    cancel_staged(client, staged)

    ticket = client.transfer_upload(f"{firecrest.directory}/g", LARGE)
    job_id = ticket.transfer.job_id
    cancel_staged(
        client, StagedUpload("s", f"{firecrest.directory}/g", LARGE, "0" * 64, "cluster", job_id=job_id)
    )
    wait_until(lambda: cancelled(firecrest, job_id))

    firecrest.fault("status", times=0, status=503)
    with client_of(firecrest, retry_budget=0.0) as hasty:
        cancel_staged(hasty, staged)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_outage_while_proving_is_told_as_one_and_the_file_stays(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """It may well be right: only a file known to be wrong is removed."""
    source = written(tmp_path / "f", 1000)
    with client_of(firecrest, retry_budget=0.0) as hasty:
        plan = plan_upload(hasty, source, f"{firecrest.directory}/f")
        firecrest.fault("status", path_regex="ops/checksum", times=0, status=503)

        with pytest.raises(UnavailableError):
            upload_direct(hasty, plan)
    assert sha256(firecrest.directory / "f") == sha256(source)


NO_TOKEN = {"errorType": "error", "message": "Not allowed."}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, NO_TOKEN, UnavailableError),
        (403, NO_TOKEN, UnavailableError),
        (404, "<html>Not here</html>", UnavailableError),
        (200, "<html>Maintenance</html>", UnavailableError),
        (404, {"errorType": "error", "message": "No such file or directory"}, None),
    ],
    ids=["401", "403", "404 page", "200 page", "not there"],
)
def test_a_log_that_cannot_be_read_is_no_reason_to_remove_what_arrived(
    status: int,
    body: Any,
    expected: type[FirecrestError] | None,
    client: FirecrestClient,
    firecrest: FirecrestForTest,
    tmp_path: Path,
) -> None:
    """The file decides where there is no log; a log that is withheld is asked for again by a retry."""
    source, target = written(tmp_path / "f", LARGE), firecrest.directory / "f"
    staged = stage_upload(client, plan_upload(client, source, str(target)))
    job = over(client, staged)
    headers = {"content-type": "text/html"} if isinstance(body, str) else {}
    firecrest.fault("status", path_regex="ops/tail", times=0, status=status, body=body, headers=headers)

    with client_of(firecrest, retry_budget=0.0) as hasty:
        if expected is None:
            assert finish_upload(hasty, staged, job).sha256 == sha256(source)
        else:
            with pytest.raises(expected, match="log"):
                finish_upload(hasty, staged, job)
    assert sha256(target) == sha256(source)


def test_without_a_log_the_size_alone_does_not_prove_an_overwritten_file(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = written(firecrest.directory / "f", LARGE)
    plan = plan_upload(
        client, written(tmp_path / "f", LARGE), str(target), if_exists="overwrite", verify_checksum=False
    )
    staged = stage_upload(client, plan)
    job = over(client, staged)
    written(target, LARGE, seed=2)
    missing = {"errorType": "error", "message": "No such file or directory"}
    firecrest.fault("status", path_regex="ops/tail", times=0, status=404, body=missing)

    with pytest.raises(IntegrityError):
        finish_upload(client, staged, job)


@pytest.mark.parametrize("there", [False, True], ids=["nothing there before", "a file there before"])
def test_a_direct_upload_onto_a_full_disk_leaves_no_half_file_behind(
    there: bool, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    target = firecrest.directory / "f"
    if there:
        target.write_text("old")
    words = "Remote process failed with exit status:1 and error message:f: No space left on device"
    full = {"errorType": "error", "message": words}
    firecrest.fault("status_after_acting", path_regex="ops/upload", times=0, status=500, body=full)

    with pytest.raises(QuotaError):
        upload(client, written(tmp_path / "f", 1000), target, if_exists="overwrite")

    assert target.exists() == there
