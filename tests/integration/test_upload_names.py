"""FirecREST v1: whenever the worker of an upload dies, the target is as it was, or proven and new.

The witnesses are the target's content, what is left beside it, and the server's own requests.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from airflow_provider_firecrest.operators.transfers import FirecrestUploadOperator
from tests.faults.miniature import Lane
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, defer, revived, until
from tests.integration.test_transfer_resume import TUNING as TUNING
from tests.integration.test_transfer_resume import Transfer

OLD = b"what was there before"
STORE = pytest.mark.parametrize("store", [True, False], ids=["remembers", "remembers nothing"])
WAYS = pytest.mark.parametrize("small", [True, False], ids=["direct", "staged"])

pytestmark = pytest.mark.parametrize("firecrest", [1], indirect=True, ids=["v1"])


@pytest.fixture(autouse=True)
def connection() -> None:
    """The tasks run in processes of their own, which are told the connection."""


def upload_of(
    firecrest: FirecrestForTest, tmp_path: Path, *, small: bool = False, store: bool = True, **arguments: str
) -> Transfer:
    """An upload over a file that is there."""
    upload = Transfer(
        firecrest, tmp_path, "Upload", task_state_store=store, **{"if_exists": "overwrite", **arguments}
    )
    fill(upload, small=small)
    upload.target.write_bytes(OLD)
    return upload


def fill(upload: Transfer, *, small: bool = False, seed: int = 1) -> None:
    """Give the source its content: little more than what goes directly, or little."""
    upload.source.write_bytes(random.Random(seed).randbytes(5 if small else (5 << 20) + 1))


def parts(upload: Transfer) -> list[Path]:
    return sorted(upload.target.parent.glob(".data.bin.af*.part"))


def renames(firecrest: FirecrestForTest) -> int:
    return sum(each["path"].endswith("/rename") for each in firecrest.requests())


@STORE
@pytest.mark.parametrize("point", ["before_defer", "in_execute_complete", "before_rename"])
def test_killed_before_the_renaming_the_old_file_is_there_and_the_retry_ends_it(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, point: str, store: bool
) -> None:
    upload = upload_of(firecrest, tmp_path, store=store)
    upload.die(lane, point)
    assert upload.target.read_bytes() == OLD

    upload.live(lane)

    assert (upload.begun(), renames(firecrest)) == (1 if store else 2, 1)
    assert upload.nothing_is_left()


@STORE
@WAYS
def test_killed_after_the_renaming_the_new_file_is_there_and_the_retry_takes_it(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, small: bool, store: bool
) -> None:
    upload = upload_of(firecrest, tmp_path, small=small, store=store)
    upload.die(lane, "after_rename")
    assert upload.target.read_bytes() == upload.source.read_bytes()

    upload.live(lane)

    assert upload.nothing_is_left()
    if store and not small:
        assert (upload.begun(), renames(firecrest)) == (1, 1)


@STORE
def test_a_small_one_killed_before_the_renaming_leaves_the_old_file_and_the_retry_ends_it(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, store: bool
) -> None:
    upload = upload_of(firecrest, tmp_path, small=True, store=store)
    upload.die(lane, "before_rename")
    assert upload.target.read_bytes() == OLD
    assert len(parts(upload)) == 1

    upload.live(lane)

    assert upload.nothing_is_left()


@WAYS
def test_a_cleared_one_leaves_no_part_of_its_earlier_life(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, small: bool
) -> None:
    upload = upload_of(firecrest, tmp_path, small=small)
    upload.die(lane, "before_rename")
    assert len(parts(upload)) == 1
    upload.task.clear()

    upload.live(lane)

    assert upload.nothing_is_left()


def test_a_part_that_an_earlier_life_still_writes_is_removed_too(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    """FirecREST v1 cannot cancel the task that copies it."""
    firecrest.control("PUT", "v1", {"polling_interval": 1})
    try:
        upload = upload_of(firecrest, tmp_path)
        upload.die(lane, "before_defer")
        assert parts(upload) == []
        upload.task.clear()

        upload.live(lane)
    finally:
        firecrest.control("PUT", "v1", {"polling_interval": 0.1})

    assert upload.begun() == 2
    assert upload.nothing_is_left()


def test_of_a_source_that_changed_meanwhile_the_old_part_is_removed(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane
) -> None:
    upload = upload_of(firecrest, tmp_path)
    upload.die(lane, "before_rename")
    fill(upload, seed=2)

    upload.live(lane)

    assert upload.begun() == 2
    assert upload.nothing_is_left()


@WAYS
@pytest.mark.parametrize("point", ["before_rename", "after_rename"])
def test_a_retry_takes_its_own_work_and_nobody_elses(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, small: bool, point: str
) -> None:
    upload = upload_of(firecrest, tmp_path, small=small, if_exists="fail")
    upload.target.unlink()
    upload.die(lane, point)
    if point == "after_rename":
        assert upload.live(lane)["way"] == "skip"
        assert upload.nothing_is_left()
        return
    upload.target.write_bytes(OLD)

    outcome = upload.task.live(lane)

    assert outcome["for_good"]
    assert "another file" in outcome["error"]
    assert upload.target.read_bytes() == OLD
    assert upload.nothing_is_left()


def test_a_deferred_one_that_a_user_kills_leaves_the_old_file_and_no_part(
    firecrest: FirecrestForTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = upload_of(firecrest, tmp_path)
    for name, value in firecrest.connection_env.items():
        monkeypatch.setenv(name, value)
    deferral = defer(lambda: FirecrestUploadOperator(**upload.task.arguments, task_id="x"), TaskInstance())
    until(lambda: parts(upload))
    trigger = revived(deferral.trigger)

    asyncio.run(trigger.on_kill())

    assert upload.target.read_bytes() == OLD
    assert upload.nothing_is_left()


@STORE
def test_an_upload_that_is_wrong_for_good_leaves_the_old_file_and_no_part(
    firecrest: FirecrestForTest, tmp_path: Path, lane: Lane, store: bool
) -> None:
    upload = upload_of(firecrest, tmp_path, store=store)
    upload.task.max_tries = 1
    firecrest.fault("ingress_says_success_without_file", times=0)

    assert upload.task.live(lane)["state"] == "failed"

    assert upload.target.read_bytes() == OLD
    assert upload.nothing_is_left()
