"""The fault switch does what it says, to the requests it names, as often as it says, and no more."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrestError
from tests.fixtures_local import FirecrestForTest


class Caller:
    """Requests to the API."""

    def __init__(self, firecrest: FirecrestForTest) -> None:
        self._headers = {"Authorization": f"Bearer {firecrest.mint_token()}"}
        self.firecrest = firecrest

    def __call__(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = self.firecrest.base_url + path
        return requests.request(method, url, headers=self._headers, timeout=20, **arguments)

    def mkdir(self, name: str) -> requests.Response:
        """Make a directory below the test's own."""
        body = {"path": str(self.firecrest.directory / name)}
        return self("POST", "/filesystem/cluster/ops/mkdir", json=body)

    def transfer(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """Start a transfer job, wait for its end; its own record with its output log."""
        answer = self("POST", f"/filesystem/cluster/transfer/{action}", json=body)
        assert answer.status_code == 201, answer.text
        job = answer.json()["transferJob"]
        for part in answer.json().get("transferDirectives", {}).get("partsUploadUrls", []):
            etag = requests.put(part, data=b"123456789", timeout=10).headers["ETag"]
            parts = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
            url = answer.json()["transferDirectives"]["completeUploadUrl"]
            requests.post(url, data=f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>", timeout=10)
        deadline = time.monotonic() + 20
        while (mine := self._job(job["jobId"]))["state"] not in ("COMPLETED", "FAILED"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return {**mine, "log": Path(job["logs"]["outputLog"]).read_text()}

    def _job(self, job_id: str) -> dict[str, Any]:
        return next(job for job in self.firecrest.jobs() if job["id"] == job_id)


@pytest.fixture
def call(firecrest: FirecrestForTest) -> Caller:
    return Caller(firecrest)


def test_status_answers_without_acting_and_then_no_more(call: Caller) -> None:
    call.firecrest.fault(
        "status", path_regex="/mkdir$", status=429, headers={"Retry-After": "3"}, body="slow"
    )

    first, second = call.mkdir("a"), call.mkdir("b")

    assert (first.status_code, first.headers["Retry-After"], first.text) == (429, "3", "slow")
    assert second.status_code == 201
    assert sorted(path.name for path in call.firecrest.directory.iterdir()) == ["b"]


def test_lost_answer_has_acted(call: Caller) -> None:
    call.firecrest.fault("lose_answer", method="POST", path_regex="/mkdir$")

    with pytest.raises(requests.ConnectionError):
        call.mkdir("a")

    assert (call.firecrest.directory / "a").is_dir()


def test_dropped_request_has_not_acted(call: Caller) -> None:
    call.firecrest.fault("drop", path_regex="/mkdir$")

    with pytest.raises(requests.ConnectionError):
        call.mkdir("a")

    assert not (call.firecrest.directory / "a").exists()


def test_lost_submit_has_submitted(call: Caller) -> None:
    before = len(call.firecrest.jobs())
    call.firecrest.fault("lose_answer", method="POST", path_regex="/jobs$")
    job = {"script": "#!/bin/bash\ntrue\n", "workingDirectory": str(call.firecrest.directory)}

    with pytest.raises(requests.ConnectionError):
        call("POST", "/compute/cluster/jobs", json={"job": job})

    assert len(call.firecrest.jobs()) == before + 1


def test_delay_delays(call: Caller) -> None:
    call.firecrest.fault("delay", path_regex="/mkdir$", delay_s=0.3)

    began = time.monotonic()
    answer = call.mkdir("a")

    assert answer.status_code == 201
    assert time.monotonic() - began >= 0.3


def test_fault_leaves_other_requests_alone(call: Caller) -> None:
    call.firecrest.fault("status", method="GET", path_regex="/ops/", times=0)

    assert call.mkdir("a").status_code == 201
    assert call("GET", "/status/systems").status_code == 200
    for _ in range(3):
        assert call("GET", "/filesystem/cluster/ops/ls").status_code == 503


def test_faults_end_when_they_are_cleared(call: Caller) -> None:
    call.firecrest.fault("status", times=0)
    assert call("GET", "/status/systems").status_code == 503

    call.firecrest.clear_faults()

    assert call("GET", "/status/systems").status_code == 200


def test_use_of_faults_can_be_counted(call: Caller) -> None:
    call.firecrest.fault("status", path_regex="/mkdir$", times=5)

    call.mkdir("a")
    call.mkdir("a")

    assert [fault["used"] for fault in call.firecrest.control("GET", "faults")] == [2]


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"action": "explode"}, "unknown action"),
        ({"action": "status", "colour": "red"}, "unknown fault keys: colour"),
        ({"action": "status", "match": {"path_regex": "("}}, "bad path_regex"),
    ],
)
def test_nonsense_is_refused(firecrest: FirecrestForTest, wish: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalFirecrestError, match=complaint):
        firecrest.control("POST", "faults", wish)


def test_idle_copy_says_it_succeeded(call: Caller) -> None:
    source = call.firecrest.directory / "f"
    source.write_text("x")
    call.firecrest.fault("file_job_does_nothing", path_regex="/transfer/cp$")

    job = call.transfer("cp", {"path": str(source), "targetPath": f"{source}2"})

    assert job["state"] == "COMPLETED"
    assert "Files were successfully copied." in job["log"]
    assert not Path(f"{source}2").exists()


def test_lying_upload_says_it_succeeded(call: Caller) -> None:
    target = call.firecrest.directory / "f"
    call.firecrest.fault("ingress_says_success_without_file", path_regex="/transfer/upload$")
    body = {"path": str(target), "transferDirectives": {"transferMethod": "s3", "fileSize": 9}}

    job = call.transfer("upload", body)

    assert job["state"] == "COMPLETED"
    assert "Received 9 bytes" in job["log"]
    assert "File was successfully downloaded" in job["log"]
    assert not target.exists()


@pytest.mark.parametrize("release", ["by hand", "by the end of all faults"])
def test_an_uploads_job_is_held_in_the_middle_of_its_writing(call: Caller, release: str) -> None:
    target, piece = call.firecrest.directory / "data", call.firecrest.directory / "data.1"
    call.firecrest.fault("ingress_holds", path_regex="/transfer/upload$", body=1)
    body = {"path": str(target), "transferDirectives": {"transferMethod": "s3", "fileSize": 9}}
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(call.transfer, "upload", body)
        deadline = time.monotonic() + 20
        while not piece.exists() or piece.stat().st_size < 9:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not target.exists()
        if release == "by hand":
            call.firecrest.release_jobs()
        else:
            call.firecrest.clear_faults()
        job = ended.result(20)

    assert job["state"] == "COMPLETED"
    assert target.read_bytes() == b"123456789"
    assert not piece.exists()


def test_an_uploads_job_is_held_for_a_time(call: Caller) -> None:
    target = call.firecrest.directory / "data"
    call.firecrest.fault("ingress_holds", path_regex="/transfer/upload$", body=1, delay_s=0.5)
    body = {"path": str(target), "transferDirectives": {"transferMethod": "s3", "fileSize": 9}}
    began = time.monotonic()

    assert call.transfer("upload", body)["state"] == "COMPLETED"

    assert time.monotonic() - began >= 0.5
    assert target.read_bytes() == b"123456789"


def test_requests_are_counted_but_not_their_secrets(call: Caller) -> None:
    call.mkdir("a")
    call("GET", "/filesystem/cluster/ops/ls", params={"path": "hidden-value"})

    seen = call.firecrest.requests()

    assert [(r["method"], r["path"].rpartition("/")[2], r["status"]) for r in seen] == [
        ("POST", "mkdir", 201),
        ("GET", "ls", 400),
    ]
    assert "hidden-value" not in str(seen)


def test_a_full_disk_stops_the_tool_of_a_job_and_leaves_a_part(call: Caller) -> None:
    source = call.firecrest.directory / "f"
    source.write_bytes(bytes(200_000))
    call.firecrest.fault("disk_full", path_regex="/transfer/cp$", body=100 * 1024)

    job = call.transfer("cp", {"path": str(source), "targetPath": f"{source}2"})

    assert "successfully" not in job["log"]
    assert Path(f"{source}2").stat().st_size == 100 * 1024


def test_a_full_disk_stops_a_direct_call(call: Caller) -> None:
    directory = call.firecrest.directory
    call.firecrest.fault("disk_full", path_regex="/ops/upload$", body=0)
    arguments: dict[str, Any] = {"params": {"path": str(directory)}, "files": {"file": ("f", b"12345")}}

    first, second = (call("POST", "/filesystem/cluster/ops/upload", **arguments) for _ in range(2))

    assert (first.status_code, second.status_code) == (500, 204)
    assert "File too large" in first.text
    assert (directory / "f").read_bytes() == b"12345"


@pytest.mark.parametrize(
    ("action", "content"), [("object_changes", b"912345678"), ("object_shrinks", b"1234")]
)
def test_an_object_is_another_one_from_one_request_to_the_next(
    action: str, content: bytes, call: Caller
) -> None:
    # given an object of which the first bytes are there
    source = call.firecrest.directory / "f"
    source.write_text("123456789")
    body = {"path": str(source), "transferDirectives": {"transferMethod": "s3"}}
    staged = call("POST", "/filesystem/cluster/transfer/download", json=body).json()
    url = staged["transferDirectives"]["downloadUrl"]
    deadline = time.monotonic() + 20
    while (answer := requests.get(url, timeout=10)).status_code == 404:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    version = {"If-Match": answer.headers["ETag"]}
    assert requests.get(url, headers=version, timeout=10).content == b"123456789"

    # when it changes
    call.firecrest.fault(action, method="GET", path_regex="^/s3/")

    # then it is no more of that version
    assert requests.get(url, headers=version, timeout=10).status_code == 412
    assert requests.get(url, timeout=10).content == content
