"""What each recorded error answer stands for: its class, whether to repeat, and that it tells no secret.

The table was written by reasoning from what the servers did (was the job there? would it work later?), not
from the code's output.
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
from airflow_provider_firecrest.client.v2.answers import error_of

from .recorded import as_response, load, names

EXPECTED: dict[type[FirecrestError], str] = {
    AuthenticationError: """
        auth_alg_none auth_bad_signature auth_basic_scheme auth_expired auth_expires_in_20s
        auth_garbage_three_parts auth_garbage_token auth_no_token auth_no_token_status_systems
        auth_unknown_kid
    """,
    PermissionDeniedError: """
        attach_other_users_job auth_user_without_ssh_key cancel_other_users_job ops_checksum_noperm
        ops_chmod_denied ops_chown_denied ops_compress_target_denied ops_download_noperm_f ops_ls_noperm
        ops_ls_other_home ops_ls_recursive ops_mkdir_denied ops_rm_denied ops_rm_noperm_dir ops_stat_noperm
        ops_upload_denied transfer_download_s3_noperm
    """,
    NotFoundError: """
        auth_no_token_unknown_path job_too_big_id job_unknown metadata_old_finished metadata_unknown
        ops_checksum_broken_symlink ops_checksum_missing ops_chmod_missing ops_chown_missing
        ops_compress_missing ops_download_broken ops_download_nope ops_extract_missing
        ops_extract_target_missing ops_head_missing ops_ls_dereference ops_ls_missing ops_mkdir_missing_parent
        ops_rm_missing ops_stat_dereference_broken ops_stat_missing ops_symlink_missing_parent
        ops_tail_missing ops_unknown_endpoint ops_upload_missing_dir ops_view_missing
        transfer_download_s3_missing transfer_streamer_download_missing
    """,
    # A wrong system among them: a file or a job on it is not "not found", which would be waited for.
    InvalidRequestError: """
        ops_unknown_system status_unknown_system_nodes status_unknown_system_userinfo submit_unknown_system
        attach_failing attach_finished attach_pending attach_unknown auth_no_username_claim cancel_alpha
        cancel_array_task_underscore cancel_finished cancel_old_finished cancel_twice cancel_unknown
        job_array_brackets job_array_task_underscore job_negative_id jobs_list_window_2h
        jobs_list_window_empty ops_checksum_dir ops_chmod_bad ops_chown_invalid_group ops_chown_invalid_user
        ops_compress_bad_compression ops_download_sub ops_extract_corrupt ops_extract_wrong_compression
        ops_head_both ops_head_dir ops_ls_bad_bool ops_ls_dotdot_escape ops_ls_double_slash ops_ls_nopath
        ops_ls_outside_fs ops_ls_relative ops_mkdir_malformed ops_mkdir_nobody ops_mkdir_under_file_parent
        ops_mkdir_wrongtype ops_tail_both ops_tail_dir ops_upload_nofile ops_upload_over_dir
        ops_upload_path_is_file ops_view_dir ops_view_neg ops_view_over_limit ops_view_size0 ops_wrong_method
        submit_bad_directive submit_constraints_bad submit_currentWorkingDirectory
        submit_env_nonstring_value submit_env_null submit_form_encoded submit_invalid_account
        submit_invalid_partition submit_invalid_reservation submit_malformed_json submit_missing_workdir
        submit_no_body submit_no_shebang submit_script_path_missing submit_shebang_crlf submit_too_much_mem
        submit_workdir_null submit_wrong_shape transfer_account_required_invalid
        transfer_account_required_missing transfer_cp_no_target transfer_cp_source_outside_fs
        transfer_download_s3_legacy_body transfer_download_wrong_method transfer_names_download_squote
        transfer_rm_account_required_missing transfer_rm_outside transfer_upload_bad_method
        transfer_upload_no_directives transfer_upload_wrong_method
    """,
    ConflictError: """
        ops_mkdir_exists ops_mkdir_over_file ops_symlink_exists transfer_streamer_upload_existing
    """,
    TooLargeError: """
        ops_download_b64exact ops_download_b64over ops_download_exact5m ops_download_limit_3932158
        ops_download_limit_3932159 ops_download_limit_3932160 ops_download_over5m ops_head_bigbytes
        ops_ls_60000_entries ops_upload_over_limit ops_view_bigfile_size_2621440
        ops_view_bigfile_size_5242880 ops_view_default_big
    """,
    CommandTimeoutError: "ops_download_fifo_timeout ops_upload_empty",
    # Later the same call may pass, and nothing was done now.
    UnavailableError: """
        down_s3_transfer_download down_s3_transfer_upload down_s3_transfer_upload_after_healthcheck
        down_slurmctld_cancel down_slurmctld_get_job down_slurmctld_list_jobs down_slurmctld_nodes
        down_slurmdbd_get_job down_slurmdbd_list_jobs down_slurmdbd_userinfo
        down_ssh_after_healthcheck_cancel down_ssh_after_healthcheck_cp down_ssh_after_healthcheck_get_job
        down_ssh_after_healthcheck_list_jobs down_ssh_after_healthcheck_ls down_ssh_after_healthcheck_metadata
        down_ssh_after_healthcheck_nodes down_ssh_after_healthcheck_submit
        down_ssh_after_healthcheck_transfer_upload down_ssh_after_healthcheck_userinfo
        down_ssh_before_healthcheck_cancel down_ssh_before_healthcheck_cp down_ssh_before_healthcheck_get_job
        down_ssh_before_healthcheck_list_jobs down_ssh_before_healthcheck_ls
        down_ssh_before_healthcheck_metadata down_ssh_before_healthcheck_nodes
        down_ssh_before_healthcheck_submit down_ssh_before_healthcheck_transfer_upload
        down_ssh_before_healthcheck_userinfo
        job_alpha_id job_name_special job_unknown_zero jobs_list_poisoned_by_pipe_in_job_name
    """,
    # The server's own failure on a call that makes something: the job was there in some of these cases.
    AmbiguousError: """
        attach_long attach_no_command down_slurmctld_submit submit_controller_down submit_controller_hung
        submit_empty_script submit_env_list submit_neither transfer_names_download_newline
        transfer_names_upload_newline transfer_upload_no_filesize
    """,
    ProtocolError: "headers_correlation_id_not_uuid headers_request_id_not_uuid status_liveness_noslash",
}
TABLE = {name: cls for cls, listed in EXPECTED.items() for name in listed.split()}

RETRY = {
    UnavailableError: Retry.YES,
    CommandTimeoutError: Retry.YES,
    AmbiguousError: Retry.CHECK_FIRST,
}

_CREATING = re.compile(r"/attach$|/transfer/|/ops/(mkdir|symlink)$")


def kind(recorded: dict[str, Any]) -> Kind:
    """What repeating a recorded request would do, from its method and path alone."""
    method, path = recorded["method"], recorded["path"]
    if method == "GET":
        return Kind.READ
    if _CREATING.search(path) or (method == "POST" and path.endswith("/jobs")):
        return Kind.CREATE
    return Kind.IDEMPOTENT


def errors_recorded() -> list[str]:
    """Names of the recordings whose answer is no success; the token server's have a test of their own."""
    return [
        name
        for name in names()
        if (load(name).get("response") or {}).get("status", 0) >= 300 and not name.startswith("token_")
    ]


def error(name: str) -> FirecrestError:
    recorded = load(name)
    asked = recorded["request"]
    found = error_of(
        Request(asked["method"], asked["path"], kind(asked), params=asked.get("params") or {}),
        as_response(recorded["response"]),
    )
    assert found is not None
    return found


def test_the_table_names_every_recorded_error_answer_once() -> None:
    assert sorted(TABLE) == errors_recorded()
    assert len(TABLE) == sum(len(listed.split()) for listed in EXPECTED.values())


@pytest.mark.parametrize("name", errors_recorded())
def test_a_recorded_error_answer_stands_for(name: str) -> None:
    found = error(name)

    assert type(found) is TABLE[name]
    assert found.retry is RETRY.get(type(found), Retry.NO)
    assert found.status == load(name)["response"]["status"]
    assert (found.method, found.path) == (load(name)["request"]["method"], load(name)["request"]["path"])


@pytest.mark.parametrize("name", errors_recorded())
def test_an_error_shows_the_servers_own_words(name: str) -> None:
    body = load(name)["response"].get("json") or {}
    words = str(body.get("message") or "").strip()
    if not words or (body.get("data") or {}).get("fields"):
        return
    assert str(error(name)).count(words) <= 1
    last_words = re.split(r"std_err:|error message:", words)[-1].strip().splitlines()[0]

    assert last_words in str(error(name))


@pytest.mark.parametrize("name", [name for name in errors_recorded() if "json" in load(name)["response"]])
def test_a_validation_error_names_the_field_and_not_the_servers_files(name: str) -> None:
    fields = (load(name)["response"]["json"].get("data") or {}).get("fields")
    text = str(error(name))

    assert "/app/src" not in text
    for each in fields or ():
        assert f"{each['location']}.{each['name']}: " in text or each["name"] is None
        assert each["message"] in text
    assert "None" not in text or not fields


@pytest.mark.parametrize("name", errors_recorded())
def test_no_error_text_holds_a_query_a_header_or_a_token(name: str) -> None:
    found = error(name)
    shown = str(found) + repr(found) + json.dumps({key: str(value) for key, value in vars(found).items()})

    assert not re.search(r"https?://\S*\?", shown)
    assert "auth-token" not in shown.lower()
    assert "eyJ" not in shown
    for value in (load(name)["response"].get("headers") or {}).values():
        if len(str(value)) >= 16 and name != "status_liveness_noslash":
            assert str(value) not in shown


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_is_no_error(status: int) -> None:
    answer = Response(status, {"content-type": "application/json"}, b"{}")

    assert error_of(Request("GET", "/x"), answer) is None


def refused(words: str, *, status: int = 500, kind: Kind = Kind.CREATE) -> FirecrestError:
    content = json.dumps({"errorType": "error", "message": words}).encode()
    found = error_of(Request("POST", "/compute/c/jobs", kind), Response(status, {}, content))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
    ],
)
def test_an_outage_of_slurm_in_sbatchs_own_words_is_ambiguous_and_not_a_refusal(words: str) -> None:
    found = refused(f"Unexpected Slurm command response. exit_status:1 std_err:{words}")

    assert type(found) is AmbiguousError


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "sbatch: error: AssocMaxSubmitJobLimit",
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    ],
)
@pytest.mark.parametrize("status", [403, 500])
def test_a_limit_on_jobs_is_a_quota_that_may_pass_later(words: str, status: int) -> None:
    found = refused(f"Unexpected Slurm command response. exit_status:1 std_err:{words}", status=status)

    assert type(found) is QuotaError
    assert found.retry is Retry.YES
    assert words.removeprefix("sbatch: error: ") in str(found)


@pytest.mark.parametrize("words", ["Disk quota exceeded", "No space left on device"])
def test_a_full_disk_is_a_quota(words: str) -> None:
    found = refused(
        f"Remote process failed with exit status:1 and error message:bash: line 1: /scratch/f: {words}",
        kind=Kind.IDEMPOTENT,
    )

    assert type(found) is QuotaError
    assert words in str(found)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Kind.READ, UnavailableError), (Kind.IDEMPOTENT, UnavailableError), (Kind.CREATE, AmbiguousError)],
)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxys_failure_is_ambiguous_for_what_creates_and_an_outage_for_the_rest(
    status: int, kind: Kind, expected: type[FirecrestError]
) -> None:
    page = b"<html><head><title>%d</title></head><body><h1>Bad Gateway</h1></body></html>" % status

    found = error_of(Request("POST", "/x", kind), Response(status, {"content-type": "text/html"}, page))

    assert type(found) is expected
    assert "<" not in str(found)


def test_408_is_ambiguous_for_what_creates() -> None:
    assert type(refused("Command execution timeout limit exceeded.", status=408)) is AmbiguousError


@pytest.mark.parametrize("kind", list(Kind))
def test_429_did_nothing_whatever_was_asked(kind: Kind) -> None:
    found = error_of(Request("POST", "/x", kind), Response(429, {"retry-after": "7"}, b""))

    assert isinstance(found, RateLimitError)
    assert (found.retry, found.retry_after) == (Retry.YES, 7.0)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_web_page_that_calls_itself_a_success_is_none(kind: Kind) -> None:
    """A login or maintenance page in front of the API answers everything with 200, a cancel too."""
    page = Response(200, {"content-type": "text/html; charset=utf-8"}, b"<html><h1>Maintenance</h1></html>")

    found = error_of(Request("DELETE", "/compute/c/jobs/1", kind), page)

    assert type(found) is (AmbiguousError if kind is Kind.CREATE else ProtocolError)
    assert "Maintenance" in str(found)


def test_a_downloaded_web_page_is_a_success() -> None:
    """ops/download sends every file as application/octet-stream."""
    page = Response(200, {"content-type": "application/octet-stream"}, b"<html></html>")

    assert error_of(Request("GET", "/filesystem/c/ops/download", binary=True), page) is None


@pytest.mark.parametrize(
    "location",
    ["https://login.example/auth?session=s3cr3t", "/login?ticket=s3cr3t", "//login.example/?x=s3cr3t"],
)
def test_a_redirect_says_where_to_without_its_query(location: str) -> None:
    found = error_of(Request("GET", "/status/systems"), Response(302, {"location": location}, b""))

    assert isinstance(found, ProtocolError)
    assert "login" in str(found)
    assert "s3cr3t" not in str(found)


def test_404_with_a_web_page_is_the_wrong_url_and_not_a_missing_file() -> None:
    found = error_of(Request("GET", "/x"), Response(404, {"content-type": "text/html"}, b"<h1>nginx</h1>"))

    assert type(found) is ProtocolError


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"text"', b"{", b"\xff\xfe", b'{"message": null}'])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 418, 429, 500, 503])
def test_no_body_however_odd_is_a_crash(status: int, content: bytes) -> None:
    found = error_of(Request("GET", "/x"), Response(status, {}, content))

    assert isinstance(found, FirecrestError)
    assert found.status == status
    assert str(found)


@pytest.mark.parametrize("name", [each for each in TABLE if "_unknown_system" in each])
def test_a_system_that_is_not_there_is_named(name: str) -> None:
    recorded = load(name)
    request = Request(recorded["request"]["method"], recorded["request"]["path"])
    assert "FirecREST has no system 'nosuch'" in str(error_of(request, as_response(recorded["response"])))
