"""What the tests share in which FirecREST v2's job is ended while it writes an upload.

The job is held when it has appended one piece to the target, and has fetched the next one beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.operators.transfers import FirecrestUploadOperator
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger
from tests.client.transferring import client_of
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, defer, revived, until

PIECE = 2 << 20
SIZE = (5 << 20) + 1
"""Bytes: just more than goes directly; three pieces."""

OLD = b"what was there before"
NEIGHBOURS = ("data.bin.10", "data.bin.01", "data.bin.1x", "data.bin.4", "data.bin.", "Xdata.bin.1", "data.1")
"""Names that look like those of pieces, and are none of an upload in three pieces."""


@pytest.fixture(scope="module")
def firecrest_server() -> Iterator[LocalFirecrest]:
    """A server whose pieces are small."""
    settings = {"ingress_interval": 0.1, "ops_timeout": 2, "max_part_size": PIECE}
    with LocalFirecrest(cpus=4, **settings) as server:
        yield server


class Upload:
    """An upload among other files of the user's, and what the disk and the scheduler say of it."""

    def __init__(self, firecrest: FirecrestForTest, tmp_path: Path, **arguments: Any) -> None:
        self.firecrest = firecrest
        self.source, self.target = tmp_path / "data.bin", firecrest.directory / "data.bin"
        self.source.write_bytes(random.Random(1).randbytes(SIZE))
        if arguments.get("if_exists") == "overwrite":
            self.target.write_bytes(OLD)
        for name in NEIGHBOURS:
            self.target.with_name(name).write_bytes(name.encode())
        self.arguments: dict[str, Any] = {
            "task_id": "upload",
            "source_path": str(self.source),
            "target_path": str(self.target),
            "poll_interval": 0.2,
            **arguments,
        }

    def hold(self) -> None:
        """Let the next upload's job stop in the middle."""
        self.firecrest.fault("ingress_holds", path_regex=self.firecrest.urls.upload)

    def operator(self, **changes: Any) -> FirecrestUploadOperator:
        return FirecrestUploadOperator(**{"deferrable": True, **self.arguments, **changes})

    def deferred(self, ti: TaskInstance | None = None, **changes: Any) -> FirecrestJobTrigger:
        """Run the task up to its deferral; its trigger."""
        trigger = revived(defer(lambda: self.operator(**changes), ti or TaskInstance()).trigger)
        assert isinstance(trigger, FirecrestJobTrigger)
        return trigger

    def piece(self, number: int) -> Path:
        return self.target.with_name(f"data.bin.{number}")

    def is_half_written(self) -> bool:
        sizes = [path.stat().st_size if path.exists() else 0 for path in (self.target, self.piece(2))]
        return sizes == [PIECE, PIECE]

    def in_the_middle(self) -> None:
        """Wait until the job is held where it is to be held."""
        until(self.is_half_written)

    def is_clean(self, target: bytes | None = None) -> bool:
        """Whether there is nothing but the neighbours, unchanged, and ``target`` if there is to be one."""
        wanted = {name: name.encode() for name in NEIGHBOURS}
        if target is not None:
            wanted["data.bin"] = target
        return {path.name: path.read_bytes() for path in self.target.parent.iterdir()} == wanted

    def is_done(self) -> bool:
        return self.is_clean(self.source.read_bytes())

    def states(self) -> list[str]:
        """States of the server's jobs, oldest first, by the scheduler's own list."""
        jobs = sorted(self.firecrest.new_jobs(), key=lambda job: int(job["id"]))
        return [str(job["state"]).split()[0] for job in jobs]


def cancel_newest(firecrest: FirecrestForTest) -> None:
    """Do what `scancel` on the cluster does to the newest job."""

    def newest() -> dict[str, Any]:
        return max(firecrest.new_jobs(), key=lambda job: int(job["id"]))

    with client_of(firecrest) as client:
        client.cancel_job(newest()["id"])
    until(lambda: not newest()["processes_left"])


Made = Callable[..., Upload]


@pytest.fixture
def make(firecrest: FirecrestForTest, tmp_path: Path) -> Made:
    """Makes the test's upload."""
    return lambda **arguments: Upload(firecrest, tmp_path, **arguments)
