"""Fetching an object: the file is the object, whole and of one version, or there is no file."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import (
    FirecrestError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    TransferFailedError,
    UnavailableError,
)
from airflow_provider_firecrest.client.staging import StagingOptions, get_object
from tests.client import s3_faults as faults
from tests.client.s3_double import S3Double

RANGE = 64 * 1024
SIZE = 5 * RANGE + 777
CONTENT = random.Random(11).randbytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = StagingOptions(
    backoff=0.01, stall_timeout=0.5, connect_timeout=2, chunk=8 * 1024, range_size=RANGE, appear_timeout=0.3
)


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target.bin"


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [SIZE, None], ids=["size known", "size unknown"])
def test_an_object_arrives_whole(store: S3Double, target: Path, size: int | None) -> None:
    url = store.put("object", CONTENT)

    staged = get_object(url, target, size=size, options=QUICK)

    assert digest_of(target) == DIGEST == staged.sha256
    assert (staged.size, staged.parts) == (SIZE, 6)
    assert f'"{staged.etag}"' == store.objects["object"].etag
    assert store.count("get") == 6


@pytest.mark.parametrize("size", [0, 1, RANGE - 1, RANGE, RANGE + 1, 2 * RANGE])
def test_sizes_around_a_range_arrive(store: S3Double, target: Path, size: int) -> None:
    content = CONTENT[:size]
    url = store.put("object", content)

    staged = get_object(url, target, size=size, options=QUICK)

    assert target.read_bytes() == content
    assert staged.sha256 == hashlib.sha256(content).hexdigest()
    assert staged.size == size


def test_what_the_target_held_before_is_gone(store: S3Double, target: Path) -> None:
    target.write_bytes(b"x" * (SIZE + 5))

    get_object(store.put("object", CONTENT), target, size=SIZE, options=QUICK)

    assert digest_of(target) == DIGEST


def test_all_ranges_but_the_first_insist_on_the_version_seen_first(store: S3Double, target: Path) -> None:
    get_object(store.put("object", CONTENT), target, size=SIZE, options=QUICK)

    assert [each.headers.get("if-match") for each in store.seen].count(store.objects["object"].etag) == 5


@pytest.mark.parametrize(
    "fault",
    [
        faults.answer(503, "SlowDown"),
        faults.answer(500, "InternalError"),
        faults.answer(429, "SomethingElse"),
        faults.lost_before(0),
        faults.truncate(0),
        faults.truncate(10_000),
        faults.truncate(RANGE - 1),
        faults.truncate(20_000, reset=True),
        faults.stall_in_body(10_000),
    ],
    ids=["503", "500", "429", "lost", "empty body", "short body", "one byte short", "reset in body", "stall"],
)
@pytest.mark.parametrize("start", [0, 3 * RANGE])
def test_a_request_that_fails_once_is_made_again(
    store: S3Double, target: Path, fault: faults.Fault, start: int
) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", fault, part=start)

    staged = get_object(url, target, size=SIZE, options=QUICK)

    assert digest_of(target) == DIGEST == staged.sha256
    assert store.count("get") == 7


def test_a_broken_range_goes_on_from_the_byte_it_reached(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.truncate(3 * 8 * 1024))

    get_object(url, target, size=SIZE, options=replace(QUICK, parallel=1))

    assert digest_of(target) == DIGEST
    assert store.seen[1].headers["range"] == f"bytes={3 * 8 * 1024}-{RANGE - 1}"


def test_a_line_that_breaks_off_all_the_time_but_gets_on_is_not_given_up(
    store: S3Double, target: Path
) -> None:
    url = store.put("object", CONTENT[:RANGE])
    store.inject("get", faults.truncate(10_000), times=None)

    get_object(url, target, size=RANGE, options=replace(QUICK, attempts=2))

    assert target.read_bytes() == CONTENT[:RANGE]


def test_a_range_that_never_comes_ends_the_download_and_removes_the_file(
    store: S3Double, target: Path
) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", lambda _: False, times=2)
    store.inject("get", faults.truncate(0), times=None)

    with pytest.raises(UnavailableError, match=r"Fetching bytes .* 3 attempts"):
        get_object(url, target, size=SIZE, options=replace(QUICK, attempts=3))

    assert not target.exists()


@pytest.mark.parametrize(
    "keep_if_match", [True, False], ids=["the store checks If-Match", "the store ignores If-Match"]
)
def test_an_object_that_changes_meanwhile_is_refused(
    store: S3Double, target: Path, keep_if_match: bool
) -> None:
    url = store.put("object", CONTENT)
    other = faults.replace_object(bytes(SIZE), '"other-1"', keep_if_match=keep_if_match)
    store.inject("get", lambda _: False, times=3)
    store.inject("get", other, times=None)

    with pytest.raises(IntegrityError, match="changed while it was being downloaded"):
        get_object(url, target, size=SIZE, options=QUICK)

    assert not target.exists()


def test_a_weak_etag_is_compared_but_not_demanded(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT, etag='W/"weak"')

    staged = get_object(url, target, size=SIZE, options=QUICK)

    assert digest_of(target) == DIGEST
    assert staged.etag == "weak"
    assert all("if-match" not in each.headers for each in store.seen)


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 0])
def test_an_object_of_another_size_is_refused_before_it_is_fetched(
    store: S3Double, target: Path, size: int
) -> None:
    url = store.put("object", CONTENT)

    with pytest.raises(IntegrityError, match=rf"has {SIZE} bytes instead of {size}"):
        get_object(url, target, size=size, options=QUICK)

    assert not target.exists()
    assert store.count("get") == 1


def test_a_store_that_ignores_ranges_sends_one_stream(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.ignore_range(), times=None)

    staged = get_object(url, target, size=SIZE, options=QUICK)

    assert digest_of(target) == DIGEST == staged.sha256
    assert (staged.parts, store.count("get")) == (1, 1)


def test_a_stream_that_breaks_off_starts_anew(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    def whole_but_short(handler: object) -> bool:
        faults.ignore_range()(handler)  # type: ignore[arg-type]
        return faults.truncate(100_000)(handler)  # type: ignore[arg-type]

    store.inject("get", whole_but_short, times=2)
    store.inject("get", faults.ignore_range(), times=None)

    staged = get_object(url, target, size=None, options=QUICK)

    assert digest_of(target) == DIGEST == staged.sha256
    assert store.count("get") == 3


def test_a_stream_of_announced_chunks_needs_no_length(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.ignore_range_without_length(chunked=True))

    assert get_object(url, target, size=None, options=QUICK).sha256 == DIGEST
    assert digest_of(target) == DIGEST


def test_a_stream_without_any_length_is_refused_when_the_size_is_unknown(
    store: S3Double, target: Path
) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.ignore_range_without_length(chunked=False), times=None)

    with pytest.raises(ProtocolError, match="does not say how long"):
        get_object(url, target, size=None, options=QUICK)

    assert get_object(url, target, size=SIZE, options=QUICK).sha256 == DIGEST


def test_a_stream_that_ends_early_without_a_word_starts_anew_when_the_size_is_known(
    store: S3Double, target: Path
) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.ignore_range_without_length(chunked=False, sent=SIZE - 1))

    assert get_object(url, target, size=SIZE, options=QUICK).sha256 == DIGEST
    assert digest_of(target) == DIGEST
    assert store.count("get") == 2


def test_a_store_that_stops_doing_ranges_is_not_believed(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", lambda _: False)
    store.inject("get", faults.ignore_range(), times=None)

    with pytest.raises(ProtocolError, match="another range than asked for"):
        get_object(url, target, size=SIZE, options=replace(QUICK, attempts=2))


def test_an_object_that_appears_a_little_later_is_waited_for(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.answer(404, "NoSuchKey", "The specified key does not exist."), times=3)

    assert get_object(url, target, size=SIZE, options=QUICK).sha256 == DIGEST


def test_an_object_that_never_appears_is_not_found(store: S3Double, target: Path) -> None:
    with pytest.raises(NotFoundError, match="not in the object store") as caught:
        get_object(store.download_url("never"), target, size=SIZE, options=QUICK)

    assert caught.value.path == "/bucket/never"
    assert not target.exists()


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (faults.url_expired(), TransferFailedError, "presigned URL has expired"),
        (
            faults.answer(403, "AccessDenied", "Access Denied"),
            PermissionDeniedError,
            "refuses the presigned URL",
        ),
        (faults.answer(404, "NoSuchBucket", "The bucket does not exist"), NotFoundError, "NoSuchBucket"),
        (faults.redirect(), ProtocolError, "redirect"),
    ],
    ids=["expired", "denied", "no bucket", "redirect"],
)
def test_what_cannot_pass_is_not_tried_again(
    store: S3Double, target: Path, fault: faults.Fault, kind: type[FirecrestError], words: str
) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", fault, times=None)

    with pytest.raises(kind, match=words):
        get_object(url, target, size=SIZE, options=QUICK)

    assert store.count("get") == 1
    assert not target.exists()


@pytest.mark.parametrize(
    "url", ["not a url", "http://", "ftp://host/x?X-Amz-Signature=5ec2e7", "http://[::1/x", ""]
)
def test_a_url_that_is_none_is_a_clear_error(target: Path, url: str) -> None:
    with pytest.raises(ProtocolError, match="URL that cannot be used"):
        get_object(url, target, size=None, options=QUICK)


def test_a_full_file_system_is_noticed_before_bytes_move(
    store: S3Double, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = store.put("object", CONTENT)
    really = os.statvfs(target.parent)
    nearly_full = os.statvfs_result((*really[:4], 3, *really[5:10]))
    monkeypatch.setattr(os, "statvfs", lambda _: nearly_full)

    with pytest.raises(QuotaError, match=rf"needs {SIZE} bytes, {3 * really.f_frsize} are free"):
        get_object(url, target, size=SIZE, options=QUICK)

    assert not target.exists()
    assert store.count("get") == 1


def test_a_directory_that_does_not_exist_is_a_clear_error(store: S3Double, tmp_path: Path) -> None:
    with pytest.raises(TransferFailedError, match=r"Cannot write .*/no/x: No such file or directory"):
        get_object(store.put("object", CONTENT), tmp_path / "no" / "x", size=SIZE, options=QUICK)


def test_a_stored_content_encoding_is_not_undone(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)

    def say_gzip(handler: object) -> bool:
        original = handler.end_headers  # type: ignore[attr-defined]

        def end_headers() -> None:
            handler.send_header("Content-Encoding", "gzip")  # type: ignore[attr-defined]
            original()

        handler.end_headers = end_headers  # type: ignore[attr-defined]
        return False

    store.inject("get", say_gzip, times=None)

    assert get_object(url, target, size=SIZE, options=QUICK).sha256 == DIGEST
    assert {each.headers["accept-encoding"] for each in store.seen} == {"identity"}


def test_progress_ends_at_the_total(store: S3Double, target: Path) -> None:
    url = store.put("object", CONTENT)
    store.inject("get", faults.truncate(10_000))
    reports: list[tuple[int, int]] = []

    get_object(
        url, target, size=None, options=QUICK, progress=lambda done, total: reports.append((done, total))
    )

    assert reports[-1] == (SIZE, SIZE)
