"""What the tests of transfers share: clients of the local FirecREST, files, and what is left where."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import ClientCredentials, FirecrestClient, Settings
from airflow_provider_firecrest.client.models import Job
from airflow_provider_firecrest.client.transfers import (
    StagedDownload,
    StagedUpload,
    TransferResult,
    checksum_job,
    download_direct,
    finish_download,
    finish_upload,
    plan_download,
    plan_upload,
    proof,
    stage_download,
    stage_upload,
    upload_direct,
)
from tests.fixtures_local import FirecrestForTest

LARGE = 9 * 1024 * 1024 + 17
"""Bytes: more than a direct call carries, and two parts."""


@contextmanager
def client_of(firecrest: FirecrestForTest, **changes: Any) -> Iterator[FirecrestClient]:
    """A client of the test's server."""
    defaults: dict[str, Any] = {
        "system": firecrest.system,
        "account": "project",
        "api_version": "2",
        "timeout": 10.0,
        "retry_budget": 10.0,
        "max_requests_per_second": 200.0,
    }
    login = ClientCredentials(firecrest.token_url, firecrest.client_id, firecrest.client_secret)
    url = changes.pop("base_url", firecrest.base_url)
    with FirecrestClient(Settings(url, login, **{**defaults, **changes})) as client:
        yield client


@pytest.fixture
def client(firecrest: FirecrestForTest) -> Iterator[FirecrestClient]:
    """A client of the test's server, as a user would make it."""
    with client_of(firecrest) as made:
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system of this machine shows a file at once, and its jobs are short."""
    monkeypatch.setattr(proof, "APPEAR_WITHIN", 0.2)
    monkeypatch.setattr(checksum_job, "_LOOK_EVERY", 0.2)


def written(path: Path, size: int, seed: int = 1) -> Path:
    """A file of random bytes."""
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def sha256(path: Path) -> str:
    """Digest of a file, computed here: the oracle."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def over(client: FirecrestClient, staged: StagedUpload | StagedDownload) -> Job:
    """Wait for the server's job behind a transfer."""
    assert staged.job_id is not None
    return client.wait_for_job(staged.job_id, poll_interval=0.1, timeout=60.0)


def upload(client: FirecrestClient, source: Path, target: object, **options: Any) -> TransferResult:
    """The whole of an upload, whichever way it goes."""
    plan = plan_upload(client, source, str(target), **options)
    if plan.way == "direct":
        return upload_direct(client, plan)
    assert plan.way == "staged"
    staged = stage_upload(client, plan)
    return finish_upload(client, staged, over(client, staged))


def download(client: FirecrestClient, source: object, target: Path, **options: Any) -> TransferResult:
    """The whole of a download, whichever way it goes."""
    plan = plan_download(client, str(source), target, **options)
    if plan.way == "direct":
        return download_direct(client, plan)
    assert plan.way == "staged"
    staged = stage_download(client, plan)
    return finish_download(client, staged, over(client, staged))


def active_jobs(firecrest: FirecrestForTest) -> list[dict[str, Any]]:
    """Jobs of the scheduler that are not over, by its own list."""
    final = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
    return [job for job in firecrest.jobs() if not str(job["state"]).startswith(final)]


def names_in(directory: Path) -> list[str]:
    """Everything in a directory, hidden names too."""
    return sorted(each.name for each in directory.iterdir())
