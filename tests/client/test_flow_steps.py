"""Calls that need more than one look, or none: what they ask next, and what they refuse to ask at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client.errors import (
    AmbiguousError,
    AuthenticationError,
    CommandTimeoutError,
    ConfigurationError,
    ConflictError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    UnavailableError,
)
from airflow_provider_firecrest.client.flow import Flow, Response

from .recorded import api, as_response, load, ok, play, response

SCRIPT = "#!/bin/bash\ntrue\n"


def row(job_id: str, state: str = "RUNNING", **more: Any) -> dict[str, Any]:
    return {"jobId": job_id, "name": "n", "status": {"state": state, "exitCode": 0}, **more}


# cancel


@pytest.mark.parametrize("name", ["cancel_running", "cancel_pending", "cancel_array_whole"])
def test_a_cancel_that_was_heard_is_true(name: str) -> None:
    assert play(api().cancel_job("1"), [response(name)]).result is True


@pytest.mark.parametrize("name", ["cancel_finished", "cancel_twice"])
def test_a_job_that_was_over_already_is_no_failure_of_its_cancel(name: str) -> None:
    assert play(api().cancel_job("37"), [response(name)]).result is False


def test_a_job_over_so_long_that_slurm_forgot_it_was_over_already_too() -> None:
    """scancel says "Invalid job id" five minutes after the end; accounting still knows better."""
    played = play(api().cancel_job("37"), [response("cancel_old_finished"), response("job_old_finished")])

    assert played.result is False
    assert [(each.method, each.path) for each in played.requests] == [
        ("DELETE", "/compute/cluster/jobs/37"),
        ("GET", "/compute/cluster/jobs/37"),
    ]


def test_a_cancel_that_was_refused_for_a_job_that_goes_on_is_a_failure() -> None:
    played = play(api().cancel_job("88"), [response("cancel_old_finished"), response("job_running")])

    assert type(played.error) is InvalidRequestError


def test_a_job_nobody_knows_is_not_found() -> None:
    played = play(api().cancel_job("99999999"), [response("cancel_unknown"), response("job_unknown")])

    assert type(played.error) is NotFoundError


def test_somebody_elses_job_cannot_be_cancelled() -> None:
    played = play(api().cancel_job("88"), [response("cancel_other_users_job")])

    assert type(played.error) is PermissionDeniedError
    assert "Access/permission denied" in str(played.error)


@pytest.mark.parametrize("job_id", ["87_3", "87_[2-5%2]", "90+1", "37.batch"])
def test_one_element_is_not_cancelled_by_cancelling_all_of_its_array(job_id: str) -> None:
    played = play(api().cancel_job(job_id), [])

    assert type(played.error) is InvalidRequestError
    assert job_id in str(played.error)
    assert played.requests == []


@pytest.mark.parametrize("job_id", ["87_3", "90+1"])
def test_a_command_is_not_run_in_another_element_than_the_one_named(job_id: str) -> None:
    assert type(play(api().attach(job_id, "hostname"), []).error) is InvalidRequestError


# look


@pytest.mark.parametrize("job_id", ["abc", "0", "000", "", " ", "-1", "1;2", "x_[", "../x", "١٢"])
def test_what_cannot_be_a_job_id_is_not_sent(job_id: str) -> None:
    """The server would answer some of these with a 500 that looks like an outage."""
    played = play(api().get_job(job_id), [])

    assert type(played.error) is InvalidRequestError


def test_one_element_of_an_array_is_returned_when_it_is_named() -> None:
    played = play(api().get_job("87_2"), [response("job_array_after")])

    assert played.request.path == "/compute/cluster/jobs/87"
    assert (played.value().job_id, played.value().state, played.value().exit_code) == ("87_2", "FAILED", 2)


def test_an_element_that_has_not_started_is_still_waiting_with_its_array() -> None:
    played = play(api().get_job("87_5"), [response("job_array_mixed")])

    assert not played.value().is_final


def test_the_raw_id_of_an_element_leads_to_that_element() -> None:
    assert play(api().get_job("92"), [response("job_array_task_raw_id_other")]).value().state == "RUNNING"

    ended = {"jobs": [row("87_0", "COMPLETED")]}
    assert play(api().get_job("92"), [ok(ended)]).value().state == "COMPLETED"


@pytest.mark.parametrize(
    "answer", [response("job_unknown"), response("job_too_big_id"), ok({"jobs": []}), ok({"jobs": None})]
)
def test_an_unknown_job_is_not_found_in_whichever_way_it_is_said(answer: Response) -> None:
    assert type(play(api().get_job("99999999"), [answer]).error) is NotFoundError


def test_few_jobs_are_asked_for_by_id() -> None:
    played = play(api().find_jobs(["37", "62"]), [response("job_completed"), response("job_failed_exit3")])

    assert [request.path for request in played.requests] == [
        "/compute/cluster/jobs/37",
        "/compute/cluster/jobs/62",
    ]
    assert {key: job.state for key, job in played.value().items()} == {"37": "COMPLETED", "62": "FAILED"}


def test_many_jobs_cost_one_question_and_one_more_for_each_the_list_does_not_show() -> None:
    listed = {"jobs": [row("1"), row("2", "PENDING"), row("3", "COMPLETED")]}

    played = play(
        api().find_jobs(["1", "2", "3", "4", "99999999"]),
        [ok(listed), ok({"jobs": [row("4", "FAILED")]}), response("job_unknown")],
    )

    assert [request.path.rpartition("/")[2] for request in played.requests] == ["jobs", "4", "99999999"]
    assert {key: job.state for key, job in played.value().items()} == {
        "1": "RUNNING",
        "2": "PENDING",
        "3": "COMPLETED",
        "4": "FAILED",
    }


def test_an_array_that_looks_finished_in_a_list_is_asked_for_by_id() -> None:
    """The list may show some elements only: the rest stands there under raw ids."""
    listed = {"jobs": [row("87_0", "COMPLETED"), row("87_1", "COMPLETED"), row("5"), row("6")]}

    played = play(api().find_jobs(["5", "6", "87"]), [ok(listed), response("job_array_after")])

    assert not played.value()["87"].is_final


def test_a_list_broken_by_somebodys_job_name_does_not_hide_our_jobs() -> None:
    poisoned = response("jobs_list_poisoned_by_pipe_in_job_name")
    each = [ok({"jobs": [row(str(number))]}) for number in (1, 2, 3)]

    played = play(api().find_jobs(["1", "2", "3"]), [poisoned, *each])

    assert set(played.value()) == {"1", "2", "3"}
    # It would fail again for as long as that job is in the list.
    assert [request.repeat for request in played.requests] == [False, False, False, False]


def test_an_outage_while_looking_for_many_is_an_error_and_not_an_absence() -> None:
    down = response("down_slurmctld_get_job")

    played = play(api().find_jobs([str(number) for number in range(1, 100)]), [down] * 4)

    assert type(played.error) is UnavailableError


def test_one_job_that_cannot_be_asked_about_does_not_blind_those_who_ask_along() -> None:
    listed = ok({"jobs": [row("1"), row("3")]})
    poisoned = response("jobs_list_poisoned_by_pipe_in_job_name")

    assert set(play(api().find_jobs(["1", "2", "3"]), [listed, poisoned]).value()) == {"1", "3"}


def test_the_same_id_twice_is_asked_for_once() -> None:
    played = play(api().find_jobs(["37", "37"]), [response("job_completed")])

    assert list(played.value()) == ["37"]


@pytest.mark.parametrize(
    "answer", [response("metadata_unknown"), response("metadata_old_finished"), ok({"jobs": []})]
)
def test_a_job_the_scheduler_forgot_has_no_metadata(answer: Response) -> None:
    assert type(play(api().job_metadata("37"), [answer]).error) is NotFoundError


# submit


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "script"),
        ({"script": SCRIPT, "remote_script": "/s.sh"}, "script"),
        ({"script": ""}, "script"),
        ({"script": " \n"}, "script"),
        ({"script": SCRIPT, "name": "a|b"}, "job_name"),
        ({"script": SCRIPT, "name": "a,b"}, "job_name"),
        ({"script": SCRIPT, "working_dir": "jobs"}, "working_dir"),
        ({"script": SCRIPT, "working_dir": "/scratch/a|b"}, "working_dir"),
        ({"script": SCRIPT, "working_dir": "/scratch/a\nb"}, "working_dir"),
        ({"remote_script": "s.sh"}, "remote_script"),
    ],
)
def test_a_submit_that_would_fail_or_do_harm_is_not_sent(given: dict[str, Any], field: str) -> None:
    """``|`` in a working directory breaks everybody's job list as in a name; a relative one fails later."""
    played = play(api().submit_job(**{"working_dir": "/scratch", **given}), [])

    assert type(played.error) is InvalidRequestError
    assert field in str(played.error)
    assert played.requests == []


def test_a_submit_without_a_working_directory_names_the_setting() -> None:
    played = play(api().submit_job(SCRIPT), [])

    assert type(played.error) is ConfigurationError
    assert "working_dir" in str(played.error)


def test_the_connections_defaults_are_used_and_can_be_overridden() -> None:
    flows = api(account="project", working_dir="/scratch/me")

    default = play(flows.submit_job(SCRIPT), [ok({"jobId": 7}, 201)])
    named = play(
        flows.submit_job(SCRIPT, account="project2", working_dir="/home/me", system="other"),
        [ok({"jobId": 7}, 201)],
    )

    assert default.result == "7"
    assert default.request.path == "/compute/cluster/jobs"
    assert default.request.json["job"] == {
        "script": SCRIPT,
        "workingDirectory": "/scratch/me",
        "account": "project",
    }
    assert named.request.path == "/compute/other/jobs"
    assert named.request.json["job"]["account"] == "project2"
    assert named.request.json["job"]["workingDirectory"] == "/home/me"


@pytest.mark.parametrize("body", [{}, {"jobId": None}, {"jobId": ""}, [], None, {"jobs": []}])
def test_a_submit_answered_without_an_id_is_ambiguous(body: Any) -> None:
    assert type(play(api(working_dir="/s").submit_job(SCRIPT), [ok(body, 201)]).error) is AmbiguousError


def test_a_system_is_named_in_the_call_or_in_the_connection() -> None:
    played = play(api(system=None).nodes(), [])

    assert type(played.error) is ConfigurationError
    assert "system" in str(played.error)


@pytest.mark.parametrize("system", ["a/b", " a", "a/../b"])
def test_a_system_name_cannot_lead_to_another_endpoint(system: str) -> None:
    assert type(play(api().nodes(system=system), []).error) is ConfigurationError


def test_an_unknown_system_is_told_with_those_there_are() -> None:
    played = play(api().system_info(system="daint"), [response("status_systems")])

    assert type(played.error) is NotFoundError
    assert "'daint'" in str(played.error)
    assert "cluster, cluster-streamer" in str(played.error)


def test_a_systems_name_has_no_case() -> None:
    assert play(api().system_info(system="CLUSTER"), [response("status_systems")]).value().name == "cluster"


# files


def test_a_path_exists_when_it_can_be_looked_at() -> None:
    assert play(api().exists("/scratch/a"), [response("ops_stat_ok")]).result is True
    assert play(api().exists("/scratch/a"), [response("ops_stat_missing")]).result is False


@pytest.mark.parametrize("name", ["ops_stat_noperm", "down_ssh_after_healthcheck_ls", "auth_expired"])
def test_what_could_not_be_looked_at_is_not_absent(name: str) -> None:
    played = play(api().exists("/scratch/a"), [response(name)])

    assert isinstance(played.error, PermissionDeniedError | UnavailableError | AuthenticationError)


def test_an_empty_file_is_uploaded_although_the_server_says_408() -> None:
    played = play(
        api().upload("/scratch", "empty", b""),
        [response("ops_upload_empty"), response("ops_stat_after_empty_upload_408")],
    )

    assert played.error is None
    assert [(each.method, each.path.rpartition("/")[2]) for each in played.requests] == [
        ("POST", "upload"),
        ("GET", "stat"),
    ]
    assert played.requests[1].query()["path"] == "/scratch/empty"


def test_408_on_an_empty_file_that_did_not_arrive_is_a_failure() -> None:
    found = load("ops_stat_ok")["response"]
    assert found["json"]["output"]["size"] == 18

    played = play(api().upload("/scratch", "empty", b""), [response("ops_upload_empty"), as_response(found)])

    assert type(played.error) is CommandTimeoutError


def test_408_on_a_file_with_content_is_a_failure_at_once() -> None:
    played = play(api().upload("/scratch", "f", b"x"), [response("ops_upload_empty")])

    assert type(played.error) is CommandTimeoutError


@pytest.mark.parametrize("filename", ["", ".", "..", "a/b", "../x", "/x"])
def test_a_file_name_cannot_lead_out_of_the_directory(filename: str) -> None:
    assert type(play(api().upload("/scratch", filename, b"x"), []).error) is InvalidRequestError


def test_a_file_on_disk_is_read_anew_for_each_attempt(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(b"one")
    played = play(api().upload("/scratch", "f", source), [Response(204)])
    upload = played.request.upload
    assert upload is not None

    with upload.open() as stream:
        assert stream.read() == b"one"
    with upload.open() as stream:
        assert stream.read() == b"one"


@pytest.mark.parametrize(
    "given",
    [{"lines": 1, "size": 1}, {"lines": 0}, {"size": 0}, {"lines": -1}],
)
def test_head_and_tail_refuse_what_the_server_misunderstands(given: dict[str, int]) -> None:
    """``lines=0`` would return ten lines, a negative number would pass through to the tool."""
    for call in (api().head, api().tail):
        assert type(play(call("/scratch/f", **given), []).error) is InvalidRequestError


@pytest.mark.parametrize("given", [{"offset": -1}, {"size": -1}, {"size": 0}])
def test_view_refuses_what_the_server_refuses(given: dict[str, int]) -> None:
    assert type(play(api().view("/scratch/f", **given), []).error) is InvalidRequestError


@pytest.mark.parametrize("text", ["\\" + "ab" * 32, "AB" * 32])
def test_a_checksum_is_plain_lower_case_hex_whatever_the_tool_adds(text: str) -> None:
    """sha256sum puts a backslash before the digest of an odd name."""
    played = play(api().checksum("/scratch/f"), [ok({"output": {"checksum": text}})])

    assert played.result == "ab" * 32


@pytest.mark.parametrize("text", ["", "ab", "z" * 64, "ab" * 33])
def test_what_is_no_checksum_is_not_taken_for_one(text: str) -> None:
    played = play(api().checksum("/scratch/f"), [ok({"output": {"checksum": text}})])

    assert type(played.error) is ProtocolError


def test_a_name_that_tar_would_take_for_an_option_is_not_sent() -> None:
    for call in (api().compress, api().transfer_compress):
        with pytest.raises(InvalidRequestError, match="starts with a dash"):
            next(call("/a/--checkpoint-action=exec=id", "/b.tar.gz"))


@pytest.mark.parametrize("compression", ["zstd", "", "GZIP"])
def test_a_compression_the_server_does_not_have_is_not_asked_for(compression: str) -> None:
    for call in (api().compress, api().extract, api().transfer_compress, api().transfer_extract):
        flow: Flow[Any] = call("/scratch/a", "/scratch/b", compression=compression)  # type: ignore[operator]
        assert type(play(flow, []).error) is InvalidRequestError


@pytest.mark.parametrize("size", [0, -1])
def test_an_empty_file_is_not_staged(size: int) -> None:
    assert type(play(api().transfer_upload("/scratch/f", size), []).error) is InvalidRequestError


@pytest.mark.parametrize("window", ["2h", "", "24", "1H"])
def test_a_time_window_the_server_does_not_have_is_not_asked_for(window: str) -> None:
    assert type(play(api().jobs(time_window=window), []).error) is InvalidRequestError


def test_a_directory_that_exists_is_a_conflict() -> None:
    assert type(play(api().mkdir("/scratch/d"), [response("ops_mkdir_exists")]).error) is ConflictError


ODD = [b"", b"null", b"[]", b"{}", b'"x"', b"{", b'{"output": 5}', b'{"jobs": 5}', b'{"systems": [5]}']


@pytest.mark.parametrize("content", ODD)
def test_an_answer_that_cannot_be_read_is_an_error_of_ours_and_no_crash(content: bytes) -> None:
    v2 = api(working_dir="/s")
    flows: list[Flow[Any]] = [
        v2.systems(),
        v2.nodes(),
        v2.partitions(),
        v2.reservations(),
        v2.userinfo(),
        v2.jobs(),
        v2.get_job("1"),
        v2.job_metadata("1"),
        v2.submit_job(SCRIPT),
        v2.ls("/s"),
        v2.stat("/s"),
        v2.head("/s"),
        v2.checksum("/s"),
        v2.chmod("/s", "640"),
        v2.transfer_cp("/s", "/t"),
        v2.transfer_upload("/s", 1),
        v2.transfer_download("/s"),
    ]
    for flow in flows:
        played = play(flow, [Response(200, {"content-type": "application/json"}, content)])
        assert played.error is None or isinstance(played.error, FirecrestError)
        if content in (b"", b"{", b"null", b"[]") and flow is not flows[4]:
            assert isinstance(played.error, ProtocolError | AmbiguousError)
