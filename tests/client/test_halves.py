"""What FirecREST v2's job of an upload leaves is removed by the word of its log, and nothing else is.

The witnesses are the files on disk.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.leftovers import Leftover, remove_leftover
from airflow_provider_firecrest.client.transfers import StagedUpload, UploadState
from tests.client.transferring import client as client
from tests.client.transferring import names_in
from tests.fixtures_local import FirecrestForTest

BEGAN = "Downloading file to: "


@pytest.fixture
def left(client: FirecrestClient, firecrest: FirecrestForTest) -> Leftover:
    """A file that a job has written which is over; its log is for the test to write."""
    path, log = firecrest.directory / "f", firecrest.directory / "log"
    script = f"#!/bin/bash\nprintf half > {path}"
    job_id = client.submit_job(script, working_dir=str(firecrest.directory.parent))
    client.wait_for_job(job_id, poll_interval=0.1, timeout=30.0)
    assert path.read_bytes() == b"half"
    return Leftover(str(path), firecrest.system, job_id=job_id, log=str(log), pieces=2, piece_size=8)


def test_what_an_older_version_has_kept_is_read() -> None:
    known: dict[str, Any] = {"source": "f", "target": "/f", "system": "cluster", "size": 1, "job_id": "7"}

    staged = StagedUpload.from_dict({**known, "sha256": ""})
    sent = UploadState.from_dict({**known, "mtime_ns": 1, "phase": "sent"})

    assert staged.leftover == sent.leftover == Leftover("/f", "cluster", job_id="7")
    assert replace(sent, phase="started").leftover is None
    assert Leftover.from_dict({"path": "/w", "system": "cluster"}).job_id is None


def test_what_a_job_may_still_write_is_left(
    client: FirecrestClient, firecrest: FirecrestForTest, caplog: pytest.LogCaptureFixture
) -> None:
    path = firecrest.directory / "f"
    path.write_bytes(b"half")
    ticket = client.transfer_upload(str(path), 9)
    transfer = ticket.transfer
    left = Leftover(str(path), firecrest.system, job_id=transfer.job_id, log=transfer.output_log, pieces=2)

    gone = [
        client.run(remove_leftover(client.api, left)),
        client.run(remove_leftover(client.api, replace(left, job_id="99999999"))),
    ]

    assert gone == [False, False]
    assert names_in(firecrest.directory) == ["f"]
    assert f"Job {transfer.job_id} is not seen to be over" in caplog.text
    client.cancel_job(transfer.job_id)


@pytest.mark.parametrize(
    ("log", "stays"),
    [
        ("", True),
        ("Waiting till file to tranfer is available...", True),
        ("Downloading file to: {path} ...", False),
        ("Downloading file to: {path} ...\nFile was successfully downloaded (size: 1MB)", True),
        # A file may be called so.
        ("Downloading file to: /d/File was successfully downloaded ...", False),
    ],
)
def test_the_jobs_own_log_decides(log: str, stays: bool, client: FirecrestClient, left: Leftover) -> None:
    path, said = Path(left.path), Path(left.log)
    said.write_text(log.format(path=path))

    assert client.run(remove_leftover(client.api, left))

    assert path.exists() == stays
    # What a job has left is removed once: who comes late finds no log.
    assert said.exists() == stays


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_no_directory_and_no_link_is_taken_for_a_half(
    kind: str, client: FirecrestClient, left: Leftover
) -> None:
    path = Path(left.path)
    path.unlink()
    if kind == "directory":
        path.mkdir()
        (path / "mine").write_bytes(b"mine")
    else:
        path.symlink_to("mine")
    Path(left.log).write_text(f"{BEGAN}{path} ...")

    assert not client.run(remove_leftover(client.api, left))

    assert path.is_dir() if kind == "directory" else path.is_symlink()
