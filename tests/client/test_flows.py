"""Each endpoint of FirecREST v2: its flow asks what was recorded, and the recorded answer is understood."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_firecrest.client.flow import Flow, Kind, Request
from airflow_provider_firecrest.client.models import Job, RemoteFile, TransferJob
from airflow_provider_firecrest.client.v2 import V2

from .recorded import api, load, play, response

OPS = "/scratch/fireuser/ops"
JOBS = "/scratch/fireuser/jobs"
TR = "/scratch/fireuser/tr"

# What the server takes for a field that is not sent (its API description): sending it says the same.
DEFAULTS: dict[str, Any] = {"dereference": False, "parent": False, "compression": "gzip"}

# recording -> the call that must ask exactly that, and what repeating it would do
CALLS: dict[str, tuple[Callable[[V2], Flow[Any]], Kind]] = {
    # status
    "status_systems": (lambda v2: v2.systems(), Kind.READ),
    "status_liveness": (lambda v2: v2.liveness(), Kind.READ),
    "status_nodes": (lambda v2: v2.nodes(), Kind.READ),
    "status_partitions": (lambda v2: v2.partitions(), Kind.READ),
    "status_partitions_hidden": (lambda v2: v2.partitions(show_hidden=True), Kind.READ),
    "status_reservations": (lambda v2: v2.reservations(), Kind.READ),
    "status_reservations_empty": (lambda v2: v2.reservations(), Kind.READ),
    "status_userinfo": (lambda v2: v2.userinfo(), Kind.READ),
    # compute
    "submit_stdio": (
        lambda v2: v2.submit_job(
            "#!/bin/bash\ncat; echo out; echo err >&2\n",
            working_dir=JOBS,
            name="stdio",
            stdin=f"{JOBS}/in.txt",
            stdout=f"{JOBS}/my.%j.out",
            stderr=f"{JOBS}/my.%j.err",
        ),
        Kind.CREATE,
    ),
    "submit_account_partition": (
        lambda v2: v2.submit_job(
            "#!/bin/bash\necho ok\n",
            working_dir=JOBS,
            account="project2",
            partition="part02",
            name="acct2",
        ),
        Kind.CREATE,
    ),
    "submit_constraints": (
        lambda v2: v2.submit_job("#!/bin/bash\necho c\n", working_dir=JOBS, constraints="mc"),
        Kind.CREATE,
    ),
    "submit_script_path": (
        lambda v2: v2.submit_job(remote_script=f"{JOBS}/s.sh", working_dir=JOBS, env={"FOO": "bar"}),
        Kind.CREATE,
    ),
    "jobs_list": (lambda v2: v2.jobs(), Kind.READ),
    "jobs_list_allusers": (lambda v2: v2.jobs(all_users=True), Kind.READ),
    "jobs_list_account": (lambda v2: v2.jobs(account="project2"), Kind.READ),
    "jobs_list_name": (lambda v2: v2.jobs(name="fail3"), Kind.READ),
    "jobs_list_window_8h": (lambda v2: v2.jobs(time_window="8h"), Kind.READ),
    "job_completed": (lambda v2: v2.get_job("37"), Kind.READ),
    "job_array_mixed": (lambda v2: v2.get_job("87"), Kind.READ),
    "metadata_running": (lambda v2: v2.job_metadata("75"), Kind.READ),
    "cancel_running": (lambda v2: v2.cancel_job("89"), Kind.IDEMPOTENT),
    "attach_running": (
        lambda v2: v2.attach("75", f"bash -c 'echo attached > {JOBS}/attach.out'"),
        Kind.CREATE,
    ),
    # filesystem/ops
    "ops_ls": (lambda v2: v2.ls(OPS), Kind.READ),
    "ops_ls_hidden": (lambda v2: v2.ls(OPS, show_hidden=True), Kind.READ),
    "ops_ls_numericuid": (lambda v2: v2.ls(OPS, numeric_uid=True), Kind.READ),
    "ops_ls_recursive_ok": (lambda v2: v2.ls(f"{OPS}/sub", recursive=True), Kind.READ),
    "ops_stat_ok": (lambda v2: v2.stat(f"{OPS}/a.txt", dereference=False), Kind.READ),
    "ops_stat_dereference": (lambda v2: v2.stat(f"{OPS}/link"), Kind.READ),
    "ops_checksum_ok": (lambda v2: v2.checksum(f"{OPS}/a.txt"), Kind.READ),
    "ops_file_ok": (lambda v2: v2.file_type(f"{OPS}/a.txt"), Kind.READ),
    "ops_head_default": (lambda v2: v2.head(f"{OPS}/lines.txt"), Kind.READ),
    "ops_head_lines": (lambda v2: v2.head(f"{OPS}/lines.txt", lines=3), Kind.READ),
    "ops_head_bytes": (lambda v2: v2.head(f"{OPS}/lines.txt", size=5), Kind.READ),
    "ops_head_skip": (lambda v2: v2.head(f"{OPS}/lines.txt", lines=25, skip_trailing=True), Kind.READ),
    "ops_tail_lines": (lambda v2: v2.tail(f"{OPS}/lines.txt", lines=3), Kind.READ),
    "ops_tail_bytes": (lambda v2: v2.tail(f"{OPS}/lines.txt", size=5), Kind.READ),
    "ops_tail_skip": (lambda v2: v2.tail(f"{OPS}/lines.txt", lines=25, skip_heading=True), Kind.READ),
    "ops_view_default_small": (lambda v2: v2.view(f"{OPS}/a.txt"), Kind.READ),
    "ops_view_size_offset": (lambda v2: v2.view(f"{OPS}/lines.txt", size=6, offset=4), Kind.READ),
    "ops_download_a_txt": (lambda v2: v2.download(f"{OPS}/a.txt"), Kind.READ),
    "ops_upload_ok": (lambda v2: v2.upload(OPS, "up.txt", b"hello\n"), Kind.IDEMPOTENT),
    "ops_mkdir_ok": (lambda v2: v2.mkdir(f"{OPS}/new"), Kind.CREATE),
    "ops_mkdir_parent": (lambda v2: v2.mkdir(f"{OPS}/x/y/z", parents=True), Kind.IDEMPOTENT),
    "ops_rm_file": (lambda v2: v2.rm(f"{OPS}/up.txt"), Kind.IDEMPOTENT),
    "ops_chmod_ok": (lambda v2: v2.chmod(f"{OPS}/a.txt", "640"), Kind.IDEMPOTENT),
    "ops_chown_group": (
        lambda v2: v2.chown(f"{OPS}/a.txt", owner="fireuser", group="project"),
        Kind.IDEMPOTENT,
    ),
    "ops_symlink_ok": (lambda v2: v2.symlink(f"{OPS}/a.txt", f"{OPS}/newlink"), Kind.CREATE),
    "ops_compress_gzip": (lambda v2: v2.compress(f"{OPS}/sub", f"{OPS}/sub.gzip.tar"), Kind.IDEMPOTENT),
    "ops_compress_xz": (
        lambda v2: v2.compress(f"{OPS}/sub", f"{OPS}/sub.xz.tar", compression="xz"),
        Kind.IDEMPOTENT,
    ),
    "ops_compress_pattern": (
        lambda v2: v2.compress(f"{OPS}/sub", f"{OPS}/pat.tgz", match_pattern=".*x.txt"),
        Kind.IDEMPOTENT,
    ),
    "ops_extract_gzip": (lambda v2: v2.extract(f"{OPS}/sub.gzip.tar", f"{OPS}/ex"), Kind.IDEMPOTENT),
    # filesystem/transfer
    "transfer_upload_s3_multipart": (
        lambda v2: v2.transfer_upload(f"{TR}/up_big.bin", 20_000_000),
        Kind.CREATE,
    ),
    "transfer_download_s3_small": (lambda v2: v2.transfer_download(f"{TR}/small.bin"), Kind.CREATE),
    "transfer_mv_ok": (lambda v2: v2.transfer_mv(f"{TR}/mv1.txt", f"{TR}/mv1b.txt"), Kind.CREATE),
    "transfer_cp_ok": (lambda v2: v2.transfer_cp(f"{TR}/f.txt", f"{TR}/f2.txt"), Kind.CREATE),
    "transfer_cp_dir_deref": (
        lambda v2: v2.transfer_cp(f"{TR}/src", f"{TR}/src_deref", dereference=True),
        Kind.CREATE,
    ),
    "transfer_account_required_ok": (
        lambda v2: v2.transfer_cp(f"{TR}/f.txt", f"{TR}/acc", account="project", system="cluster-streamer"),
        Kind.CREATE,
    ),
    "transfer_rm_ok": (lambda v2: v2.transfer_rm(f"{TR}/rmd1"), Kind.CREATE),
    "transfer_compress_xz": (
        lambda v2: v2.transfer_compress(f"{TR}/src", f"{TR}/src.txz", compression="xz"),
        Kind.CREATE,
    ),
    "transfer_compress_pattern": (
        lambda v2: v2.transfer_compress(f"{TR}/src", f"{TR}/pat.tgz", match_pattern=".*b.txt"),
        Kind.CREATE,
    ),
    "transfer_extract_ok": (lambda v2: v2.transfer_extract(f"{TR}/ok.tgz", f"{TR}/ex"), Kind.CREATE),
}

# The operations of the server's API description; a call more or less is a mistake here or there.
ENDPOINTS = {
    "GET /status/systems",
    "GET /status/liveness/",
    "GET /status/{}/nodes",
    "GET /status/{}/reservations",
    "GET /status/{}/partitions",
    "GET /status/{}/userinfo",
    "POST /compute/{}/jobs",
    "GET /compute/{}/jobs",
    "GET /compute/{}/jobs/{}",
    "DELETE /compute/{}/jobs/{}",
    "GET /compute/{}/jobs/{}/metadata",
    "PUT /compute/{}/jobs/{}/attach",
    "PUT /filesystem/{}/ops/chmod",
    "PUT /filesystem/{}/ops/chown",
    "GET /filesystem/{}/ops/ls",
    "GET /filesystem/{}/ops/head",
    "GET /filesystem/{}/ops/view",
    "GET /filesystem/{}/ops/tail",
    "GET /filesystem/{}/ops/checksum",
    "GET /filesystem/{}/ops/file",
    "GET /filesystem/{}/ops/stat",
    "DELETE /filesystem/{}/ops/rm",
    "POST /filesystem/{}/ops/mkdir",
    "POST /filesystem/{}/ops/symlink",
    "GET /filesystem/{}/ops/download",
    "POST /filesystem/{}/ops/upload",
    "POST /filesystem/{}/ops/compress",
    "POST /filesystem/{}/ops/extract",
    "POST /filesystem/{}/transfer/upload",
    "POST /filesystem/{}/transfer/download",
    "POST /filesystem/{}/transfer/mv",
    "POST /filesystem/{}/transfer/cp",
    "DELETE /filesystem/{}/transfer/rm",
    "POST /filesystem/{}/transfer/compress",
    "POST /filesystem/{}/transfer/extract",
}


def run(name: str) -> tuple[Request, Any]:
    """Play a call of the table on its recorded answer: the one request, and the result."""
    call, _ = CALLS[name]
    played = play(call(api()), [response(name)])
    assert played.error is None, played.error
    return played.request, played.result


def with_defaults(body: dict[str, Any] | None, sent: dict[str, Any] | None) -> dict[str, Any] | None:
    if body is None or sent is None:
        return body
    return {**{key: value for key, value in DEFAULTS.items() if key in sent}, **body}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_asks_what_was_recorded(name: str) -> None:
    recorded = load(name)["request"]

    request, _ = run(name)

    assert (request.method, request.path) == (recorded["method"], recorded["path"])
    assert request.query() == {key: str(value) for key, value in (recorded.get("params") or {}).items()}
    assert request.json == with_defaults(recorded.get("json"), request.json)
    assert request.form is None
    json.dumps(request.json)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_knows_what_repeating_it_would_do(name: str) -> None:
    request, _ = run(name)

    assert request.kind is CALLS[name][1]


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("ops_")])
def test_a_direct_call_that_ran_into_the_servers_limit_is_not_repeated_by_the_driver(name: str) -> None:
    """It would take as long again; who calls has another way."""
    request, _ = run(name)

    assert not request.repeat_command_timeout


def test_every_endpoint_of_the_api_is_reached_by_exactly_the_calls_there_are() -> None:
    reached = set()
    for name in CALLS:
        request, _ = run(name)
        path = re.sub(r"^(/(?:status|compute|filesystem))/cluster(?:-streamer)?/", r"\1/{}/", request.path)
        reached.add(f"{request.method} {re.sub(r'/jobs/[0-9]+', '/jobs/{}', path)}")

    assert reached == ENDPOINTS
    assert len(ENDPOINTS) == 35


def test_an_upload_sends_the_file_in_the_field_the_server_reads() -> None:
    request, _ = run("ops_upload_ok")
    recorded = load("ops_upload_ok")["request"]["body_summary"]

    assert request.upload is not None
    assert recorded == {"file": {"filename": "up.txt", "bytes": 6}}
    assert (request.upload.field, request.upload.filename) == ("file", "up.txt")
    with request.upload.open() as first, request.upload.open() as second:
        assert first.read() == second.read() == b"hello\n"


RESULTS: dict[str, Any] = {
    "submit_stdio": "44",
    "submit_script_path": "38",
    "cancel_running": True,
    "attach_running": None,
    "ops_checksum_ok": "66663af9c7aa341431a8ee2ff27b72abd06c9218f517bb6fef948e4803c19e03",
    "ops_head_lines": "1\n2\n3\n",
    "ops_tail_bytes": "9\n30\n",
    "ops_head_skip": "1\n2\n3\n4\n5\n",
    "ops_view_size_offset": "3\n4\n5\n",
    "ops_download_a_txt": b"line1\nline2\nline3\n",
    "ops_upload_ok": None,
    "ops_rm_file": None,
    "ops_compress_gzip": None,
    "ops_extract_gzip": None,
    "status_reservations_empty": [],
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_call_returns_what_the_answer_says(name: str) -> None:
    assert run(name)[1] == RESULTS[name]


def test_changes_return_the_file_as_it_is_now() -> None:
    for name, kind in [("ops_mkdir_ok", "d"), ("ops_symlink_ok", "l"), ("ops_chmod_ok", "-")]:
        found = run(name)[1]
        assert isinstance(found, RemoteFile)
        assert found.file_type == kind


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("transfer_")])
def test_a_transfer_call_returns_the_servers_job_and_its_logs(name: str) -> None:
    expected = load(name)["response"]["json"]["transferJob"]

    found = run(name)[1]
    job = found if isinstance(found, TransferJob) else found.transfer

    assert job == TransferJob(
        job_id=expected["jobId"],
        system=expected["system"],
        working_dir=expected["workingDirectory"],
        output_log=expected["logs"]["outputLog"],
        error_log=expected["logs"]["errorLog"],
    )


def test_the_list_holds_every_row_of_the_answer_in_its_order() -> None:
    rows = load("jobs_list_allusers")["response"]["json"]["jobs"]

    found = run("jobs_list_allusers")[1]

    assert found == [Job.from_v2(row) for row in rows]
    assert len({row.user for row in found}) > 1


def test_an_old_server_that_ignores_the_name_does_not_send_us_other_jobs() -> None:
    """Servers before 2.5.7 answer name= with everything."""
    played = play(api().jobs(name="ok-job"), [response("jobs_list")])

    assert {row["name"] for row in load("jobs_list")["response"]["json"]["jobs"]} > {"ok-job"}
    assert {job.name for job in played.value()} == {"ok-job"}
