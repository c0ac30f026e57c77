"""Files as tasks, both ways and both sizes. Digests on the real file system are the witness."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.models import crypto
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout
from cryptography.fernet import Fernet

from airflow_provider_firecrest.client.transfers import proof
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import Run, TaskInstance, defer, first_event, revived, run_task

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
SIZES = pytest.mark.parametrize(
    ("size", "way"), [(0, "direct"), (1000, "direct"), (6 << 20, "staged")], ids=["empty", "small", "large"]
)


@pytest.fixture(autouse=True)
def fernet_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Airflow's key, as a worker has it that was set up well."""
    use_key(monkeypatch, Fernet.generate_key().decode())
    yield
    forget_key()


def use_key(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", key)
    forget_key()


def forget_key() -> None:
    """Make Airflow read its key again: it remembers it in a cache, Airflow 2.11 in a variable."""
    if hasattr(crypto.get_fernet, "cache_clear"):
        crypto.get_fernet.cache_clear()
    else:
        crypto._fernet = None


def written(path: Path, size: int) -> Path:
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def upload(source: Path, target: object, **arguments: Any) -> FirecrestUploadOperator:
    return FirecrestUploadOperator(
        **{"task_id": "simulate", "poll_interval": 0.2, "deferrable": False, **arguments},
        source_path=str(source),
        target_path=str(target),
    )


def download(source: object, target: Path, **arguments: Any) -> FirecrestDownloadOperator:
    return FirecrestDownloadOperator(
        **{"task_id": "simulate", "poll_interval": 0.2, "deferrable": False, **arguments},
        source_path=str(source),
        target_path=str(target),
    )


def everything_stored(run: Run) -> str:
    """All that Airflow writes to its database or shows in its pages of such a task."""
    return json.dumps([run.result, run.ti.xcoms, run.trigger, run.event])


@BOTH_WAYS
@SIZES
def test_an_upload_arrives_whole(
    firecrest: FirecrestForTest, tmp_path: Path, size: int, way: str, deferrable: bool
) -> None:
    source, target = written(tmp_path / "input.bin", size), firecrest.directory / "input.bin"
    done = run_task(lambda: upload(source, target, deferrable=deferrable))

    assert sha256(target) == sha256(source)
    assert {key: done.result[key] for key in ("source", "target", "size", "sha256", "way", "system")} == {
        "source": str(source),
        "target": str(target),
        "size": size,
        "sha256": sha256(source),
        "way": way,
        "system": firecrest.system,
    }
    assert (done.trigger is not None) is (deferrable and way == "staged")


@BOTH_WAYS
@SIZES
def test_a_download_arrives_whole(
    firecrest: FirecrestForTest, tmp_path: Path, size: int, way: str, deferrable: bool
) -> None:
    source, target = written(firecrest.directory / "output.bin", size), tmp_path / "output.bin"
    done = run_task(lambda: download(source, target, deferrable=deferrable))

    assert sha256(target) == sha256(source)
    assert (done.result["target"], done.result["sha256"]) == (str(target), sha256(source))
    assert (done.result["size"], done.result["way"]) == (size, way)
    assert (done.trigger is not None) is (deferrable and way == "staged")
    assert [each.name for each in tmp_path.iterdir()] == ["output.bin"], "nothing temporary is left"


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_no_presigned_url_is_stored_or_logged(
    firecrest: FirecrestForTest,
    tmp_path: Path,
    direction: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there = tmp_path / "data.bin", firecrest.directory / "data.bin"
    if direction == "upload":
        written(here, 6 << 20)
        done = run_task(lambda: upload(here, there, deferrable=True))
    else:
        written(there, 6 << 20)
        done = run_task(lambda: download(there, here, deferrable=True))

    assert done.trigger is not None, "it was deferred"
    seen = everything_stored(done) + capsys.readouterr().out
    for word in ("X-Amz", "Signature", "/s3/"):
        assert word.lower() not in seen.lower()
        assert quote(word, safe="").lower() not in seen.lower()


@pytest.mark.generation(2, reason="v1 tells the URL when it is asked for: nothing secret is kept")
def test_without_a_fernet_key_a_download_waits_in_the_worker_and_says_so(
    firecrest: FirecrestForTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_key(monkeypatch, "")
    source, target = written(firecrest.directory / "output.bin", 6 << 20), tmp_path / "output.bin"
    done = run_task(lambda: download(source, target, deferrable=True))
    assert done.trigger is None
    assert sha256(target) == sha256(source)
    assert "without a Fernet key" in capsys.readouterr().out
    assert "Signature" not in everything_stored(done)


@pytest.mark.generation(2, reason="v1 tells the URL when it is asked for: nothing secret is kept")
def test_a_worker_with_another_fernet_key_starts_the_download_over(
    firecrest: FirecrestForTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, target = written(firecrest.directory / "output.bin", 6 << 20), tmp_path / "output.bin"
    ti = TaskInstance()
    deferral = defer(lambda: download(source, target, deferrable=True), ti)
    event = first_event(revived(deferral.trigger))

    use_key(monkeypatch, Fernet.generate_key().decode())
    result = download(source, target, deferrable=True).resume_execution(
        deferral.method_name, {"event": event}, {"ti": ti}
    )
    assert result["sha256"] == sha256(source) == sha256(target)
    assert "do not share one [core] fernet_key" in capsys.readouterr().out


def test_a_directory_as_target_gets_the_files_name(firecrest: FirecrestForTest, tmp_path: Path) -> None:
    source = written(tmp_path / "input.bin", 10)
    assert run_task(lambda: upload(source, firecrest.directory)).result["target"] == str(
        firecrest.directory / "input.bin"
    )
    (tmp_path / "here").mkdir()
    done = run_task(lambda: download(firecrest.directory / "input.bin", tmp_path / "here"))
    assert done.result["target"] == str(tmp_path / "here" / "input.bin")


def test_an_existing_target_follows_if_exists(firecrest: FirecrestForTest, tmp_path: Path) -> None:
    source, target = written(tmp_path / "new.bin", 100), written(firecrest.directory / "there.bin", 200)
    old = sha256(target)
    with pytest.raises(AirflowFailException, match="if_exists='overwrite' replaces it"):
        run_task(lambda: upload(source, target))
    with pytest.raises(AirflowFailException, match="is another file"):
        run_task(lambda: upload(source, target, if_exists="skip"))
    assert sha256(target) == old
    run_task(lambda: upload(source, target, if_exists="overwrite"))
    assert sha256(target) == sha256(source)
    assert run_task(lambda: upload(source, target, if_exists="skip")).result["way"] == "skip"


@BOTH_WAYS
def test_an_upload_that_is_reported_but_did_not_happen_fails_with_the_evidence(
    firecrest: FirecrestForTest, tmp_path: Path, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "APPEAR_WITHIN", 1.0)
    source, target = written(tmp_path / "input.bin", 6 << 20), firecrest.directory / "input.bin"
    firecrest.fault("ingress_says_success_without_file", path_regex=firecrest.urls.upload)
    with pytest.raises(AirflowException, match=f"{target} is not on {firecrest.system}") as failure:
        run_task(lambda: upload(source, target, deferrable=deferrable))
    claim = "ended COMPLETED" if firecrest.generation == 2 else "ended with 114 (the file is on the system)"
    assert claim in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException)


@pytest.mark.generation(2, reason="v1 itself copies a staged file: there is no job")
def test_at_the_deadline_the_servers_job_is_cancelled(firecrest: FirecrestForTest, tmp_path: Path) -> None:
    source = written(firecrest.directory / "output.bin", 6 << 20)
    before = {job["id"] for job in firecrest.jobs()}
    blocker = occupied(firecrest)
    try:
        with pytest.raises(AirflowTaskTimeout):
            run_task(
                lambda: download(
                    source, tmp_path / "x", deferrable=True, execution_timeout=timedelta(seconds=2)
                )
            )
        [job] = [job for job in firecrest.jobs() if job["id"] not in before | blocker]
        assert job["state"].startswith("CANCELLED")
        assert not (tmp_path / "x").exists()
    finally:
        released(blocker)


def occupied(firecrest: FirecrestForTest) -> set[str]:
    """Fill the cluster, so that whatever comes next waits in the queue."""
    from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator

    task = FirecrestSubmitJobOperator(
        task_id="simulate",
        script="#!/bin/bash\n#SBATCH --ntasks=4\nsleep 300\n",
        working_dir=str(firecrest.directory),
        wait_for_completion=False,
    )
    return {run_task(lambda: task).result["job_id"]}


def released(job_ids: set[str]) -> None:
    from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator

    run_task(lambda: FirecrestCancelJobOperator(task_id="simulate", job_id=sorted(job_ids)))
