"""What each recorded error answer of FirecREST v1 stands for, HTTP's and tasks', and whether to repeat.

The tables were written by reasoning from what the server did, not from the code's output: nearly everything
is HTTP 400 there, an outage as well as a wrong argument.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    AuthenticationError,
    CommandTimeoutError,
    ConflictError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    Retry,
    TooLargeError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Kind, Request, Response
from airflow_provider_firecrest.client.v1.answers import error_of, task_error

from .recorded_v1 import answered, last_task, load, names, response

BAD_NAMES = " ".join(
    f"name-{char}-{call}"
    for char in ("amp", "backslash", "dquote", "newline", "paren", "semicolon", "squote")
    for call in ("checksum", "copy", "download", "mkdir", "stat", "upload")
    # An upload's name with these two is not refused but changed.
    if not (char in ("backslash", "newline") and call == "upload")
)

EXPECTED: dict[type[FirecrestError], str] = {
    AuthenticationError: """
        err-bad-signature-token err-expired-token err-expired-token-tasks err-garbage-token err-no-scope-token
        err-no-token-compute err-no-token-reservations err-no-token-storage err-no-token-utilities
        tasks-no-token
    """,
    PermissionDeniedError: """
        chmod-not-owner chown-not-permitted copy-denied download-denied ls-denied mkdir-denied rm-denied
        stat-denied submit-path-denied tasks-other-user upload-to-denied-dir xfer-ext-download-denied-source
        xfer-ext-upload-denied-target
    """,
    NotFoundError: """
        checksum-missing chmod-missing compress-missing copy-missing download-missing extract-missing
        file-missing head-grep-nomatch head-missing ls-missing ls-missing-locale-utf8 ls-tilde mkdir-noparent
        rename-missing rm-missing stat-missing status-service-unknown status-system-unknown
        submit-path-missing tasks-unknown upload-to-missing-dir view-missing xfer-ext-download-missing-source
        xfer-ext-upload-missing-target
    """,
    # An unknown machine is one of these: "not found" would say that the file or the job is absent.
    InvalidRequestError: f"""
        acct-forbidden-char checksum-dir chmod-badmode chown-bad-group download-dir
        err-no-machine-compute err-no-machine-reservations err-no-machine-storage err-no-machine-utilities
        err-unknown-machine-compute err-unknown-machine-reservations err-unknown-machine-storage
        err-unknown-machine-utilities
        extract-unknown-ext head-dir head-lines-and-bytes jobs-invalid-id jobs-list-empty-item
        jobs-list-invalid-id jobs-list-step-id ls-no-target ls-under-file mkdir-empty-target mkdir-no-target
        mkdir-under-file reservations-create-bad-account reservations-create-dup reservations-create-missing
        reservations-create-past reservations-delete-unknown submit-path-bad-env submit-path-dir
        submit-path-no-target submit-upload-bad-account-chars submit-upload-bad-env submit-upload-empty
        submit-upload-no-file tasks-list-bad-input upload-no-file upload-under-file view-binary view-dir
        xfer-ext-download-dir xfer-ext-download-no-source xfer-ext-invalidate-no-header
        xfer-ext-invalidate-other-user xfer-ext-invalidate-unknown xfer-ext-upload-no-source
        xfer-ext-upload-under-file xfer-int-cp-badchar xfer-int-cp-badtime xfer-int-cp-nosource
        xfer-int-extract-bad-ext {BAD_NAMES}
    """,
    ConflictError: "mkdir-exists symlink-exists",
    TooLargeError: """
        download-too-large head-too-large submit-upload-too-large upload-5MiB-minus-0
        upload-too-large-direct-5MB-plus-10B upload-too-large-direct-6MB upload-too-large-via-gateway-31457280
        upload-too-large-via-gateway-5242890 upload-too-large-via-gateway-8388608
        upload-too-large-via-nginx-5242890 upload-too-large-via-nginx-8388608 view-too-large
    """,
    CommandTimeoutError: "timeout-checksum timeout-head",
    RateLimitError: """
        rate-limit-429-both rate-limit-429-http-date rate-limit-429-none rate-limit-429-ratelimit-reset
        rate-limit-429-retry-after
    """,
    # Later the same call may pass, and nothing was done now. All but five are HTTP 400, some without a word
    # that would tell them from a wrong request. A login node that does not let the user in is among them: it
    # says the same while it restarts.
    UnavailableError: """
        certificator-down-acct certificator-down-ls down-cancel down-download down-submit
        err-down-machine-compute err-down-machine-reservations err-down-machine-utilities
        err-unknown-unix-user err-unknown-unix-user-submit nohost-acct nohost-download nohost-ls
        nohost-submit nohost-submit-path nohost-upload redis-down-acct redis-down-list tasks-down-acct
        tasks-down-get tasks-down-submit tasks-down-xfer
        upload-too-large upload-too-large-via-nginx-31457280
    """,
    # The job of `submit-answer-lost` ran.
    AmbiguousError: "submit-answer-lost submit-upload-latin1-bytes",
    # Nobody who speaks FirecREST answers so: the path or the method is unknown.
    ProtocolError: "err-unknown-endpoint err-wrong-method gateway-unknown-route tasks-delete",
}
TABLE = {name: cls for cls, listed in EXPECTED.items() for name in listed.split()}

TASKS: dict[type[FirecrestError], str] = {
    InvalidRequestError: """
        acct-array_bracket-task acct-invalid-id-task acct-page-beyond-task acct-page-neg-task
        acct-starttime-future-date-task cancel-invalid-id-task
        cancel-again-task cancel-array-task-task cancel-array-whole-task cancel-finished-task
        compute-nodes-nope-task squeue-page-beyond-task squeue-page-neg-task submit-path-bad-option-rc-task
        submit-path-badopt-task submit-path-badpart-task submit-path-noshebang-task
        submit-upload-bad-account-task submit-upload-bad-option-task submit-upload-bad-partition-task
        submit-upload-crlf-task submit-upload-env-forbidden-char-task submit-upload-no-shebang-task
        xfer-int-cp-badaccount-task xfer-int-cp-noaccount-task
    """,
    PermissionDeniedError: "cancel-other-user-task",
    NotFoundError: "cancel-unknown-task jobs-unknown-id-squeue-task squeue-purged-one-task",
    # slurmdown-submit: sbatch could not connect, so nothing was sent.
    UnavailableError: "slurmdown-acct-task slurmdown-cancel-task slurmdown-squeue-task slurmdown-submit-task",
    # sbatch wrote a warning, and the job runs.
    AmbiguousError: "submit-path-warn-task submit-upload-warning-orphan-task",
}
TASK_TABLE = {name: cls for cls, listed in TASKS.items() for name in listed.split()}

RETRY = {
    UnavailableError: Retry.YES,
    CommandTimeoutError: Retry.YES,
    RateLimitError: Retry.YES,
    AmbiguousError: Retry.CHECK_FIRST,
}
MESSAGES = ("error", "description", "message")


def creates(method: str, path: str) -> bool:
    """Whether doing a recorded request twice would make two of something."""
    makes = r"/compute/jobs/(upload|path)$|/storage/xfer-(in|ex)ternal/(?!invali)|/utilities/(mkdir|copy)$"
    return method == "POST" and re.search(makes, path) is not None


def kind(method: str, path: str) -> Kind:
    if method == "GET":
        return Kind.READ
    return Kind.CREATE if creates(method, path) else Kind.IDEMPOTENT


def errors_recorded() -> list[str]:
    return [name for name, recorded in answered().items() if recorded["response"]["status"] >= 300]


def failed_tasks() -> list[str]:
    return [
        name
        for name in names()
        if name.endswith("-task") and "sequence" in load(name) and last_task(name).get("status") == "400"
    ]


def error(name: str) -> FirecrestError:
    asked = load(name)["request"]
    request = Request(asked["method"], asked["url"], kind(asked["method"], asked["url"]))
    found = error_of(request, response(name))
    assert found is not None
    return found


def error_of_task(name: str) -> FirecrestError:
    asked = load(name.removesuffix("-task"))["request"]
    made = creates(asked["method"], asked["url"])
    return task_error(last_task(name)["data"], what="Doing it", creates=made)


def test_the_tables_name_every_recorded_error_once() -> None:
    assert sorted(TABLE) == sorted(errors_recorded())
    assert len(TABLE) == sum(len(listed.split()) for listed in EXPECTED.values())
    assert sorted(TASK_TABLE) == sorted(failed_tasks())
    assert len(TASK_TABLE) == sum(len(listed.split()) for listed in TASKS.values())


@pytest.mark.parametrize("name", errors_recorded())
def test_a_recorded_error_answer_stands_for(name: str) -> None:
    found = error(name)

    assert type(found) is TABLE[name]
    assert found.retry is RETRY.get(type(found), Retry.NO)
    assert found.status == load(name)["response"]["status"]
    assert (found.method, found.path) == (load(name)["request"]["method"], load(name)["request"]["url"])


@pytest.mark.parametrize("name", failed_tasks())
def test_a_recorded_failure_of_a_task_stands_for(name: str) -> None:
    found = error_of_task(name)

    assert type(found) is TASK_TABLE[name]
    assert found.retry is RETRY.get(type(found), Retry.NO)
    assert found.server_message == last_task(name)["data"].strip()
    assert str(found).startswith("Doing it: ")


@pytest.mark.parametrize("name", errors_recorded())
def test_an_error_shows_the_servers_own_words(name: str) -> None:
    body = load(name)["response"].get("json") or {}
    said = next((str(body[key]) for key in MESSAGES if body.get(key)), None)
    if said is None or isinstance(error(name), AuthenticationError | RateLimitError):
        return
    assert said.strip() in str(error(name))


@pytest.mark.parametrize("name", errors_recorded())
def test_no_error_text_holds_a_page_a_header_or_a_token(name: str) -> None:
    found = error(name)
    shown = str(found) + repr(found) + json.dumps({key: str(value) for key, value in vars(found).items()})

    assert "<html" not in shown.lower()
    assert "eyJ" not in shown
    for header in ("retry-after", "x-ratelimit", "via"):
        assert f"'{header}" not in shown.lower()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("rate-limit-429-retry-after", 3.0),
        ("rate-limit-429-ratelimit-reset", None),
        ("rate-limit-429-none", None),
    ],
)
def test_a_rate_limit_says_how_long_as_far_as_it_does(name: str, seconds: float | None) -> None:
    headers = {key.lower(): value for key, value in load(name)["response"]["headers"].items()}
    expected = headers.get("retry-after", headers.get("ratelimit-reset"))

    assert error(name).retry_after == (None if expected is None else float(expected))


def test_a_reservation_call_of_a_machine_that_is_down_keeps_the_reason() -> None:
    assert "Connection refused" in str(error("err-down-machine-reservations"))


@pytest.mark.parametrize("name", ["err-unknown-machine-compute", "err-unknown-machine-utilities"])
def test_both_spellings_of_an_unknown_machine_are_told_alike(name: str) -> None:
    headers = {key.lower() for key in load(name)["response"]["headers"]}
    assert headers & {"x-machine-does-not-exist", "x-machine-does-not-exists"}

    assert "no machine of that name" in str(error(name))


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Slurm controller not responding, sleeping and retrying.",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: Pending job allocation 7sbatch: job 7 queued and waiting for resources",
    ],
)
def test_a_submit_that_may_have_passed_is_ambiguous(words: str) -> None:
    assert type(task_error(words, what="Submitting", creates=True)) is AmbiguousError


@pytest.mark.parametrize(
    "words",
    ["sbatch: error: QOSMaxSubmitJobPerUserLimit", "sbatch: error: AssocMaxSubmitJobLimit"],
)
def test_a_limit_on_jobs_is_a_quota(words: str) -> None:
    assert type(task_error(words, what="Submitting", creates=True)) is QuotaError


@pytest.mark.parametrize("headers", [{}, {"x-error": "cp failed"}])
@pytest.mark.parametrize("words", ["cp: error writing 'b': No space left on device", "Disk quota exceeded"])
def test_a_full_disk_is_a_quota_and_no_machine_that_is_down(words: str, headers: dict[str, str]) -> None:
    answer = Response(400, headers, json.dumps({"description": "Failed", "error": words}).encode())

    assert type(error_of(Request("POST", "/utilities/copy", Kind.READ), answer)) is QuotaError
    assert type(task_error(words, what="Staging", creates=False)) is QuotaError


def test_the_words_of_a_dict_are_its_message() -> None:
    found = task_error({"msg": "no space", "url": "http://s3/x?Signature=1"}, what="Staging", creates=False)

    assert found.server_message == "no space"
    assert "Signature" not in str(found)


@pytest.mark.parametrize("data", [None, "", {}, [], 5, {"msg": None}])
def test_a_failure_without_words_is_an_error_all_the_same(data: Any) -> None:
    assert isinstance(task_error(data, what="Asking", creates=False), FirecrestError)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"text"', b"{", b"\xff\xfe", b'{"error": null}'])
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 418, 429, 500, 502])
@pytest.mark.parametrize("kind", list(Kind))
def test_any_answer_can_be_sorted(content: bytes, status: int, kind: Kind) -> None:
    assert isinstance(error_of(Request("POST", "/x", kind), Response(status, {}, content)), FirecrestError)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_web_page_that_calls_itself_a_success_is_none(kind: Kind) -> None:
    page = Response(200, {"content-type": "text/html; charset=utf-8"}, b"<html><h1>Maintenance</h1></html>")

    found = error_of(Request("DELETE", "/utilities/rm", kind), page)

    assert type(found) is (AmbiguousError if kind is Kind.CREATE else ProtocolError)


def test_a_downloaded_web_page_is_a_success() -> None:
    page = Response(200, {"content-type": "application/octet-stream"}, b"<html></html>")

    assert error_of(Request("GET", "/utilities/download"), page) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_a_404_of_a_gateway_is_the_wrong_url_and_not_a_missing_file(kind: Kind) -> None:
    answer = Response(404, {}, b'{"message": "no Route matched with those values"}')

    assert type(error_of(Request("GET", "/utilities/stat", kind), answer)) is ProtocolError


def test_an_error_of_v2_says_that_the_address_is_wrong() -> None:
    body = {"errorType": "error", "message": "Not Found", "causedBy": None, "data": None, "user": None}
    answer = Response(404, {"content-type": "application/json"}, json.dumps(body).encode())

    assert type(error_of(Request("GET", "/utilities/stat"), answer)) is ProtocolError
