"""Sending a file in parts: what arrives in the store is the file, or the caller is told why not."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import (
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    PermissionDeniedError,
    ProtocolError,
    RequestTimeoutError,
    TransferFailedError,
    UnavailableError,
)
from airflow_provider_firecrest.client.staging import Staged, StagingOptions, put_object
from tests.client import s3_faults as faults
from tests.client.s3_double import S3Double, Upload

PART = 64 * 1024
SIZE = 5 * PART + 1234
QUICK = StagingOptions(backoff=0.01, stall_timeout=0.5, connect_timeout=2, chunk=16 * 1024)


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def send(store: S3Double, source: Path, options: StagingOptions = QUICK) -> Staged:
    upload = store.start_upload("key/source.bin", 6)
    return put_object(source, upload.part_urls, upload.complete_url, PART, options=options)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def assert_arrived(store: S3Double, source: Path, staged: Staged) -> None:
    expected = digest(source.read_bytes())
    assert digest(store.objects["key/source.bin"].body) == expected
    assert staged.sha256 == expected
    assert staged.size == SIZE
    assert staged.parts == 6


def test_a_file_arrives_whole_and_in_order(store: S3Double, source: Path) -> None:
    staged = send(store, source)

    assert_arrived(store, source, staged)
    assert f'"{staged.etag}"' == store.objects["key/source.bin"].etag
    assert store.count("put") == 6


@pytest.mark.parametrize("size", [1, PART - 1, PART, PART + 1])
def test_sizes_around_one_part_arrive(store: S3Double, tmp_path: Path, size: int) -> None:
    source = tmp_path / "small"
    source.write_bytes(random.Random(size).randbytes(size))
    upload = store.start_upload("small", -(-size // PART))

    staged = put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK)

    assert digest(store.objects["small"].body) == digest(source.read_bytes()) == staged.sha256


@pytest.mark.parametrize("parallel", [1, 3, 16])
def test_the_number_of_connections_is_the_one_asked_for(store: S3Double, source: Path, parallel: int) -> None:
    staged = send(store, source, replace(QUICK, parallel=parallel))

    assert_arrived(store, source, staged)
    assert len({each.port for each in store.seen}) <= parallel + 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.answer(503, "ServiceUnavailable"),
        faults.answer(503, "SlowDown"),
        faults.answer(500, "InternalError"),
        faults.answer(429, "SomethingElse"),
        faults.answer(400, "BadDigest"),
        faults.answer(400, "RequestTimeout"),
        faults.lost_before(1000),
        faults.lost_before(0),
        faults.lose_answer(),
        faults.hang_before(1000),
        faults.flip_a_bit(),
    ],
    ids=[
        "503",
        "slow-down",
        "500",
        "429",
        "bad-digest",
        "400-timeout",
        "reset",
        "reset-at-once",
        "answer-lost",
        "stall",
        "bit",
    ],
)
def test_a_part_that_fails_once_is_sent_again_alone(
    store: S3Double, source: Path, fault: faults.Fault
) -> None:
    store.inject("put", fault, part=3)

    staged = send(store, source)

    assert_arrived(store, source, staged)
    assert store.count("put", part=3) == 2
    assert store.count("put") == 7


def test_a_part_that_always_fails_ends_the_upload_without_completing_it(
    store: S3Double, source: Path
) -> None:
    store.inject("put", faults.answer(503, "SlowDown", "Reduce your request rate."), part=2, times=None)

    with pytest.raises(UnavailableError) as caught:
        send(store, source, replace(QUICK, attempts=3))

    assert store.count("put", part=2) == 3
    assert store.count("complete") == 0
    assert "Sending part 2 of 6" in str(caught.value)
    assert "3 attempts" in str(caught.value)
    assert "Reduce your request rate." in str(caught.value)
    assert caught.value.status == 503


def test_a_store_that_nobody_listens_at_is_named(source: Path) -> None:
    with S3Double() as gone:
        upload = gone.start_upload("k", 6)

    with pytest.raises(
        UnavailableError, match=r"127\.0\.0\.1:\d+ failed: no connection \(Connection refused\)"
    ):
        put_object(source, upload.part_urls, upload.complete_url, PART, options=replace(QUICK, attempts=2))


def test_a_part_that_always_stalls_says_so(store: S3Double, source: Path) -> None:
    store.inject("put", faults.hang_before(), part=1, times=None)

    with pytest.raises(RequestTimeoutError, match=r"nothing moved for 0\.2 s"):
        send(store, source, replace(QUICK, attempts=2, stall_timeout=0.2))


def test_a_part_that_always_arrives_damaged_is_an_integrity_error(store: S3Double, source: Path) -> None:
    store.inject("put", faults.flip_a_bit(), part=4, times=None)

    with pytest.raises(IntegrityError, match="other bytes than were sent"):
        send(store, source, replace(QUICK, attempts=3))

    assert store.count("put", part=4) == 3
    assert not store.objects


def test_an_etag_that_is_no_md5_is_not_taken_for_one(store: S3Double, source: Path) -> None:
    store.inject("put", faults.etag_of_part('"opaque-etag"'), part=2)

    staged = send(store, source)

    assert_arrived(store, source, staged)
    assert store.count("put") == 6


def test_the_etag_of_a_part_encrypted_with_kms_is_not_taken_for_an_md5(store: S3Double, source: Path) -> None:
    encrypted = faults.etag_of_part(f'"{"ab" * 16}"', x_amz_server_side_encryption="aws:kms")
    store.inject("put", encrypted, times=None)

    staged = send(store, source)

    assert_arrived(store, source, staged)
    assert store.count("put") == 6


def test_a_missing_etag_is_replaced_by_the_md5(store: S3Double, source: Path) -> None:
    store.inject("put", faults.no_etag(), part=5)

    assert_arrived(store, source, send(store, source))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (faults.url_expired(), TransferFailedError, "presigned URL has expired"),
        (
            faults.answer(400, "ExpiredToken", "The provided token has expired."),
            TransferFailedError,
            "has expired",
        ),
        (
            faults.answer(403, "AccessDenied", "Access Denied"),
            PermissionDeniedError,
            "refuses the presigned URL",
        ),
        (
            faults.answer(404, "NoSuchUpload", "It does not exist."),
            TransferFailedError,
            "does not know this upload",
        ),
        (faults.answer(501, "NotImplemented", "Not implemented."), TransferFailedError, "answered 501"),
        (faults.redirect(), ProtocolError, "redirect"),
    ],
    ids=["expired", "token-expired", "denied", "no-upload", "not-implemented", "redirect"],
)
def test_what_cannot_pass_is_not_tried_again(
    store: S3Double, source: Path, fault: faults.Fault, kind: type[FirecrestError], words: str
) -> None:
    store.inject("put", fault, part=1, times=None)

    with pytest.raises(kind, match=words):
        send(store, source)

    assert store.count("put", part=1) == 1
    assert store.count("complete") == 0


def test_a_connection_lost_on_a_url_whose_time_is_over_is_reported_as_expired(
    store: S3Double, source: Path
) -> None:
    upload = store.start_upload("key/source.bin", 6, signed="20200101T000000Z")
    store.inject("put", faults.lost_before(0), times=None)

    with pytest.raises(TransferFailedError, match="has expired"):
        put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK)


def test_retry_after_is_waited_for(store: S3Double, source: Path) -> None:
    store.inject("put", faults.answer(503, "SlowDown", Retry_After="1"), part=1)

    staged = send(store, source)

    assert staged.seconds >= 1
    assert_arrived(store, source, staged)


@pytest.mark.parametrize("urls", [0, 5, 7], ids=["none", "too few", "too many"])
def test_urls_that_do_not_fit_the_size_are_refused_before_anything_is_sent(
    store: S3Double, source: Path, urls: int
) -> None:
    upload = store.start_upload("k", urls)

    with pytest.raises(InvalidRequestError, match=rf"makes 6 parts .* prepared {urls}"):
        put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK)

    assert not store.seen


def test_an_empty_file_is_refused(store: S3Double, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    upload = store.start_upload("k", 0)

    with pytest.raises(InvalidRequestError, match="is empty"):
        put_object(tmp_path / "empty", upload.part_urls, upload.complete_url, PART, options=QUICK)


def test_a_missing_file_is_a_clear_error(store: S3Double, tmp_path: Path) -> None:
    upload = store.start_upload("k", 1)

    with pytest.raises(TransferFailedError, match=r"Cannot read .*/nowhere: No such file"):
        put_object(tmp_path / "nowhere", upload.part_urls, upload.complete_url, PART, options=QUICK)


def change_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"changed")


def change_keeping_the_size_and_time(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(bytes(SIZE))
    status = path.stat()
    os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        change_in_place,
        lambda path: os.truncate(path, SIZE - 1),
        lambda path: path.unlink(),
        change_keeping_the_size_and_time,
    ],
    ids=["rewritten", "shortened", "removed", "replaced"],
)
def test_a_file_that_changes_while_it_is_sent_is_not_completed(
    store: S3Double, source: Path, change: object
) -> None:
    assert callable(change)

    def change_it(_: object) -> bool:
        change(source)
        return False

    store.inject("put", change_it, part=6)

    with pytest.raises(IntegrityError, match="changed while it was being sent"):
        send(store, source)

    assert store.count("complete") == 0


def test_a_store_that_reads_late_is_not_held_against_the_connect_timeout(
    store: S3Double, tmp_path: Path
) -> None:
    # More than the socket buffers of both sides hold, so that sending waits for the store.
    source, size = tmp_path / "large", 24 * 1024 * 1024
    with source.open("wb") as file:
        file.truncate(size)

    def read_late(_: object) -> bool:
        time.sleep(0.8)
        return False

    store.inject("put", read_late, times=None)
    upload = store.start_upload("large", 1)
    options = replace(QUICK, connect_timeout=0.2, stall_timeout=5)

    put_object(source, upload.part_urls, upload.complete_url, size, options=options)

    assert len(store.objects["large"].body) == size
    assert store.count("put") == 1


def test_progress_ends_at_the_total_and_counts_a_resent_part_once(store: S3Double, source: Path) -> None:
    store.inject("put", faults.answer(503, "SlowDown"), part=2)
    store.inject("put", faults.lost_before(20_000), part=3)
    upload = store.start_upload("key/source.bin", 6)
    reports: list[tuple[int, int]] = []

    put_object(
        source,
        upload.part_urls,
        upload.complete_url,
        PART,
        options=QUICK,
        progress=lambda done, total: reports.append((done, total)),
    )

    assert reports[-1] == (SIZE, SIZE)


def test_progress_is_reported_about_once_a_second_from_the_callers_thread(
    store: S3Double, source: Path
) -> None:
    def slow(_: object) -> bool:
        time.sleep(0.5)
        return False

    store.inject("put", slow, times=None)
    upload = store.start_upload("key/source.bin", 6)
    reports: list[int] = []

    def progress(done: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        reports.append(done)

    options = replace(QUICK, parallel=1, stall_timeout=5)
    put_object(source, upload.part_urls, upload.complete_url, PART, options=options, progress=progress)

    assert 3 <= len(reports) <= 5  # three seconds, and the end


def test_a_progress_callback_that_raises_does_not_harm_the_transfer(
    store: S3Double, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upload = store.start_upload("key/source.bin", 6)

    def progress(done: int, total: int) -> None:
        raise RuntimeError("no more screen")

    staged = put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK, progress=progress)

    assert_arrived(store, source, staged)
    assert "progress callback raised RuntimeError" in caplog.text


def test_neither_netrc_nor_cookies_nor_the_url_add_a_second_credential(
    store: S3Double, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    store.inject("put", faults.send_cookie_then_go_on(), times=None)
    upload = store.start_upload("key/source.bin", 6)
    with_user = Upload(
        upload.key, [url.replace("//", "//user:word@", 1) for url in upload.part_urls], upload.complete_url
    )

    put_object(source, with_user.part_urls, with_user.complete_url, PART, options=QUICK)

    assert {"authorization", "cookie"}.isdisjoint(name for each in store.seen for name in each.headers)
    assert store.objects


def test_a_proxy_of_the_environment_is_used(
    store: S3Double, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The double takes absolute request lines as a proxy does: urlsplit finds the path in both.
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, store.address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    upload = store.start_upload("key/source.bin", 6)
    part_urls = [url.replace(store.address, "http://s3.example.invalid", 1) for url in upload.part_urls]
    complete_url = upload.complete_url.replace(store.address, "http://s3.example.invalid", 1)

    staged = put_object(source, part_urls, complete_url, PART, options=QUICK)

    assert_arrived(store, source, staged)
    assert {each.headers["host"] for each in store.seen} == {"s3.example.invalid"}
