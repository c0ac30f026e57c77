"""Completing an upload: a 200 can be a failure, a lost answer can be a success."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    FirecrestError,
    IntegrityError,
    Retry,
    TransferFailedError,
    UnavailableError,
)
from airflow_provider_firecrest.client.staging import Staged, StagingOptions, put_object
from tests.client import s3_faults as faults
from tests.client.s3_double import S3Double, Stored

PART = 32 * 1024
QUICK = StagingOptions(backoff=0.01, stall_timeout=2, connect_timeout=2, complete_timeout=5)


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(random.Random(3).randbytes(3 * PART))
    return path


def send(store: S3Double, source: Path, options: StagingOptions = QUICK) -> Staged:
    upload = store.start_upload("object", 3)
    return put_object(source, upload.part_urls, upload.complete_url, PART, options=options)


def assert_arrived(store: S3Double, source: Path) -> None:
    assert (
        hashlib.sha256(store.objects["object"].body).digest() == hashlib.sha256(source.read_bytes()).digest()
    )


@pytest.mark.parametrize(
    "fault",
    [
        faults.error_in_200("InternalError"),
        faults.error_in_200("SlowDown", blanks=40),
        faults.answer(500, "InternalError"),
        faults.answer(503, "SlowDown"),
        faults.page_of_a_proxy(),
        faults.lost_before(10),
    ],
    ids=["error in 200", "error in 200 after blanks", "500", "503", "a proxy's page", "reset"],
)
def test_a_completion_that_fails_once_is_asked_for_again(
    store: S3Double, source: Path, fault: faults.Fault
) -> None:
    store.inject("complete", fault)

    staged = send(store, source)

    assert_arrived(store, source)
    assert staged.etag is not None
    assert store.count("complete") == 2
    assert store.count("put") == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.error_in_200("InternalError", blanks=3), AmbiguousError),
        (faults.error_in_200("SlowDown"), UnavailableError),
        (faults.page_of_a_proxy(), AmbiguousError),
        (faults.lost_before(10), AmbiguousError),
    ],
    ids=["error in 200", "slow down in 200", "a proxy's page", "reset"],
)
def test_a_completion_that_always_fails_is_never_a_success(
    store: S3Double, source: Path, fault: faults.Fault, kind: type[FirecrestError]
) -> None:
    store.inject("complete", fault, times=None)

    with pytest.raises(kind, match="3 attempts"):
        send(store, source, replace(QUICK, attempts=3))

    assert store.count("complete") == 3


def test_an_error_in_a_200_that_cannot_pass_is_not_tried_again(store: S3Double, source: Path) -> None:
    store.inject("complete", faults.error_in_200("AccessDenied"), times=None)

    with pytest.raises(TransferFailedError, match="200 with an error"):
        send(store, source)

    assert store.count("complete") == 1


def test_a_part_the_store_has_lost_is_reported_in_its_words(store: S3Double, source: Path) -> None:
    def lose_a_part(handler: object) -> bool:
        (upload,) = store.uploads.values()
        del upload.parts[2]
        return False

    store.inject("complete", lose_a_part)

    with pytest.raises(
        TransferFailedError, match="InvalidPart: One or more of the specified parts"
    ) as caught:
        send(store, source)

    assert caught.value.status == 400
    assert store.count("complete") == 1


def test_a_lost_answer_to_a_completion_that_worked_is_left_to_be_proven(
    store: S3Double, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.inject("complete", faults.lose_answer())

    staged = send(store, source)

    assert staged.etag is None
    assert staged.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert_arrived(store, source)
    assert "has to be checked at its destination" in caplog.text


def test_an_unknown_upload_is_a_failure_when_no_answer_was_lost(store: S3Double, source: Path) -> None:
    store.inject("complete", faults.answer(404, "NoSuchUpload", "The specified upload does not exist."))

    with pytest.raises(TransferFailedError, match="does not know this upload"):
        send(store, source)


def test_lost_answers_without_end_ask_the_caller_to_look_first(store: S3Double, source: Path) -> None:
    store.inject("complete", faults.lost_before(0), times=None)

    with pytest.raises(AmbiguousError, match="may be done all the same") as caught:
        send(store, source, replace(QUICK, attempts=2))

    assert caught.value.retry is Retry.CHECK_FIRST


def test_a_store_that_takes_its_time_and_shows_signs_of_life_is_waited_for(
    store: S3Double, source: Path
) -> None:
    store.inject("complete", faults.success_after_blanks(10, 1.5))

    staged = send(store, source, replace(QUICK, stall_timeout=0.5))

    assert_arrived(store, source)
    assert staged.etag is not None
    assert store.count("complete") == 1


def test_signs_of_life_do_not_keep_the_caller_for_ever(store: S3Double, source: Path) -> None:
    store.inject("complete", faults.success_after_blanks(40, 4))

    staged = send(store, source, replace(QUICK, complete_timeout=0.5))

    assert staged.etag is None  # completed meanwhile, as the second call found out
    assert store.count("complete") == 2


def test_an_object_made_of_something_else_is_an_integrity_error(store: S3Double, source: Path) -> None:
    store.inject("complete", faults.other_etag_in_result())

    with pytest.raises(IntegrityError, match="not made of the parts sent"):
        send(store, source)


def test_the_result_is_not_judged_by_its_etag_where_part_etags_are_no_md5(
    store: S3Double, source: Path
) -> None:
    store.inject("put", faults.etag_of_part('"opaque"'), part=1)
    store.inject("complete", faults.other_etag_in_result())

    assert send(store, source).etag == "0" * 32 + "-3"


def test_the_etag_of_a_recorded_answer_is_accepted(store: S3Double, tmp_path: Path) -> None:
    # transfer_upload_s3_exact_part: one part of 8 MiB, MD5 8acb2ce7..., object's ETag fecf0af2...-1.
    part = bytes.fromhex("8acb2ce713357644aedb78cb82059ecd")
    assert hashlib.md5(part).hexdigest() == "fecf0af281d13e990687b86ed1dc1e21"

    source = tmp_path / "recorded"
    source.write_bytes(b"x" * PART)
    upload = store.start_upload("object", 1)
    staged = put_object(source, upload.part_urls, upload.complete_url, PART, options=QUICK)
    inner = hashlib.md5(b"x" * PART).digest()
    assert staged.etag == f"{hashlib.md5(inner).hexdigest()}-1"
    assert store.objects["object"] == Stored(b"x" * PART, f'"{staged.etag}"')
