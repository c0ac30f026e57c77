"""Going on with an upload whose process was killed: what the store has got is not sent again.

The witness is the store: the requests it saw and the bytes it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest._crash_points import VARIABLE
from airflow_provider_firecrest.client.errors import TransferFailedError
from airflow_provider_firecrest.client.staging import Staged, StagingOptions, put_object
from tests.client import s3_faults as faults
from tests.client.s3_double import S3Double, Upload

PART = 64 * 1024
SIZE = 5 * PART + 1234
PARTS = 6
QUICK = StagingOptions(backoff=0.01, stall_timeout=0.5, connect_timeout=2, chunk=16 * 1024, parallel=1)

# What a worker does: remember each part the moment the store has it, and begin with what is remembered.
PROGRAM = """
import json, sys
from pathlib import Path
from airflow_provider_firecrest.client.staging import StagingOptions, put_object

call = json.loads(sys.stdin.read())
memory = Path(call["memory"])
done = {int(number): etag for number, etag in json.loads(memory.read_text()).items()}

def remember(number, etag):
    done[number] = etag
    memory.write_text(json.dumps(done))

put_object(Path(call["source"]), call["urls"], call["complete"], call["part_size"], done=dict(done),
           on_part=remember, may_be_complete=call["may_be_complete"],
           options=StagingOptions(parallel=1, backoff=0.01))
"""


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


class Worker:
    """Uploads in a process of its own, which can be killed."""

    def __init__(self, source: Path, upload: Upload) -> None:
        self.memory = source.with_name("memory.json")
        self.memory.write_text("{}")
        self.call = {
            "source": str(source),
            "urls": upload.part_urls,
            "complete": upload.complete_url,
            "part_size": PART,
            "memory": str(self.memory),
            "may_be_complete": False,
        }

    def run(self, crash_at: str = "", *, may_be_complete: bool = False) -> int:
        call = json.dumps({**self.call, "may_be_complete": may_be_complete})
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=call,
            text=True,
            env={**os.environ, VARIABLE: crash_at},
            check=False,
            timeout=60,
        )
        return done.returncode


def resume(store: S3Double, source: Path, upload: Upload, done: dict[int, str]) -> Staged:
    return put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK, done=done)


def etags(upload: Upload) -> dict[int, str]:
    return {number: part.etag for number, part in upload.parts.items()}


def arrived(store: S3Double, source: Path) -> bool:
    return store.objects["key"].body == source.read_bytes()


def test_a_process_killed_after_every_part_sends_each_part_once(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)
    worker = Worker(source, upload)

    ends = [worker.run("during_parts") for _ in range(PARTS)]
    last = worker.run()

    assert (ends, last) == ([-signal.SIGKILL] * PARTS, 0)
    assert [store.count("put", part) for part in range(1, PARTS + 1)] == [1] * PARTS
    assert store.count("complete") == 1
    assert arrived(store, source)


def test_a_process_killed_before_completing_sends_nothing_again(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)
    worker = Worker(source, upload)

    assert worker.run("before_complete_upload") == -signal.SIGKILL
    assert store.objects == {}
    assert worker.run() == 0

    assert store.count("put") == PARTS
    assert arrived(store, source)


def test_a_process_killed_after_completing_is_not_taken_for_a_failure(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)
    worker = Worker(source, upload)

    assert worker.run("after_complete_upload") == -signal.SIGKILL
    assert worker.run(may_be_complete=True) == 0

    assert store.count("put") == PARTS
    assert arrived(store, source)


def test_an_upload_that_the_store_has_forgotten_is_a_failure_when_nobody_completed_it(
    store: S3Double, source: Path
) -> None:
    upload = store.start_upload("key", PARTS)
    worker = Worker(source, upload)
    assert worker.run("before_complete_upload") == -signal.SIGKILL
    done = etags(upload)
    store.uploads.clear()

    with pytest.raises(TransferFailedError, match="does not know this upload"):
        resume(store, source, upload, done)


def test_parts_of_other_bytes_are_sent_again(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)
    assert Worker(source, upload).run("before_complete_upload") == -signal.SIGKILL
    content = bytearray(source.read_bytes())
    content[2 * PART + 5] ^= 1
    source.write_bytes(content)

    staged = resume(store, source, upload, etags(upload))

    assert [store.count("put", part) for part in range(1, PARTS + 1)] == [1, 1, 2, 1, 1, 1]
    assert arrived(store, source)
    assert staged.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()


def test_etags_that_are_no_digests_are_believed(source: Path) -> None:
    with S3Double(etags=False) as store:
        upload = store.start_upload("key", PARTS)
        assert Worker(source, upload).run("before_complete_upload") == -signal.SIGKILL

        resume(store, source, upload, etags(upload))

        assert store.count("put") == PARTS
        assert arrived(store, source)


def test_progress_counts_what_was_sent_before(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)
    assert Worker(source, upload).run("before_complete_upload") == -signal.SIGKILL
    told: list[tuple[int, int]] = []

    put_object(
        source,
        upload.part_urls,
        upload.complete_url,
        PART,
        options=QUICK,
        done=etags(upload),
        progress=lambda done, total: told.append((done, total)),
    )

    assert told[-1] == (SIZE, SIZE)


def test_parts_are_told_one_at_a_time_and_only_once_they_are_there(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)
    store.inject("put", faults.answer(503, "SlowDown"), part=3)
    inside = threading.Lock()
    told: dict[int, str] = {}

    def remember(number: int, etag: str) -> None:
        assert inside.acquire(blocking=False)
        assert upload.parts[number].etag == etag
        told[number] = etag
        inside.release()

    options = StagingOptions(backoff=0.01, parallel=4)
    put_object(source, upload.part_urls, upload.complete_url, PART, options=options, on_part=remember)

    assert sorted(told) == list(range(1, PARTS + 1))


def test_a_memory_that_fails_does_not_fail_the_upload(store: S3Double, source: Path) -> None:
    upload = store.start_upload("key", PARTS)

    def fail(number: int, etag: str) -> None:
        raise RuntimeError("no place to remember it")

    put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK, on_part=fail)

    assert arrived(store, source)
