"""Faults that change what is said of jobs, what bytes arrive, and how long tokens live."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrestError
from tests.fixtures_local import FirecrestForTest

SCRIPT = "#!/bin/bash\ntrue\n"


class Cluster:
    """Requests about jobs to both generations."""

    def __init__(self, firecrest: FirecrestForTest) -> None:
        self.firecrest = firecrest
        self.headers = {"Authorization": f"Bearer {firecrest.mint_token()}", "X-Machine-Name": "cluster"}

    def submit(self) -> str:
        job = {"script": SCRIPT, "workingDirectory": str(self.firecrest.directory), "name": "lied-about"}
        url = f"{self.firecrest.base_url}/compute/cluster/jobs"
        return str(requests.post(url, json={"job": job}, headers=self.headers, timeout=10).json()["jobId"])

    def ended(self) -> str:
        job_id = self.submit()
        deadline = time.monotonic() + 20
        while next(job for job in self.firecrest.jobs() if job["id"] == job_id)["state"] != "COMPLETED":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return job_id

    def get(self, path: str) -> requests.Response:
        url = f"{self.firecrest.base_url}/compute/cluster/jobs{path}"
        return requests.get(url, headers=self.headers, timeout=10)

    def listed(self) -> dict[str, str]:
        return {job["jobId"]: job["status"]["state"] for job in self.get("").json()["jobs"]}

    def v1_acct(self, job_id: str) -> list[dict[str, Any]]:
        url = self.firecrest.base_url_v1
        answer = requests.get(f"{url}/compute/acct?jobs={job_id}", headers=self.headers, timeout=10)
        task = answer.json()["task_id"]
        deadline = time.monotonic() + 10
        while True:
            found = requests.get(f"{url}/tasks/{task}", headers=self.headers, timeout=10).json()["task"]
            if found["status"] == "200":
                return list(found["data"])
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


@pytest.fixture
def cluster(firecrest: FirecrestForTest) -> Cluster:
    return Cluster(firecrest)


def test_a_hidden_job_is_unknown_by_id_and_missing_from_the_list(cluster: Cluster) -> None:
    older, job_id = cluster.ended(), cluster.ended()
    cluster.firecrest.fault("hide_job", times=0, delay_s=0.0)
    assert cluster.listed() == {}
    assert (cluster.get(f"/{job_id}").status_code, cluster.get(f"/{older}").status_code) == (404, 404)
    cluster.firecrest.clear_faults()
    assert {older, job_id} <= set(cluster.listed())


def test_a_job_comes_out_of_hiding_when_its_time_is_over(cluster: Cluster) -> None:
    cluster.firecrest.fault("hide_job", times=0, delay_s=1.0)
    job_id = cluster.submit()
    submitted = time.monotonic()
    assert cluster.get(f"/{job_id}").status_code == 404
    while cluster.get(f"/{job_id}").status_code == 404:
        assert time.monotonic() - submitted < 10
        time.sleep(0.05)
    assert time.monotonic() - submitted > 0.8


def test_a_job_can_be_missing_from_lists_only(cluster: Cluster) -> None:
    job_id = cluster.ended()
    cluster.firecrest.fault("hide_job", times=0, path_regex="/jobs$")
    assert job_id not in cluster.listed()
    assert cluster.get(f"/{job_id}").json()["jobs"][0]["jobId"] == job_id


def test_an_ended_job_is_shown_running_for_a_while(cluster: Cluster) -> None:
    cluster.firecrest.fault("stale_running", times=0, delay_s=1.0)
    job_id = cluster.ended()
    assert cluster.listed()[job_id] == "RUNNING"
    deadline = time.monotonic() + 10
    while cluster.listed()[job_id] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert cluster.listed()[job_id] == "COMPLETED"


def test_states_nobody_has_heard_of(cluster: Cluster) -> None:
    job_id = cluster.ended()
    cluster.firecrest.fault("unknown_state", body="MIGRATING")
    assert cluster.listed()[job_id] == "MIGRATING"
    assert cluster.listed()[job_id] == "COMPLETED"


def test_v1_is_lied_about_too(cluster: Cluster) -> None:
    job_id = cluster.ended()
    time.sleep(0.4)  # accounting is late on v1
    assert [row["state"] for row in cluster.v1_acct(job_id)] == ["COMPLETED"]
    cluster.firecrest.fault("stale_running", times=0)
    assert [row["state"] for row in cluster.v1_acct(job_id)] == ["RUNNING"]
    cluster.firecrest.clear_faults()
    cluster.firecrest.fault("hide_job", times=0)
    assert cluster.v1_acct(job_id) == []


def test_an_answer_after_acting_can_lie_about_it(cluster: Cluster) -> None:
    before = len(cluster.firecrest.jobs())
    page = "<html><body>Bad Gateway</body></html>"
    cluster.firecrest.fault(
        "status_after_acting",
        method="POST",
        status=502,
        headers={"content-type": "text/html"},
        body=page,
    )
    url = f"{cluster.firecrest.base_url}/compute/cluster/jobs"
    job = {"script": SCRIPT, "workingDirectory": str(cluster.firecrest.directory)}
    answer = requests.post(url, json={"job": job}, headers=cluster.headers, timeout=10)
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (502, "text/html", page)
    assert len(cluster.firecrest.jobs()) == before + 1


def test_an_answer_cut_short_is_shorter_than_it_says(cluster: Cluster) -> None:
    cluster.firecrest.fault("truncate")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        cluster.get("")
    assert cluster.get("").status_code == 200


def test_a_stalled_answer_comes_whole_but_late(cluster: Cluster) -> None:
    cluster.firecrest.fault("stall", delay_s=0.5)
    started = time.monotonic()
    assert "jobs" in cluster.get("").json()
    assert time.monotonic() - started >= 0.5


def test_one_bit_of_an_answer_is_turned(cluster: Cluster) -> None:
    right = cluster.get("/999999").content
    cluster.firecrest.fault("bit_flip")
    wrong = cluster.get("/999999").content
    differing = [(a ^ b).bit_count() for a, b in zip(right, wrong, strict=True) if a != b]
    assert differing == [1]


def test_one_bit_of_what_is_sent_is_turned(cluster: Cluster) -> None:
    firecrest = cluster.firecrest
    body = {
        "path": str(firecrest.directory / "f"),
        "transferDirectives": {"transferMethod": "s3", "fileSize": 4},
    }
    url = f"{firecrest.base_url}/filesystem/cluster/transfer/upload"
    started = requests.post(url, json=body, headers=cluster.headers, timeout=10).json()
    part = started["transferDirectives"]["partsUploadUrls"][0]
    firecrest.fault("bit_flip_upload", method="PUT", path_regex="^/s3/")
    etags = [requests.put(part, data=b"abcd", timeout=10).headers["ETag"].strip('"') for _ in range(2)]
    digests = [hashlib.md5(data, usedforsecurity=False).hexdigest() for data in (b"`bcd", b"abcd")]
    assert etags == digests
    job_id = started["transferJob"]["jobId"]
    requests.delete(
        f"{firecrest.base_url}/compute/cluster/jobs/{job_id}", headers=cluster.headers, timeout=10
    )


def test_revoked_tokens_are_refused_and_new_ones_are_not(cluster: Cluster) -> None:
    assert cluster.get("").status_code == 200
    cluster.firecrest.revoke_tokens()
    assert cluster.get("").status_code == 401
    cluster.headers["Authorization"] = f"Bearer {cluster.firecrest.mint_token()}"
    assert cluster.get("").status_code == 200


def test_tokens_can_end_earlier_than_promised(cluster: Cluster) -> None:
    cluster.firecrest.token_life(20)
    try:
        cluster.headers["Authorization"] = f"Bearer {cluster.firecrest.mint_token()}"
        assert cluster.get("").status_code == 401, "a token with less than 30 s left is refused"
    finally:
        cluster.firecrest.token_life(300)


def test_chance_is_seeded(cluster: Cluster) -> None:
    def draws(seed: int) -> list[int]:
        cluster.firecrest.fault("status", times=0, status=503, probability=0.3, seed=seed)
        answers = [cluster.get("/999999").status_code for _ in range(40)]
        cluster.firecrest.clear_faults()
        return answers

    first, again, other = draws(1), draws(1), draws(2)
    assert first == again
    assert first != other
    assert 3 < first.count(503) < 25


@pytest.mark.parametrize("wish", [{"probability": 1.5}, {"id": 7}, {"used": 1}])
def test_nonsense_is_refused(cluster: Cluster, wish: dict[str, Any]) -> None:
    with pytest.raises(LocalFirecrestError, match=r"bad probability|unknown fault keys"):
        cluster.firecrest.control("POST", "faults", {"action": "status", **wish})
