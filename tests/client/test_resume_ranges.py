"""Going on with a download whose process was killed: what is on disk is not fetched again.

The witnesses are the store, which counts the bytes it was asked for, and the files on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest._crash_points import VARIABLE
from airflow_provider_firecrest.client.errors import FirecrestError, IntegrityError, UnavailableError
from airflow_provider_firecrest.client.staging import (
    Staged,
    StagingOptions,
    get_object,
    ranges,
    resumable_target,
)
from tests.client import s3_faults as faults
from tests.client.s3_double import S3Double, Stored

RANGE = 64 * 1024
SIZE = 5 * RANGE + 777
CONTENT = random.Random(11).randbytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = StagingOptions(
    backoff=0.01,
    stall_timeout=0.5,
    connect_timeout=2,
    chunk=8 * 1024,
    range_size=RANGE,
    appear_timeout=0.3,
    parallel=1,
    attempts=2,
)

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from airflow_provider_firecrest.client.staging import StagingOptions, get_object, ranges, resumable_target

call = json.loads(sys.stdin.read())
ranges.RECORD_EVERY = 0.0
pieces = 0

def dying(name):
    global pieces
    if name == "during_ranges":
        pieces += 1
        if pieces == call["pieces"]:
            os.kill(os.getpid(), signal.SIGKILL)

if call["pieces"]:
    ranges.crash_point = dying
options = StagingOptions(parallel=1, chunk=8 * 1024, range_size=call["range"], backoff=0.01)
with resumable_target(Path(call["target"]), "task") as temporary:
    get_object(call["url"], temporary, size=call["size"], options=options, resume=True)
    if call["before_rename"]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture
def target(tmp_path: Path) -> Path:
    directory = tmp_path / "there"
    directory.mkdir()
    return directory / "target.bin"


@pytest.fixture(autouse=True)
def noted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RECORD_EVERY", 0.0)


def worker(
    url: str, target: Path, *, pieces: int = 0, before_rename: bool = False, crash_at: str = ""
) -> int:
    """Download in a process of its own, which dies after so many pieces of 8 KiB, or before the rename."""
    call = {
        "url": url,
        "target": str(target),
        "size": SIZE,
        "range": RANGE,
        "pieces": pieces,
        "before_rename": before_rename,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(call),
        text=True,
        env={**os.environ, VARIABLE: crash_at},
        check=False,
        timeout=60,
    )
    return done.returncode


def fetch(url: str, target: Path, *, mark: str = "task", size: int | None = SIZE, **how: bool) -> Staged:
    with resumable_target(target, mark, **how) as temporary:
        return get_object(url, temporary, size=size, options=QUICK, resume=True)


def asked_for(store: S3Double, since: int = 0) -> list[tuple[int, int]]:
    """The ranges the store was asked for."""
    found = [re.fullmatch(r"bytes=(\d+)-(\d+)", each.headers.get("range", "")) for each in store.seen[since:]]
    return [(int(each[1]), int(each[2]) + 1) for each in found if each]


def names(target: Path) -> list[str]:
    return sorted(each.name for each in target.parent.iterdir())


def partial(target: Path) -> Path:
    [found] = target.parent.glob(".*.part")
    return found


def test_what_a_killed_process_fetched_is_not_fetched_again(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    assert worker(url, target, pieces=20) == -signal.SIGKILL
    assert not target.exists()
    assert len(names(target)) == 2
    seen = len(store.seen)
    staged = fetch(url, target)

    again = asked_for(store, seen)
    assert again[0][0] == 20 * 8 * 1024
    assert sum(stop - start for start, stop in again) == SIZE - 20 * 8 * 1024
    assert target.read_bytes() == CONTENT
    assert staged.sha256 == DIGEST
    assert names(target) == ["target.bin"]


def test_a_process_killed_again_and_again_gets_there(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    ends = [worker(url, target, pieces=10) for _ in range(4)]
    last = worker(url, target)

    assert (ends, last) == ([-signal.SIGKILL] * 4, 0)
    assert hashlib.sha256(target.read_bytes()).hexdigest() == DIGEST
    assert names(target) == ["target.bin"]


def test_the_named_crash_point_leaves_a_file_that_is_gone_on_with(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    assert worker(url, target, crash_at="during_ranges") == -signal.SIGKILL
    assert worker(url, target) == 0

    assert target.read_bytes() == CONTENT
    assert asked_for(store)[1][0] == 8 * 1024


def test_a_complete_file_is_asked_for_its_last_byte_only(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    assert worker(url, target, before_rename=True) == -signal.SIGKILL
    seen = len(store.seen)
    staged = fetch(url, target)

    assert asked_for(store, seen) == [(SIZE - 1, SIZE)]
    assert target.read_bytes() == CONTENT
    assert staged.sha256 == DIGEST


@pytest.mark.parametrize("other_size", [SIZE, SIZE - RANGE, 100], ids=["same size", "smaller", "tiny"])
def test_another_version_is_fetched_from_its_beginning(
    store: S3Double, target: Path, other_size: int
) -> None:
    assert worker(store.put("object", CONTENT), target, pieces=20) == -signal.SIGKILL
    other = random.Random(12).randbytes(other_size)
    url = store.put("object", other)

    fetch(url, target, size=None)

    assert target.read_bytes() == other
    assert names(target) == ["target.bin"]


def test_an_object_that_is_staged_anew_with_the_same_content_is_gone_on_with(
    store: S3Double, target: Path
) -> None:
    assert worker(store.put("object", CONTENT), target, pieces=20) == -signal.SIGKILL
    seen = len(store.seen)

    fetch(store.put("other-key", CONTENT), target)

    assert asked_for(store, seen)[0][0] == 20 * 8 * 1024
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "[]",
        '{"etag": "x"}',
        '{"etag": "\\"x\\"", "size": 10, "spans": [[0, 5]]}',
        '{"etag": "\\"x\\"", "size": 328457, "spans": [[5, 0]]}',
        '{"etag": "\\"x\\"", "size": 328457, "spans": [[0, 999999]]}',
        '{"etag": "\\"x\\"", "size": 328457, "spans": []}',
    ],
)
def test_a_record_that_says_nothing_sensible_is_not_believed(
    store: S3Double, target: Path, record: str
) -> None:
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    left = partial(target)
    left.with_name(left.name + ".map").write_text(record)
    seen = len(store.seen)

    fetch(url, target)

    assert asked_for(store, seen)[0] == (0, RANGE)
    assert target.read_bytes() == CONTENT


def test_bytes_that_went_bad_on_disk_are_seen_by_the_digest(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    with partial(target).open("r+b") as file:
        file.write(b"\0" * 100)

    staged = fetch(url, target)

    # The caller compares this with the source; it is computed from what is on disk.
    assert staged.sha256 == hashlib.sha256(target.read_bytes()).hexdigest() != DIGEST


def test_a_version_without_a_strong_etag_is_not_gone_on_with(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT, etag='W/"weak"')
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    seen = len(store.seen)

    fetch(url, target)

    assert asked_for(store, seen)[0] == (0, RANGE)
    assert target.read_bytes() == CONTENT


def test_a_store_that_ignores_ranges_sends_everything_anew(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    store.inject("get", faults.ignore_range(), times=None)

    fetch(url, target)

    assert target.read_bytes() == CONTENT
    assert names(target) == ["target.bin"]


def test_an_outage_leaves_the_file_only_where_somebody_comes_back(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.answer(503, "SlowDown"), part=3 * RANGE, times=2)

    with pytest.raises(UnavailableError):
        fetch(url, target, keep=True)
    assert len(names(target)) == 2
    store.inject("get", faults.answer(503, "SlowDown"), part=3 * RANGE, times=2)
    with pytest.raises(UnavailableError):
        fetch(url, target)
    assert names(target) == []


@pytest.mark.parametrize(
    "fault",
    [
        faults.url_expired(),
        faults.answer(403, "AccessDenied", "Access Denied"),
        faults.replace_object(b"x" * SIZE, '"other"'),
    ],
    ids=["expired", "refused", "changed"],
)
def test_a_failure_for_good_leaves_nothing(store: S3Double, target: Path, fault: faults.Fault) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", fault, part=2 * RANGE)

    with pytest.raises(FirecrestError):
        fetch(url, target, keep=True)

    assert names(target) == []


def test_a_wrong_size_leaves_nothing(store: S3Double, target: Path) -> None:
    with pytest.raises(IntegrityError):
        fetch(store.put("object", CONTENT), target, size=SIZE + 1, keep=True)

    assert names(target) == []


def test_a_fresh_start_fetches_everything(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    seen = len(store.seen)

    fetch(url, target, fresh=True)

    assert asked_for(store, seen)[0] == (0, RANGE)
    assert names(target) == ["target.bin"]


def test_two_processes_at_once_do_not_write_to_one_file(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    with resumable_target(target, "task") as mine:
        get_object(url, mine, size=SIZE, options=QUICK, resume=True)
        with resumable_target(target, "task") as other:
            assert other != mine
            other.write_bytes(b"other")
        assert target.read_bytes() == b"other"

    assert target.read_bytes() == CONTENT
    assert names(target) == ["target.bin"]


def test_another_task_does_not_touch_what_this_one_left(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    left = names(target)

    fetch(url, target, mark="another task")

    assert names(target) == sorted([*left, "target.bin"])


def test_what_nobody_came_back_for_in_a_week_is_removed(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    week = time.time() - 8 * 86_400
    for each in target.parent.iterdir():
        os.utime(each, (week, week))
    neighbour = target.with_name(".target.bin.notes.part")
    neighbour.write_text("somebody else's")
    os.utime(neighbour, (week, week))

    fetch(url, target, mark="another task")

    assert names(target) == [neighbour.name, "target.bin"]


def test_a_name_as_long_as_the_file_system_takes_has_room_for_both(store: S3Double, target: Path) -> None:
    long = target.with_name("ü" * 127)
    url = store.put("object", CONTENT)

    assert worker(url, long, pieces=20) == -signal.SIGKILL
    fetch(url, long)

    assert long.read_bytes() == CONTENT
    assert names(target) == [long.name]


def test_what_the_object_holds_under_the_old_version_is_never_mixed(store: S3Double, target: Path) -> None:
    """The object is replaced while the second process is at it."""
    url = store.put("object", CONTENT)
    assert worker(url, target, pieces=20) == -signal.SIGKILL
    other = random.Random(13).randbytes(SIZE)

    def replace(handler: object) -> bool:
        store.objects["object"] = Stored(other, '"other"')
        return False

    store.inject("get", replace, part=20 * 8 * 1024 + RANGE)
    with pytest.raises(IntegrityError, match="changed"):
        fetch(url, target, keep=True)

    assert names(target) == []
