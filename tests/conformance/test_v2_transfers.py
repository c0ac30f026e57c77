"""The transfer calls answer as they were recorded, and their jobs do, say and hide what they did then."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest
from tests.conformance.harness import Recording, Replayer, check_same_answer, load, names
from tests.conformance.trees import ODD_NAMES, make_names, make_source, make_transfers, needs_its_tool

OUT_OF_REACH = {
    "transfer_streamer_download": "the local server has no streamer",
    "transfer_streamer_download_missing": "the local server has no streamer",
    "transfer_streamer_upload": "the local server has no streamer",
    "transfer_streamer_upload_existing": "the local server has no streamer",
    "streamer_protocol_experiments": "the local server has no streamer",
    "streamer_upload_integrity": "the local server has no streamer",
    "transfer_ingress_exhausted_submit": "not kept here: it holds the text of the real server's script",
    "transfer_ingress_exhausted_result": "result of that script, shortened to two looks; ours looks as often",
    "metadata_ingress_transfer_job": "not kept here: it holds the text of the real server's script",
}
ALL = [name for name in names() if name.startswith("transfer_") and name not in OUT_OF_REACH]
ODD = [name for name in ALL if name.startswith("transfer_names_")]
DOWNLOADS = [name for name in ALL if re.match(r"transfer_download_s3_(?!legacy)", name)]
UPLOADS = [name for name in ALL if name.startswith("transfer_upload_s3_")]
FILE_JOBS = [name for name in ALL if name not in (*ODD, *DOWNLOADS, *UPLOADS)]
REPLAYED = [
    *ALL,
    "names_transfer_table",
    "s3_presigned_get_after_job",
    "s3_presigned_get_before_job_finished",
    "inflight_after_token_expiry",
    "inflight_upload_with_short_token",
]


def _earlier_copies(top: Path) -> None:
    """What earlier recorded calls had left, and a pattern finds."""
    for name in ("src_copy", "src_deref", "dst/src"):
        make_source(top / name)
    (top / "mv1b.txt").write_text("moved\n")
    (top / "noperm2").mkdir(mode=0)


def _empty_archive(top: Path) -> None:
    # A compress job whose source was missing had left it: that is why extracting it "succeeds".
    subprocess.run(["tar", "-czf", top / "nope.tgz", "-T", "/dev/null"], check=True)


PREPARE: dict[str, Callable[[Path], None]] = {
    "transfer_compress_pattern": _earlier_copies,
    "transfer_extract_missing": _empty_archive,
}


def _prepare(replayer: Replayer, name: str) -> Path:
    top = replayer.path("/scratch/fireuser/tr")
    make_transfers(top)
    PREPARE.get(name, lambda _top: None)(top)
    return top


def _check_outcome(replayer: Replayer, recording: Recording, response: requests.Response) -> None:
    """Wait for the job and compare its end and its logs with the recorded ones."""
    job = response.json()["transferJob"]
    outcome = recording.content.get("outcome")
    if not outcome:
        return
    recorded = outcome["final_job"]
    if recorded["status"]["state"].startswith(("CANCELLED", "TIMEOUT")):
        # Nobody would have ended these jobs. They were cancelled by hand, so are ours.
        _wait_until_it_looks(replayer, job)
        replayer.call("DELETE", f"/compute/cluster/jobs/{job['jobId']}")
    ended = replayer.wait_for_job(job["jobId"])
    if not recorded["status"]["state"].startswith("TIMEOUT"):
        assert ended["state"].split()[0] == recorded["status"]["state"].split()[0]
        assert ended["exit_code"] == recorded["status"]["exitCode"]
        # sacct called jobs "allocation" for a moment after their start.
        assert recorded["name"] in (ended["name"], "allocation")
        for log in ("outputLog", "errorLog"):
            expected = replayer.anonymise(outcome["logs"][log]["content"])
            got = replayer.anonymise(Path(job["logs"][log]).read_text())
            assert _comparable(got) == _comparable(expected), log


def _comparable(log: str) -> list[str]:
    # Parts travel side by side and directories are read in any order: the order of lines is accidental.
    return sorted(line for line in log.splitlines() if line)


def _wait_until_it_looks(replayer: Replayer, job: dict[str, Any]) -> None:
    log = Path(job["logs"]["outputLog"])
    replayer.wait_until(
        lambda: (log.exists() and "Waiting" in log.read_text()) or None, 10, "upload job looks for its object"
    )


@pytest.mark.parametrize("name", [needs_its_tool(name) for name in FILE_JOBS])
def test_file_job_answers_and_ends_as_recorded(replayer: Replayer, name: str, tmp_path: Path) -> None:
    _prepare(replayer, name)
    recording = load(name)
    if name == "transfer_cp_target_outside_fs":
        # The recorded target is in /tmp; this one must not outlive the test.
        request = {**recording.request, "json": {**recording.request["json"], "targetPath": f"{tmp_path}/f"}}
        recording = Recording(name, {**recording.content, "request": request})

    response = replayer.send(recording)

    check_same_answer(replayer, recording, response)
    if response.status_code in (200, 201):
        _check_outcome(replayer, recording, response)
        job_id = response.json()["transferJob"]["jobId"]
        replayer.call("DELETE", f"/compute/cluster/jobs/{job_id}")


@pytest.mark.parametrize(
    ("name", "made", "gone"),
    [
        ("transfer_cp_dir", "src_copy/deep/b.txt", None),
        ("transfer_cp_dir_into_existing_dir", "dst/src/deep/b.txt", None),
        ("transfer_mv_ok", "mv1b.txt", "mv1.txt"),
        ("transfer_rm_ok", None, "rmd1"),
        ("transfer_compress_missing", "nope.tgz", None),
        ("transfer_extract_ok", "ex", None),
    ],
)
def test_file_job_does_what_it_says(
    replayer: Replayer, name: str, made: str | None, gone: str | None
) -> None:
    top = _prepare(replayer, name)

    response = replayer.send(load(name))
    replayer.wait_for_job(response.json()["transferJob"]["jobId"])

    assert made is None or (top / made).exists()
    assert gone is None or not (top / gone).exists()


def _put_parts(directives: dict[str, Any], content: bytes) -> list[tuple[int, str]]:
    size = directives["maxPartSize"]
    etags = []
    for number, url in enumerate(directives["partsUploadUrls"], 1):
        part = content[(number - 1) * size : number * size]
        answer = requests.put(url, data=part, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.headers["ETag"] == f'"{hashlib.md5(part).hexdigest()}"'
        etags.append((number, answer.headers["ETag"]))
    return etags


def _complete(directives: dict[str, Any], etags: list[tuple[int, str]]) -> requests.Response:
    parts = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(etag)}</ETag></Part>" for n, etag in etags
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
    return requests.post(directives["completeUploadUrl"], data=body, timeout=30)


def _upload_as_recorded(directives: dict[str, Any], name: str) -> requests.Response | None:
    """Do on the object store what the recording client did; its answer to the completion."""
    size = {"multipart": 20_000_000, "exact_part": 8_388_608, "missing_part": 20_000_000, "zero": 0}
    label = name.removeprefix("transfer_upload_s3_")
    content = random.Random(3).randbytes({"overwrite": 12, **size}.get(label, 9))
    if label == "never_put":
        return None
    if label == "missing_part":
        kept = {**directives, "partsUploadUrls": directives["partsUploadUrls"][:1]}
        etags = _put_parts(kept, content)
        return _complete(directives, [*etags, (2, '"none"'), (3, '"none"')])
    etags = _put_parts(directives, content)
    return None if label == "not_completed" else _complete(directives, etags)


@pytest.mark.parametrize("name", UPLOADS)
def test_upload_through_the_store_goes_as_recorded(replayer: Replayer, name: str) -> None:
    _prepare(replayer, name)
    recording = load(name)

    response = replayer.send(recording)
    check_same_answer(replayer, recording, response)
    completion = _upload_as_recorded(response.json()["transferDirectives"], name)

    recorded = recording.content["s3_client_side"].get("complete")
    assert (completion is None) == (recorded is None)
    if completion is not None and recorded is not None:
        assert completion.status_code == recorded[0]
        assert _xml_outline(completion.text) == _xml_outline(recorded[1])
    _check_outcome(replayer, recording, response)
    replayer.call("DELETE", f"/compute/cluster/jobs/{response.json()['transferJob']['jobId']}")


def _xml_outline(text: str) -> str:
    """The XML without what is random: keys' ids, digests, request ids."""
    text = re.sub(r"<(RequestId|HostId|ETag)>[^<]*", r"<\1>", text)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID", text)


def test_uploaded_bytes_arrive(replayer: Replayer) -> None:
    top = _prepare(replayer, "transfer_upload_s3_multipart")

    response = replayer.send(load("transfer_upload_s3_multipart"))
    _upload_as_recorded(response.json()["transferDirectives"], "transfer_upload_s3_multipart")
    replayer.wait_for_job(response.json()["transferJob"]["jobId"])

    assert (top / "up_big.bin").read_bytes() == random.Random(3).randbytes(20_000_000)


def test_upload_job_that_gets_nothing_ends_at_its_time_limit() -> None:
    recording = load("transfer_upload_s3_never_put")
    with LocalFirecrest(transfer_time_limit=1, ingress_interval=0.1) as server:
        replayer = Replayer(server)
        job = replayer.send(recording).json()["transferJob"]
        ended = replayer.wait_for_job(job["jobId"])
        logs = {log: Path(path).read_text() for log, path in job["logs"].items()}
        replayer.close()

    recorded = recording.content["outcome"]
    assert ended["state"] == recorded["final_job"]["status"]["state"]
    assert ended["exit_code"] == recorded["final_job"]["status"]["exitCode"]
    for log, text in logs.items():
        assert replayer.anonymise(text) == replayer.anonymise(recorded["logs"][log])


DOWNLOAD_CONTENT = {
    "transfer_download_s3_ok_multipart": ("big.bin", "ok_multipart", 20_000_000),
    "transfer_download_s3_exact_part": ("exact8.bin", "exact_part", 8_388_608),
    "transfer_download_s3_small": ("small.bin", "small", None),
    "transfer_download_s3_empty": ("empty", "empty", None),
    "transfer_download_s3_dir": ("src", "dir", None),
    "transfer_download_s3_symlink": ("src/l", "symlink", None),
}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_download_through_the_store_goes_as_recorded(replayer: Replayer, name: str) -> None:
    top = _prepare(replayer, name)
    file, label, size = DOWNLOAD_CONTENT.get(name, ("f.txt", None, None))
    if size is not None:
        (top / file).write_bytes(random.Random(4).randbytes(size))
    recording = load(name)

    response = replayer.send(recording)

    check_same_answer(replayer, recording, response)
    if response.status_code == 201:
        _check_outcome(replayer, recording, response)
    if label is not None:
        row = load("s3_presigned_get_after_job").content[label]
        _check_download(response.json()["transferDirectives"]["downloadUrl"], row, top / file)


def _check_download(url: str, row: dict[str, Any], source: Path) -> None:
    answer = requests.get(url, timeout=30)
    part = requests.get(url, headers={"Range": "bytes=2-5"}, timeout=30)
    assert answer.status_code == row["status"]
    assert answer.headers["Content-Type"] == row["content_type"]
    if row["status"] == 200:
        # The recorded sizes are those of the recorded files; ours are of the same size.
        assert answer.headers["Content-Length"] == row["content_length"]
        assert answer.content == source.read_bytes()
        assert answer.headers["ETag"].rpartition("-")[2] == row["etag"].rpartition("-")[2]
        assert [part.status_code, part.headers["Content-Range"], len(part.content)] == row["range_2_5"]
    else:
        assert _xml_outline(answer.text).startswith(
            _xml_outline(row["body_if_error"]).partition("<RequestId>")[0]
        )
        assert part.status_code == row["range_2_5"][0]
    # The recorded store took HEAD on a URL signed for GET. S3 does not, and neither do we.
    assert requests.head(url, timeout=30).status_code == 403


def test_download_url_is_of_no_use_before_the_job_is_done(replayer: Replayer) -> None:
    _prepare(replayer, "transfer_download_s3_small")
    recorded = load("s3_presigned_get_before_job_finished").content
    # One CPU short: the job has to wait.
    blockers = [_occupy(replayer) for _ in range(8)]

    url = replayer.send(load("transfer_download_s3_small")).json()["transferDirectives"]["downloadUrl"]
    answer = requests.get(url, timeout=30)

    assert answer.status_code == recorded["status"]
    assert recorded["body"].partition("...")[0].removesuffix("</Error>") in answer.text
    assert f"X-Amz-Expires={recorded['expires']}" in url
    for job_id in blockers:
        replayer.call("DELETE", f"/compute/cluster/jobs/{job_id}")


def _occupy(replayer: Replayer) -> str:
    job = {
        "name": "blocker",
        "workingDirectory": str(replayer.server.scratch),
        "script": "#!/bin/bash\nsleep 60\n",
        "standardOutput": "/dev/null",
    }
    response = replayer.call("POST", "/compute/cluster/jobs", json={"job": job})
    assert response.status_code == 201, response.text
    return str(response.json()["jobId"])


@pytest.mark.parametrize("name", ODD)
def test_odd_names_fare_as_recorded(replayer: Replayer, name: str) -> None:
    top = replayer.path("/scratch/fireuser/names")
    make_names(top)
    recording = load(name)
    kind, label = name.removeprefix("transfer_names_").split("_")
    row = load("names_transfer_table").content[label]
    file = ODD_NAMES[label]

    response = replayer.send(recording)
    check_same_answer(replayer, recording, response)
    if response.status_code == 201:
        directives = response.json().get("transferDirectives", {})
        if kind == "upload":
            _complete(directives, _put_parts(directives, b"content"))
        _check_outcome(replayer, recording, response)

    if kind == "cp":
        assert (top / f"cp_{file}").is_file() == row["cp_made_file"]
    elif kind == "upload":
        assert (top / f"s3_{file}").is_file() == row["s3_upload_made_file"]
    elif response.status_code == 201:
        answer = requests.get(response.json()["transferDirectives"]["downloadUrl"], timeout=30)
        assert answer.status_code == row["download_status"]
        assert (answer.text == f"content of {label}\n") == row["download_ok"]
    else:
        assert response.status_code == row["download_status"]


def test_odd_names_leave_the_files_that_were_recorded(replayer: Replayer) -> None:
    top = replayer.path("/scratch/fireuser/names")
    make_names(top)
    for name in ODD:
        recording = load(name)
        if "_download_" in name:
            continue
        response = replayer.send(recording)
        if response.status_code == 201:
            directives = response.json().get("transferDirectives")
            if directives:
                _complete(directives, _put_parts(directives, b"content"))
            replayer.wait_for_job(response.json()["transferJob"]["jobId"])

    recorded = load("names_transfer_table").content["_dir"]
    assert sorted(path.name for path in top.iterdir() if path.name[:3] in ("cp_", "s3_")) == sorted(
        name for name in recorded if name[:3] in ("cp_", "s3_")
    )


def test_a_transfer_survives_the_token_it_was_asked_for_with(replayer: Replayer) -> None:
    _prepare(replayer, "inflight_upload_with_short_token")
    recorded = load("inflight_after_token_expiry").content
    short = Replayer(replayer.server, token=replayer.server.mint_token(ttl=31))
    response = short.send(load("inflight_upload_with_short_token"))
    check_same_answer(short, load("inflight_upload_with_short_token"), response)
    directives, job = (response.json()[key] for key in ("transferDirectives", "transferJob"))
    path = f"/compute/cluster/jobs/{job['jobId']}"
    short.wait_until(lambda: short.call("GET", path).status_code != 200 or None, 10, "the token is refused")

    refused = short.call("GET", path)
    etags = _put_parts(directives, b"short\n")
    completion = _complete(directives, etags)

    assert refused.status_code == recorded["api_get_with_old_token"]
    assert completion.status_code == recorded["presigned_complete"]
    assert replayer.wait_for_job(job["jobId"])["state"] == "COMPLETED"
    assert replayer.path("/scratch/fireuser/tr/inflight.txt").read_bytes() == b"short\n"
    short.close()
