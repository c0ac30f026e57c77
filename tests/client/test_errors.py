"""Errors travel between processes, say what happened and where, and hold no secret."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_firecrest.client import errors
from airflow_provider_firecrest.client.errors import (
    FirecrestError,
    IntegrityError,
    JobFailedError,
    NotFoundError,
    RateLimitError,
    Retry,
    TransferFailedError,
    redact,
)
from airflow_provider_firecrest.client.models import Job, TransferJob

CLASSES = [
    each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, FirecrestError)
]

PRESIGNED = (
    "http://127.0.0.1:9000/bucket/key?uploadId=abc&partNumber=1&X-Amz-Credential=k%2F20261120"
    "&X-Amz-Signature=0123456789abcdef"
)
JWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJlMTIz"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_survives_the_way_to_another_process(cls: type[FirecrestError], travel: Any) -> None:
    """Airflow carries exceptions between processes."""
    error = cls(
        "What happened.",
        method="GET",
        path="/x",
        status=500,
        server_message="its words",
        retry=Retry.CHECK_FIRST,
        retry_after=3.0,
    )

    other = travel(error)

    assert type(other) is cls
    assert str(other) == str(error) == "What happened. The server said: its words [GET /x -> 500]"
    assert vars(other) == vars(error)
    assert other.args == error.args


def test_what_an_error_is_about_travels_with_it() -> None:
    job, transfer = Job("7", "n", "FAILED"), TransferJob("8", "c", "/w", "/o", "/e")

    for error, field, value in [
        (JobFailedError("x", job=job), "job", job),
        (TransferFailedError("x", transfer=transfer), "transfer", transfer),
        (IntegrityError("x", transfer=transfer), "transfer", transfer),
    ]:
        assert getattr(pickle.loads(pickle.dumps(error)), field) == value


def test_a_changed_message_travels_too() -> None:
    error = NotFoundError("First.")
    error.message += " Second."

    assert str(pickle.loads(pickle.dumps(error))) == "First. Second."


def test_the_servers_words_are_not_said_twice() -> None:
    assert str(NotFoundError("Job not found.", server_message="Job not found.")) == "Job not found."


def test_every_class_says_whether_the_caller_may_repeat() -> None:
    expected = {
        "AmbiguousError": Retry.CHECK_FIRST,
        "UnavailableError": Retry.YES,
        "RequestTimeoutError": Retry.YES,
        "CommandTimeoutError": Retry.YES,
        "RateLimitError": Retry.YES,
        "QuotaError": Retry.YES,
    }

    assert {cls.__name__: cls("x").retry for cls in CLASSES} == {
        cls.__name__: expected.get(cls.__name__, Retry.NO) for cls in CLASSES
    }


def test_a_time_to_wait_is_kept() -> None:
    assert RateLimitError("x", retry_after=7.0).retry_after == 7.0


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (PRESIGNED, ["0123456789abcdef", "uploadId=abc"]),
        (f"curl {PRESIGNED} failed", ["0123456789abcdef"]),
        (quote(PRESIGNED, safe=""), ["0123456789abcdef"]),
        (quote(quote(PRESIGNED, safe=""), safe=""), ["0123456789abcdef"]),
        (f"see https://x/y and {quote(quote(PRESIGNED, safe=''), safe='')}", ["0123456789abcdef"]),
        (f'{{"url": "{PRESIGNED}"}}', ["0123456789abcdef"]),
        (f"Authorization: Bearer {JWT}", [JWT, "c2lnbmF0dXJlMTIz"]),
        (f"the token {JWT} is bad", ["c2lnbmF0dXJlMTIz"]),
        ("Authorization: Basic bWU6czNjcjN0", ["bWU6czNjcjN0"]),
        ("{'Authorization': 'Bearer opaque-t0ken'}", ["opaque-t0ken"]),
        ('{"access_token": "opaque", "expires_in": 300}', ["opaque"]),
        ('{\\"access_token\\": \\"opaque\\"}', ["opaque"]),
        ("{'client_secret': 'pa ss'}", ["pa ss"]),
        ("grant_type=x&client_secret=hunter2&scope=y", ["hunter2"]),
        ("password=hunter2", ["hunter2"]),
        ("auth-token: abcdef0123456789", ["abcdef0123456789"]),
        ("X-API-Key: 0123456789abcdef", ["0123456789abcdef"]),
        ("https://me:hunter2@api.example.org/v2", ["hunter2"]),
        ("x-amz-signature=0123456789abcdef", ["0123456789abcdef"]),
    ],
)
def test_a_secret_is_taken_out_whatever_it_stands_in(text: str, secrets: list[str]) -> None:
    clean = redact(text)

    assert not [secret for secret in secrets if secret in clean]
    assert "***" in clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "access_token: missing; paste a token into the connection.",
        "access_token: empty, or with a blank.",
        "client_secret: empty.",
        "password: the field holds the client secret.",
        "api_key: wrong.",
        "The Bearer scheme is not accepted.",
        "GET /filesystem/cluster/ops/stat?path=/scratch/a -> 404",
        "sbatch: error: invalid partition specified: nopart",
        "https://api.example.org/firecrest/v2",
        "stat: cannot statx '/scratch/100%/signature.txt': No such file or directory",
        "mail me@example.org about https://x/y",
    ],
)
def test_a_sentence_about_a_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("field", ["message", "server_message"])
def test_an_error_never_holds_a_secret(field: str) -> None:
    text = f"asked {PRESIGNED} with Bearer {JWT}"

    error = FirecrestError(**{"message": "x", field: text})

    for shown in (
        str(error),
        repr(error),
        repr(vars(error)),
        repr(error.args),
        pickle.dumps(error).decode("latin1"),
    ):
        assert "0123456789abcdef" not in shown
        assert JWT not in shown


def test_a_whole_body_does_not_fit_into_an_error() -> None:
    error = FirecrestError("x" * 100_000, server_message="y" * 100_000)

    assert len(str(error)) < 5_000
