"""The signature of a presigned URL gets out nowhere: in no log, no exception, no traceback."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest.client.errors import FirecrestError
from airflow_provider_firecrest.client.staging import StagingOptions, get_object, put_object
from airflow_provider_firecrest.client.staging.redaction import without_signatures
from tests.client import s3_faults as faults
from tests.client.s3_double import SIGNATURE, UPLOAD_ID, S3Double

PART = 16 * 1024
QUICK = StagingOptions(
    backoff=0.01, stall_timeout=0.2, connect_timeout=0.5, attempts=2, appear_timeout=0, range_size=PART
)

Fail = Callable[[S3Double, Path], None]


@pytest.fixture
def store() -> Iterator[S3Double]:
    with S3Double() as double:
        yield double


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def upload(store: S3Double, path: Path, address: str | None = None) -> None:
    (path / "source").write_bytes(b"x" * 3 * PART)
    ticket = store.start_upload("object", 3)
    urls = [
        url.replace(store.address, address or store.address, 1)
        for url in (*ticket.part_urls, ticket.complete_url)
    ]
    put_object(path / "source", urls[:-1], urls[-1], PART, options=QUICK)


def download(store: S3Double, path: Path) -> None:
    get_object(store.put("object", b"y" * 3 * PART), path / "target", size=3 * PART, options=QUICK)


def failing(operation: str, fault: faults.Fault, act: Fail) -> Fail:
    def perform(store: S3Double, path: Path) -> None:
        store.inject(operation, fault, times=None)
        act(store, path)

    return perform


FAILURES: dict[str, Fail] = {
    "part refused": failing("put", faults.answer(503, "SlowDown"), upload),
    "part expired": failing("put", faults.url_expired(), upload),
    "part unsigned": failing(
        "put", faults.answer(403, "SignatureDoesNotMatch", f"... Signature={SIGNATURE}"), upload
    ),
    "part lost": failing("put", faults.lost_before(), upload),
    "part stalled": failing("put", faults.hang_before(), upload),
    "part damaged": failing("put", faults.flip_a_bit(), upload),
    "part redirected": failing("put", faults.redirect(), upload),
    "completion lost": failing("complete", faults.lost_before(0), upload),
    "completion failed": failing("complete", faults.error_in_200("InternalError"), upload),
    "nobody there": lambda store, path: upload(store, path, "http://127.0.0.1:9"),
    "no such host": lambda store, path: upload(store, path, "http://s3.example.invalid"),
    "no TLS there": lambda store, path: upload(store, path, store.address.replace("http:", "https:")),
    "no URL": lambda store, path: upload(store, path, "http://[::1"),
    "object missing": lambda store, path: (
        get_object(store.download_url("no"), path / "t", size=1, options=QUICK) and None
    ),
    "object refused": failing("get", faults.answer(503, "SlowDown"), download),
    "object truncated": failing("get", faults.truncate(0), download),
    "object stalled": failing("get", faults.stall_in_body(10), download),
}


def all_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        yield from all_of(error.__cause__)
        error = error.__context__


def assert_no_secret(text: str) -> None:
    assert SIGNATURE not in text
    assert UPLOAD_ID not in text


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_tells_no_secret(
    store: S3Double, tmp_path: Path, everything_logged: pytest.LogCaptureFixture, name: str
) -> None:
    with pytest.raises(FirecrestError) as caught:
        FAILURES[name](store, tmp_path)

    assert_no_secret(everything_logged.text)
    assert_no_secret("".join(traceback.format_exception(caught.value)))
    for each in all_of(caught.value):
        assert_no_secret(f"{each} {each!r} {each.args} {getattr(each, '__dict__', {})}")
    assert_no_secret(repr(pickle.dumps(caught.value)))


def test_a_success_tells_no_secret(
    store: S3Double,
    tmp_path: Path,
    everything_logged: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upload(store, tmp_path)
    download(store, tmp_path)

    assert_no_secret(everything_logged.text)
    # The requests were logged, so the assertion above looked at something.
    assert "PUT /bucket/object?*** HTTP/1.1" in everything_logged.text
    assert "GET /bucket/object?*** HTTP/1.1" in everything_logged.text
    assert_no_secret("".join(capsys.readouterr()))


def test_debugging_of_http_client_prints_no_secret(
    store: S3Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)

    upload(store, tmp_path)
    download(store, tmp_path)

    assert_no_secret("".join(capsys.readouterr()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /jobs?allusers=true&name=x HTTP/1.1", "GET /jobs?allusers=true&name=x HTTP/1.1"),
        ("PUT /b/k?partNumber=1&X-Amz-Signature=abc HTTP/1.1", "PUT /b/k?*** HTTP/1.1"),
        ("PUT /b/k?AWSAccessKeyId=a&Signature=b&Expires=1 x", "PUT /b/k?*** x"),
        ("https://h/k?X-Goog-Signature=abc and /k?sig=1&se=2", "https://h/k?*** and /k?***"),
    ],
)
def test_only_queries_that_are_credentials_are_hidden(text: str, expected: str) -> None:
    assert without_signatures(text) == expected
