"""Downloads from the local FirecREST. The oracle is the file on its disk; a failure leaves nothing here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from pathlib import Path

import pytest

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.errors import (
    ConflictError,
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TooLargeError,
    TransferFailedError,
    UnavailableError,
)
from airflow_provider_firecrest.client.transfers import (
    StagedDownload,
    TransferResult,
    cancel_staged,
    download_direct,
    finish_download,
    plan_download,
    proof,
    stage_download,
    staged_instead,
)
from tests.fixtures_local import FirecrestForTest

from .test_transfers_upload import ODD_NAMES
from .transferring import (
    LARGE,
    active_jobs,
    client,
    client_of,
    download,
    impatient,
    names_in,
    over,
    sha256,
    written,
)

__all__ = ["client", "impatient"]

DIRECT_LIMIT = 3_932_157
"""Bytes: what a real server carried directly although it says 5 MiB."""

TIMED_OUT = {"errorType": "error", "message": "Command execution timeout limit exceeded."}


# Whole downloads


@pytest.mark.parametrize(
    ("size", "way"),
    [(0, "direct"), (1, "direct"), (DIRECT_LIMIT, "direct"), (DIRECT_LIMIT + 1, "staged"), (LARGE, "staged")],
)
def test_a_file_comes_whole_whatever_its_size(
    size: int, way: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "data.bin", size)
    target = tmp_path / "data.bin"

    done = download(client, source, target)

    assert sha256(target) == sha256(source) == done.sha256
    assert (done.source, done.target, done.size, done.way) == (str(source), str(target), size, way)
    assert (done.job_id is not None) == (way == "staged")
    assert names_in(tmp_path) == ["data.bin"]
    assert names_in(firecrest.directory) == ["data.bin"]
    assert active_jobs(firecrest) == []
    assert json.loads(json.dumps(done.as_dict()))["sha256"] == sha256(source)


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_directory_as_target_gets_the_sources_name(
    ending: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "data.bin", 100)

    plan = plan_download(client, str(source), f"{tmp_path}{ending}")
    download_direct(client, plan)

    assert plan.target == tmp_path / "data.bin"
    assert sha256(tmp_path / "data.bin") == sha256(source)


def test_a_staged_download_can_be_finished_by_another_process(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "data.bin", LARGE)
    staged = stage_download(client, plan_download(client, str(source), tmp_path))

    carried = json.dumps(staged.as_dict())
    job = over(client, staged)
    with client_of(firecrest) as other:
        finish_download(other, StagedDownload.from_dict(json.loads(carried)), job)

    assert sha256(tmp_path / "data.bin") == sha256(source)


def test_the_presigned_url_shows_in_no_text_of_a_staged_download(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "airflow_provider_firecrest"):
        caplog.set_level(logging.DEBUG, logger=name)
    source = written(firecrest.directory / "data.bin", LARGE)

    staged = stage_download(client, plan_download(client, str(source), tmp_path))
    done = finish_download(client, staged, over(client, staged))

    signature = re.search(r"Signature=([^&]+)", staged.url or "")
    assert signature is not None
    for text in (repr(staged), str(staged), repr(done), caplog.text):
        assert signature.group(1) not in text


def test_progress_is_told_up_to_the_last_byte(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    staged = stage_download(
        client, plan_download(client, str(written(firecrest.directory / "f", LARGE)), tmp_path)
    )

    finish_download(
        client, staged, over(client, staged), progress=lambda done, total: told.append((done, total))
    )

    assert told[-1] == (LARGE, LARGE)


# What is there already


def test_an_existing_target_is_left_alone_by_default(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    (tmp_path / "f").write_text("old")

    with pytest.raises(ConflictError, match=r"^target_path: .*if_exists='overwrite'"):
        download(client, source, tmp_path)
    assert (tmp_path / "f").read_text() == "old"


@pytest.mark.parametrize("size", [0, 100, LARGE])
def test_overwrite_replaces_what_is_there(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", size)
    written(tmp_path / "f", 2 * LARGE, seed=2)

    download(client, source, tmp_path, if_exists="overwrite")

    assert sha256(tmp_path / "f") == sha256(source)
    assert names_in(tmp_path) == ["f"]


def test_overwrite_replaces_the_file_that_a_link_points_to(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "real").write_text("old")
    (tmp_path / "f").symlink_to("data/real")

    download(client, source, tmp_path / "f", if_exists="overwrite")

    assert (tmp_path / "f").readlink() == Path("data/real")
    assert sha256(tmp_path / "data" / "real") == sha256(source)
    assert names_in(tmp_path / "data") == ["real"]


@pytest.mark.parametrize("name", ["pipe", "link", "loop"])
def test_a_pipe_or_a_device_is_never_replaced(
    name: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(InvalidRequestError, match=r"^target_path: .*not a regular file"):
        plan_download(client, str(source), tmp_path / name, if_exists="overwrite")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("size", [0, 100, LARGE])
def test_skip_accepts_the_same_file_and_fetches_nothing(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", size)
    written(tmp_path / "f", size)

    plan = plan_download(client, str(source), tmp_path, if_exists="skip")

    assert (plan.way, plan.sha256) == ("skip", sha256(source))
    assert not [each for each in firecrest.requests() if each["path"].endswith("/download")]


@pytest.mark.parametrize("other", [99, 100, 0])
def test_skip_does_not_accept_another_file(
    other: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    before = sha256(written(tmp_path / "f", other, seed=2))

    with pytest.raises(ConflictError, match="another file"):
        plan_download(client, str(source), tmp_path, if_exists="skip")
    assert sha256(tmp_path / "f") == before


# Names


@pytest.mark.parametrize("size", [100, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_refused_or_comes_with_the_same_bytes(
    name: str, size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / name, size)
    done: TransferResult | None = None

    with contextlib.suppress(InvalidRequestError):
        done = download(client, source, tmp_path)

    if done is None:
        assert names_in(tmp_path) == []
        assert not [each for each in firecrest.requests() if each["path"].endswith("/download")]
    else:
        assert names_in(tmp_path) == [name]
        assert sha256(tmp_path / name) == sha256(source) == done.sha256
    assert names_in(firecrest.directory) == [name]
    assert active_jobs(firecrest) == []


@pytest.mark.parametrize("name", ["sp ace.txt", "ünï-日本.txt", "a&b.txt", "semi;colon.txt", 'dq"uote.txt'])
def test_a_small_file_of_an_odd_name_is_not_refused(
    name: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    download(client, written(firecrest.directory / name, 100), tmp_path)

    assert names_in(tmp_path) == [name]


# Refused before a byte moves


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("missing", NotFoundError),
        ("missing/f", NotFoundError),
        (".", InvalidRequestError),
        ("pipe", InvalidRequestError),
        ("broken", NotFoundError),
    ],
)
def test_a_source_that_is_no_file_is_told(
    source: str,
    error: type[FirecrestError],
    client: FirecrestClient,
    firecrest: FirecrestForTest,
    tmp_path: Path,
) -> None:
    """To download a pipe would be to wait for its writer, up to the server's limit."""
    os.mkfifo(firecrest.directory / "pipe")
    (firecrest.directory / "broken").symlink_to("nowhere")

    with pytest.raises(error, match=r"^source_path: "):
        plan_download(client, f"{firecrest.directory}/{source}".removesuffix("/."), tmp_path / "f")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("source", ["/etc/passwd", "relative", "", "/"])
def test_a_source_outside_the_file_systems_is_refused(
    source: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match=r"^source_path: "):
        plan_download(client, source, tmp_path / "f")


def test_somebody_elses_file_is_refused(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    with pytest.raises(PermissionDeniedError):
        plan_download(client, f"{firecrest.scratch.parent}/otheruser/f", tmp_path / "f")


def test_a_target_that_cannot_be_is_told_before_the_server_is_asked_for_the_file(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    (tmp_path / "sub" / "f").mkdir(parents=True)
    cases = {"missing/f": "no local directory", "missing/": "no local directory", "sub": "is a directory"}

    for target, words in cases.items():
        with pytest.raises(InvalidRequestError, match=rf"^target_path: .*{words}"):
            plan_download(client, str(source), f"{tmp_path}/{target}")
    assert not [each for each in firecrest.requests() if "/ops/" in each["path"]]


# Lies and losses


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_file_that_changes_meanwhile_is_told_and_nothing_is_left(
    size: int, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", size)
    plan = plan_download(client, str(source), tmp_path)

    staged = stage_download(client, plan) if plan.way == "staged" else None
    job = over(client, staged) if staged else None
    written(source, size, seed=2)
    os.utime(source, (1, 1))

    with pytest.raises(IntegrityError, match="changed"):
        finish_download(client, staged, job) if staged else download_direct(client, plan)

    assert names_in(tmp_path) == []


def test_a_file_that_changes_within_its_second_is_noticed_by_its_digest(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", LARGE)
    staged = stage_download(client, plan_download(client, str(source), tmp_path))
    job = over(client, staged)
    times = source.stat()
    written(source, LARGE, seed=2)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(IntegrityError, match="SHA-256"):
        finish_download(client, staged, job)
    assert names_in(tmp_path) == []


def test_a_file_that_outgrows_the_direct_call_is_told_as_too_large(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    plan = plan_download(client, str(source), tmp_path)
    written(source, LARGE)

    with pytest.raises(TooLargeError):
        download_direct(client, plan)
    assert names_in(tmp_path) == []


def test_413_on_a_direct_download_leads_to_the_staged_way(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    firecrest.fault("status", path_regex="ops/download", status=413)
    plan = plan_download(client, str(source), tmp_path)
    with pytest.raises(TooLargeError):
        download_direct(client, plan)

    staged = stage_download(client, staged_instead(client, plan))
    finish_download(client, staged, over(client, staged))

    assert sha256(tmp_path / "f") == sha256(source)


@pytest.mark.parametrize("action", ["truncate", "bit_flip"])
def test_bytes_spoilt_on_the_way_are_fetched_again_or_told(
    action: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100_000)
    firecrest.fault(action, path_regex="ops/download")

    with contextlib.suppress(IntegrityError):
        download(client, source, tmp_path)

    if names_in(tmp_path):
        assert sha256(tmp_path / "f") == sha256(source)


def test_a_job_that_fails_is_told_with_its_log(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", LARGE)
    plan = plan_download(client, str(source), tmp_path)
    with client_of(firecrest) as other:
        waiting = other.submit_job(
            "#!/bin/bash\n#SBATCH --cpus-per-task=4\nsleep 60\n", working_dir=str(firecrest.directory)
        )
        staged = stage_download(client, plan)
        source.unlink()
        other.cancel_job(waiting)
    job = over(client, staged)

    with pytest.raises(TransferFailedError) as raised:
        finish_download(client, staged, job)

    assert job.state == "FAILED"
    assert "ended FAILED" in str(raised.value)
    assert "file_not_found" in str(raised.value)
    assert "Signature" not in str(raised.value)
    assert names_in(tmp_path) == []


def test_a_cancelled_job_is_a_failed_download(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", LARGE)
    with client_of(firecrest) as other:
        waiting = other.submit_job(
            "#!/bin/bash\n#SBATCH --cpus-per-task=4\nsleep 60\n", working_dir=str(firecrest.directory)
        )
        staged = stage_download(client, plan_download(client, str(source), tmp_path))
        cancel_staged(client, staged)
        job = over(client, staged)
        other.cancel_job(waiting)

    with pytest.raises(TransferFailedError, match="CANCELLED"):
        finish_download(client, staged, job)
    assert names_in(tmp_path) == []


def test_a_log_that_cannot_be_read_now_is_an_outage_and_no_failed_transfer(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", LARGE)
    staged = stage_download(client, plan_download(client, str(source), tmp_path))
    job = over(client, staged)
    firecrest.fault("status", path_regex="ops/tail", times=0, status=503)

    with client_of(firecrest, retry_budget=0.0) as hasty, pytest.raises(UnavailableError):
        finish_download(hasty, staged, job)

    firecrest.clear_faults()
    finish_download(client, staged, job)
    assert sha256(tmp_path / "f") == sha256(source)


def test_a_checksum_too_slow_for_the_call_is_computed_by_a_job(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 1000)
    firecrest.fault("status", path_regex="ops/checksum", status=408, body=TIMED_OUT)

    done = download(client, source, tmp_path)

    assert done.sha256 == sha256(source)
    assert names_in(firecrest.directory) == ["f"]


@pytest.mark.parametrize("directory", ["read only", "50%_%j of all"])
def test_the_checksum_job_leaves_the_files_directory_alone(
    directory: str, client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    """It may be closed to us, or have a name in which Slurm sees patterns."""
    (firecrest.directory / directory).mkdir()
    source = written(firecrest.directory / directory / "f", 1000)
    if directory == "read only":
        (firecrest.directory / directory).chmod(0o555)
    firecrest.fault("status", path_regex="ops/checksum", times=0, status=408, body=TIMED_OUT)
    left_before = names_in(firecrest.scratch)

    try:
        # Asked for directly: so small a file with a blank in its name would be fetched instead.
        digest = proof.sha256_by_job(client, str(source), firecrest.system, None, read=proof._log)
    finally:
        (firecrest.directory / directory).chmod(0o755)

    assert digest == sha256(source)
    assert names_in(firecrest.directory / directory) == ["f"]
    assert [name for name in names_in(firecrest.scratch) if name not in left_before] == []


def test_fetching_can_be_stopped_and_nothing_is_left(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    staged = stage_download(
        client, plan_download(client, str(written(firecrest.directory / "f", LARGE)), tmp_path)
    )
    job = over(client, staged)
    stop = threading.Event()
    stop.set()

    with pytest.raises(TransferFailedError):
        finish_download(client, staged, job, stop=stop)
    assert names_in(tmp_path) == []


def test_an_old_file_survives_a_download_that_fails(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source = written(firecrest.directory / "f", 100)
    (tmp_path / "f").write_text("old")
    plan = plan_download(client, str(source), tmp_path, if_exists="overwrite")
    os.utime(source, (1, 1))

    with pytest.raises(IntegrityError):
        download_direct(client, plan)

    assert (tmp_path / "f").read_text() == "old"
    assert names_in(tmp_path) == ["f"]


def test_a_target_that_cannot_be_written_is_told_by_its_field(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(firecrest.directory / "f", 100)
    plan = plan_download(client, str(source), tmp_path / "f")
    (tmp_path / "f").mkdir()

    with pytest.raises(TransferFailedError, match=r"^target_path: .* cannot be written: Is a directory"):
        download_direct(client, plan)
    assert names_in(tmp_path) == ["f"]

    # The administrator may write anywhere, and tests may run as one.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InvalidRequestError, match=r"^target_path: nothing can be written into"):
        plan_download(client, str(source), tmp_path / "g")
