"""Local files: a name appears with complete content or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import QuotaError
from airflow_provider_firecrest.client.staging import (
    TransferCancelledError,
    atomic_target,
    resumable_target,
    sha256_of,
)
from airflow_provider_firecrest.client.staging.files import Target


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"abc" * 100_000)

    assert sha256_of(path, chunk=1000) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_digesting_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(TransferCancelledError):
        sha256_of(tmp_path / "data", cancelled=cancelled)


@pytest.mark.usefixtures("umask")
def test_the_target_appears_at_the_end_with_the_mode_of_the_umask(tmp_path: Path) -> None:
    final = tmp_path / "result.nc"

    with atomic_target(final) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".result.nc.")
        temporary.write_bytes(b"content")
        assert not final.exists()

    assert final.read_bytes() == b"content"
    assert stat.S_IMODE(final.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    final = tmp_path / "result.nc"
    final.write_bytes(b"old")

    def fail_halfway() -> None:
        with atomic_target(final) as temporary:
            temporary.write_bytes(b"half")
            raise kind

    with pytest.raises(kind):
        fail_halfway()

    assert final.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_temporary_file_removed_by_somebody_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_target(tmp_path / "result") as temporary:
        temporary.unlink()

    assert not list(tmp_path.iterdir())


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()

    with pytest.raises(IsADirectoryError), atomic_target(tmp_path / "result"):
        pass

    assert [each.name for each in tmp_path.iterdir()] == ["result"]


def test_a_pipe_that_appears_meanwhile_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result")

    with pytest.raises(OSError, match="Not a regular file"), atomic_target(tmp_path / "result"):
        pass
    with pytest.raises(OSError, match="Not a regular file"), resumable_target(tmp_path / "result", "mark"):
        pass

    assert (tmp_path / "result").is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ["result"]


def test_a_name_as_long_as_the_file_system_takes_still_has_room_for_the_temporary_one(tmp_path: Path) -> None:
    final = tmp_path / ("ü" * 127)

    with atomic_target(final) as temporary:
        temporary.write_bytes(b"content")

    assert final.read_bytes() == b"content"


def test_a_missing_directory_shows_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_target(tmp_path / "no" / "result"):
        pytest.fail("the block must not be entered")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="/dev/full, where every write meets a full disk, is Linux's"
)
def test_a_disk_that_fills_up_meanwhile_is_named_with_what_is_needed() -> None:
    # Not as a context manager: that would remove the device.
    target = Target(Path("/dev/full"))
    try:
        with pytest.raises(QuotaError, match=r"Cannot write /dev/full: No space left .* needs 12345 bytes"):
            target.write(b"content", 0, 12345)
    finally:
        os.close(target._descriptor)
