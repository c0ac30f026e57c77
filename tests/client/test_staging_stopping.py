"""Stopping: cancelled, interrupted or failed, a transfer ends soon and leaves no thread and no file."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from airflow_provider_firecrest.client.errors import PermissionDeniedError
from airflow_provider_firecrest.client.staging import (
    StagingOptions,
    TransferCancelledError,
    get_object,
    put_object,
)
from tests.client import s3_faults as faults
from tests.client.s3_double import S3Double

PART = 64 * 1024
PATIENT = StagingOptions(stall_timeout=30, backoff=20, backoff_cap=20, range_size=PART)
SOON = 1.5  # seconds; the promise is about one


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    assert not [each for each in threading.enumerate() if each.name == "firecrest-staging"]


def upload(store: S3Double, path: Path, cancelled: threading.Event | None = None) -> None:
    (path / "source").write_bytes(random.Random(1).randbytes(4 * PART))
    ticket = store.start_upload("object", 4)
    put_object(
        path / "source", ticket.part_urls, ticket.complete_url, PART, options=PATIENT, cancelled=cancelled
    )


def download(store: S3Double, path: Path, cancelled: threading.Event | None = None) -> None:
    url = store.put("object", random.Random(1).randbytes(4 * PART))
    get_object(url, path / "target", size=4 * PART, options=PATIENT, cancelled=cancelled)


class Acting(threading.Thread):
    """Runs ``act`` a moment after the store has got a request, and remembers when."""

    def __init__(self, store: S3Double, operation: str, act: Callable[[], None]) -> None:
        super().__init__()
        self._store, self._operation, self._act = store, operation, act
        self.at = 0.0
        self.start()

    def run(self) -> None:
        for _ in range(500):
            if self._store.count(self._operation):
                break
            time.sleep(0.01)
        # The transfer shall be blocked by now; if it is not yet, the test is only easier.
        time.sleep(0.2)
        self.at = time.monotonic()
        self._act()


BLOCKED = [
    pytest.param(upload, "put", faults.hang_before(1000), id="a part that stalls"),
    pytest.param(upload, "put", faults.answer(503, "SlowDown"), id="a part that waits for its next attempt"),
    pytest.param(upload, "complete", faults.hang_before(0), id="a completion without an answer"),
    pytest.param(upload, "complete", faults.success_after_blanks(10, 8), id="a completion that drips"),
    pytest.param(download, "get", faults.hang_before(0), id="an object that does not open"),
    pytest.param(download, "get", faults.stall_in_body(100), id="a range that stalls"),
]


@pytest.mark.parametrize(("transfer", "operation", "fault"), BLOCKED)
def test_a_blocked_transfer_can_be_cancelled(
    store: S3Double, tmp_path: Path, transfer: Callable[..., None], operation: str, fault: faults.Fault
) -> None:
    store.inject(operation, fault, times=None)
    cancelled = threading.Event()
    helper = Acting(store, operation, cancelled.set)

    with pytest.raises(TransferCancelledError):
        transfer(store, tmp_path, cancelled)

    assert time.monotonic() - helper.at < SOON
    helper.join()
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(("transfer", "operation", "fault"), BLOCKED)
def test_a_blocked_transfer_can_be_interrupted_by_a_signal(
    store: S3Double, tmp_path: Path, transfer: Callable[..., None], operation: str, fault: faults.Fault
) -> None:
    class Killed(BaseException):
        """As a task runner's SIGTERM handler raises."""

    def handler(_: int, __: FrameType | None) -> None:
        raise Killed

    store.inject(operation, fault, times=None)
    before = signal.signal(signal.SIGTERM, handler)
    helper = Acting(store, operation, lambda: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with pytest.raises(Killed):
            transfer(store, tmp_path)
        assert time.monotonic() - helper.at < SOON
    finally:
        helper.join()
        signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("transfer", [upload, download])
def test_a_transfer_cancelled_before_it_starts_sends_nothing(
    store: S3Double, tmp_path: Path, transfer: Callable[..., None]
) -> None:
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(TransferCancelledError):
        transfer(store, tmp_path, cancelled)

    assert not store.seen
    assert not (tmp_path / "target").exists()


def test_one_part_that_cannot_pass_stops_the_others(store: S3Double, tmp_path: Path) -> None:
    store.inject("put", faults.answer(403, "AccessDenied", "Access Denied"), part=2)
    store.inject("put", faults.hang_before(0), times=None)
    started = time.monotonic()

    with pytest.raises(PermissionDeniedError, match="part 2"):
        upload(store, tmp_path)

    assert time.monotonic() - started < SOON


def test_what_a_progress_callback_raises_beyond_exceptions_stops_the_transfer(
    store: S3Double, tmp_path: Path
) -> None:
    store.inject("get", faults.stall_in_body(100), times=None)
    url = store.put("object", bytes(4 * PART))

    class Deadline(BaseException):
        """As a task runner's own time-out is."""

    def progress(done: int, total: int) -> None:
        raise Deadline

    with pytest.raises(Deadline):
        get_object(url, tmp_path / "target", size=4 * PART, options=PATIENT, progress=progress)

    assert not (tmp_path / "target").exists()
