"""The local v1 server as a process: settings, what it shares with v2, large uploads, many requests."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest
from tests.fixtures_local import FirecrestForTest

# A form's file of this size must not show in the server's memory.
_LARGE = 200 * 1024 * 1024


class Caller:
    """Requests to v1 as the usual user."""

    def __init__(self, server: LocalFirecrest) -> None:
        self.server = server
        self._headers = {"Authorization": f"Bearer {server.mint_token()}", "X-Machine-Name": server.system}

    def __call__(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = self.server.base_url_v1 + path
        return requests.request(method, url, headers=self._headers, timeout=30, **arguments)

    def task(self, task_id: str, *until: str) -> dict[str, Any]:
        """A task once it is at one of these statuses."""
        deadline = time.monotonic() + 30
        while (task := self("GET", f"/tasks/{task_id}").json()["task"])["status"] not in until:
            assert time.monotonic() < deadline, task
            time.sleep(0.01)
        return dict(task)

    def done(self, response: requests.Response) -> dict[str, Any]:
        """The finished task an answer names."""
        return self.task(response.json()["task_id"], "200", "400", "114", "117", "118")


@pytest.fixture
def call(firecrest: FirecrestForTest) -> Iterator[Caller]:
    settings = firecrest.control("GET", "v1")
    firecrest.control("PUT", "v1", {"polling_interval": 0.1})
    yield Caller(firecrest.server)
    firecrest.control("PUT", "v1", settings)


@pytest.mark.parametrize(
    ("there", "lands"),
    [("nothing", "b"), ("file", "b"), ("link to a file", "b"), ("directory", "b/a"), ("link to one", "d/a")],
)
def test_a_rename_does_what_mv_force_does(
    there: str, lands: str, firecrest: FirecrestForTest, call: Caller
) -> None:
    """The command that the real server runs (utilities.py of FirecREST 1.16): it replaces files and links at
    once, and moves into directories."""
    directory = firecrest.directory
    (directory / "a").write_text("new")
    (directory / "d").mkdir()
    (directory / "c").write_text("behind")
    made = {
        "file": lambda path: path.write_text("old"),
        "link to a file": lambda path: path.symlink_to("c"),
        "directory": Path.mkdir,
        "link to one": lambda path: path.symlink_to("d"),
    }
    if there in made:
        made[there](directory / "b")  # type: ignore[no-untyped-call]

    form = {"sourcePath": str(directory / "a"), "targetPath": str(directory / "b")}
    answer = call("PUT", "/utilities/rename", data=form)

    assert answer.status_code == 200
    assert (directory / lands).read_text() == "new"
    assert (directory / "b").is_symlink() == (there == "link to one")
    assert (directory / "c").read_text() == "behind"
    assert not (directory / "a").exists()


def test_ready_server_tells_where_v1_is(firecrest: FirecrestForTest) -> None:
    assert firecrest.base_url_v1 == firecrest.base_url.removesuffix("/v2") + "/v1"


def test_settings_of_the_command_line_reach_v1() -> None:
    with LocalFirecrest(v1_polling_interval=0.7, v1_acct_lag=0.9) as server:
        settings = server.control("GET", "v1")

    assert (settings["polling_interval"], settings["acct_lag"]) == (0.7, 0.9)


def test_a_job_submitted_through_one_generation_is_seen_through_the_other(call: Caller) -> None:
    call.server.control("PUT", "v1", {"acct_lag": 0})
    script = b"#!/bin/bash\n#SBATCH -J both\nsleep 100\n"
    job_id = call.done(call("POST", "/compute/jobs/upload", files={"file": ("j.sh", script)}))["data"][
        "jobid"
    ]

    headers = {"Authorization": f"Bearer {call.server.mint_token()}"}
    url = f"{call.server.base_url}/compute/cluster/jobs/{job_id}"
    v2 = requests.get(url, headers=headers, timeout=20).json()["jobs"][0]
    v1 = call.done(call("GET", "/compute/acct", params={"jobs": job_id}))["data"][0]
    requests.delete(url, headers=headers, timeout=20)

    assert (v2["name"], v1["name"]) == ("both", "both")
    assert v1["jobid"] == job_id


def test_a_reservation_made_through_v1_shows_in_v2(call: Caller) -> None:
    form = {
        "reservation": "shared-rsv",
        "account": "project",
        "numberOfNodes": "1",
        "nodeType": "f7t",
        "starttime": "2999-01-01T00:00:00",
        "endtime": "2999-01-01T01:00:00",
    }
    assert call("POST", "/reservations", data=form).status_code == 201
    headers = {"Authorization": f"Bearer {call.server.mint_token()}"}
    url = f"{call.server.base_url}/status/cluster/reservations"

    shown = requests.get(url, headers=headers, timeout=20).json()["reservations"]

    assert call("DELETE", "/reservations/shared-rsv").status_code == 204
    assert [reservation["name"] for reservation in shown] == ["shared-rsv"]
    assert requests.get(url, headers=headers, timeout=20).json()["reservations"] == []


def _memory(pid: int) -> int:
    """Peak resident memory of a process, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc")
@pytest.mark.skipif(shutil.which("curl") is None, reason="sends the form with curl, which is not installed")
def test_a_large_form_costs_no_memory(tmp_path: Path) -> None:
    source = tmp_path / "large.bin"
    with source.open("wb") as file:
        file.truncate(_LARGE)
        file.write(b"an end of its own")
    with LocalFirecrest(v1_polling_interval=0.1) as server:
        call = Caller(server)
        form = {"sourcePath": str(source), "targetPath": str(server.home)}
        task_id = call("POST", "/storage/xfer-external/upload", data=form).json()["task_id"]
        parameters = call.task(task_id, "111")["data"]["msg"]["parameters"]
        before = _memory(server.pid)

        # With curl, as the task says: `requests` would read the whole file first.
        fields = [word for item in parameters["data"].items() for word in ("-F", "=".join(item))]
        command = ["curl", "-sf", parameters["url"], *fields, "-F", f"file=@{source}"]
        subprocess.run(command, check=True, timeout=120)
        task = call.task(task_id, "114", "115", "400")

        assert task["status"] == "114"
        assert _memory(server.pid) - before < 30 * 1024
        assert _digest(server.home / "large.bin") == _digest(source)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_many_requests_at_once_are_all_answered(call: Caller) -> None:
    def ask(_number: int) -> str:
        return str(call.done(call("GET", "/compute/acct"))["status"])

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(ask, range(100)))

    assert statuses == ["200"] * 100


def test_polls_of_a_task_are_counted_like_all_requests(firecrest: FirecrestForTest, call: Caller) -> None:
    task = call.done(call("GET", "/compute/acct"))

    paths = [request["path"] for request in firecrest.requests()]

    assert f"/v1/tasks/{task['task_id']}" in paths
    assert "/v1/compute/acct" in paths


@pytest.mark.parametrize("action", ["lose_answer", "drop"])
def test_exchanges_of_v1_can_fail_too(firecrest: FirecrestForTest, call: Caller, action: str) -> None:
    target = str(firecrest.home / f"made-{action}")
    firecrest.fault(action, path_regex="/v1/utilities/mkdir")

    with pytest.raises(requests.ConnectionError):
        call("POST", "/utilities/mkdir", data={"targetPath": target})

    assert Path(target).exists() == (action == "lose_answer")


def test_staging_faults_are_used_up(firecrest: FirecrestForTest, call: Caller) -> None:
    source = firecrest.directory / "f"
    source.write_text("x")
    firecrest.fault("staging_fails", path_regex="download", status=500)

    form = {"sourcePath": str(source)}
    first = call.done(call("POST", "/storage/xfer-external/download", data=form))
    second = call.done(call("POST", "/storage/xfer-external/download", data=form))

    assert (first["status"], second["status"]) == ("118", "117")
    assert "error: 500" in first["data"]["error"]
