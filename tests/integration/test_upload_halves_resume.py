"""FirecREST v2: a worker dies by SIGKILL while the server's job writes its upload, and nobody clears up. The
next try does, whatever became of the job, and ends with the right file.

The witnesses are the files on disk and the scheduler's own list.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.miniature import Lane
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import until
from tests.integration.halves import PIECE, SIZE, cancel_newest
from tests.integration.halves import firecrest_server as firecrest_server
from tests.integration.test_transfer_resume import TUNING as TUNING
from tests.integration.test_transfer_resume import Transfer

FOREIGN = b"somebody else's"
STORE = pytest.mark.parametrize("store", [True, False], ids=["remembers", "remembers nothing"])
POLICIES = pytest.mark.parametrize("if_exists", ["fail", "overwrite"])

pytestmark = pytest.mark.generation(2, reason="only FirecREST v2 writes a staged upload in place")

Die = Callable[..., Transfer]


@pytest.fixture(autouse=True)
def connection() -> None:
    """The tasks run in processes of their own, which are told the connection."""


@pytest.fixture
def died(firecrest: FirecrestForTest, tmp_path: Path, lane: Lane) -> Die:
    """Makes an upload whose worker died, with its job in the middle of writing."""

    def die(*, store: bool = True, **arguments: Any) -> Transfer:
        upload = Transfer(firecrest, tmp_path, "Upload", task_state_store=store, **arguments)
        upload.source.write_bytes(random.Random(1).randbytes(SIZE))
        firecrest.fault("ingress_holds", path_regex=firecrest.urls.upload)
        upload.die(lane, "before_defer")
        until(lambda: sizes(upload) == {"data.bin": PIECE, "data.bin.2": PIECE})
        return upload

    return die


def sizes(upload: Transfer) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in upload.target.parent.iterdir()}


def test_a_retry_waits_for_the_job_that_writes(died: Die, lane: Lane) -> None:
    upload = died()
    upload.firecrest.release_jobs()

    upload.live(lane)

    assert upload.states() == ["COMPLETED"]
    assert upload.nothing_is_left()


@STORE
@POLICIES
def test_a_clear_ends_the_job_and_begins_with_nothing_left(
    died: Die, lane: Lane, store: bool, if_exists: str
) -> None:
    upload = died(store=store, if_exists=if_exists)
    upload.task.clear()

    upload.live(lane)

    assert upload.states() == ["CANCELLED", "COMPLETED"]
    assert upload.nothing_is_left()


@POLICIES
def test_a_retry_that_knows_nothing_finds_the_job_and_removes_its_half(
    died: Die, lane: Lane, if_exists: str
) -> None:
    upload = died(store=False, if_exists=if_exists)

    upload.live(lane)

    assert upload.states() == ["CANCELLED", "COMPLETED"]
    assert upload.nothing_is_left()


def test_a_retry_that_may_not_go_on_removes_the_half(died: Die, lane: Lane) -> None:
    upload = died(reattach="never")

    upload.live(lane)

    assert upload.states() == ["CANCELLED", "COMPLETED"]
    assert upload.nothing_is_left()


def test_a_retry_with_another_content_removes_the_half(died: Die, lane: Lane) -> None:
    upload = died()
    upload.source.write_bytes(random.Random(2).randbytes(SIZE))

    upload.live(lane)

    assert upload.states() == ["CANCELLED", "COMPLETED"]
    assert upload.nothing_is_left()


@STORE
@POLICIES
def test_a_retry_removes_the_half_of_a_job_that_has_ended_meanwhile(
    died: Die, lane: Lane, if_exists: str, store: bool
) -> None:
    upload = died(if_exists=if_exists, store=store)
    cancel_newest(upload.firecrest)

    upload.live(lane)

    assert upload.states() == ["CANCELLED", "COMPLETED"]
    assert upload.nothing_is_left()


def test_a_retry_leaves_a_file_that_the_job_did_not_write(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = Transfer(firecrest, tmp_path, "Upload", if_exists="fail")
    upload.source.write_bytes(random.Random(1).randbytes(SIZE))
    firecrest.fault("status", method="HEAD", path_regex="^/s3/", times=0, status=404)
    upload.die(lane, "before_defer")
    cancel_newest(firecrest)
    firecrest.clear_faults()
    upload.target.write_bytes(FOREIGN)

    outcome = upload.task.live(lane)

    assert outcome["for_good"]
    assert "exists on cluster" in outcome["error"]
    assert upload.target.read_bytes() == FOREIGN
    assert upload.begun() == 1
