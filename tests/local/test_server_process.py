"""The local server as a process: how it starts, what it says, that nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest, LocalFirecrestError

COMMAND = [sys.executable, "-m", "airflow_provider_firecrest.local"]


def _until(condition: Callable[[], bool], what: str, limit: float = 20) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _submit(server: LocalFirecrest, script: str) -> str:
    headers = {"Authorization": f"Bearer {server.mint_token()}"}
    job = {"script": script, "workingDirectory": str(server.scratch)}
    url = f"{server.base_url}/compute/cluster/jobs"
    answer = requests.post(url, json={"job": job}, headers=headers, timeout=10)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobId"])


def _running_pids(server: LocalFirecrest) -> list[int]:
    return [pid for job in server.jobs() if job["state"] == "RUNNING" for pid in job["pids"]]


def test_command_prints_what_a_user_needs(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [*COMMAND, "--ready-file", str(ready)], stdout=subprocess.PIPE, text=True
    ) as server:
        _until(ready.exists, "ready file")
        described = json.loads(ready.read_text())
        server.send_signal(signal.SIGINT)
        printed, _ = server.communicate(timeout=20)

    assert server.returncode == 0
    for key in ("base_url", "token_url", "client_id", "client_secret", "system", "scratch", "home"):
        assert described[key] in printed
    line = next(line for line in printed.splitlines() if line.startswith("export "))
    connection = json.loads(line.removeprefix("export AIRFLOW_CONN_FIRECREST_DEFAULT='").removesuffix("'"))
    assert connection["conn_type"] == "firecrest"
    assert connection["host"] == described["base_url"]
    assert connection["extra"]["auth_url"] == described["token_url"]
    assert stat.S_IMODE(ready.stat().st_mode) == 0o600


def test_a_taken_port_is_one_line_and_exit_code_1(firecrest_server: LocalFirecrest) -> None:
    port = firecrest_server.base_url.rpartition(":")[2].partition("/")[0]

    ended = subprocess.run(
        [*COMMAND, "--port", port], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("cannot start: ")
    assert len(ended.stderr.splitlines()) == 1


def test_server_that_cannot_start_says_why(firecrest_server: LocalFirecrest) -> None:
    port = int(firecrest_server.base_url.rpartition(":")[2].partition("/")[0])

    with pytest.raises(LocalFirecrestError, match="cannot start"):
        LocalFirecrest(port=port).start()


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="unknown setting colour; known are"):
        LocalFirecrest(colour="red")


def test_end_of_the_server_is_the_end_of_its_jobs_and_its_directory() -> None:
    with LocalFirecrest() as server:
        _submit(server, "#!/bin/bash\nsleep 600 & sleep 600\n")
        _until(lambda: bool(_running_pids(server)), "the job runs")
        pids, root = _running_pids(server), server.root

    _until(lambda: not any(map(_alive, pids)), "processes are gone")
    assert not root.exists()


def test_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    described = tmp_path / "described.json"
    script = (
        "import json, os, signal\n"
        "from airflow_provider_firecrest.local import LocalFirecrest\n"
        "server = LocalFirecrest(); server.start()\n"
        f"open({str(described)!r}, 'w').write(json.dumps([server.pid, str(server.root)]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    subprocess.run([sys.executable, "-c", script], timeout=60, check=False)

    pid, root = json.loads(described.read_text())
    _until(lambda: not _alive(pid), "the server is gone")
    assert not Path(root).exists()


def test_a_root_of_the_users_own_stays(tmp_path: Path) -> None:
    with LocalFirecrest(root=tmp_path) as server:
        (server.scratch / "kept").write_text("x")
        assert server.scratch == tmp_path / "scratch" / "fireuser"

    assert (tmp_path / "scratch" / "fireuser" / "kept").read_text() == "x"
    with LocalFirecrest(root=tmp_path) as again:
        assert (again.scratch / "kept").exists()


def test_two_servers_do_not_meet() -> None:
    with LocalFirecrest() as first, LocalFirecrest() as second:
        assert first.base_url != second.base_url
        assert first.root != second.root
        assert first.client_secret != second.client_secret


def test_jobs_do_not_see_the_servers_secrets() -> None:
    with LocalFirecrest(client_secret="open-sesame") as server:
        _submit(server, "#!/bin/bash\nenv; tr '\\0' '\\n' < /proc/$PPID/environ\n")
        _until(lambda: server.jobs()[-1]["state"] == "COMPLETED", "the job ends")
        output = "".join(path.read_text() for path in server.scratch.glob("slurm-*.out"))

    assert "PATH=" in output
    assert "open-sesame" not in output


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's permissions are the kernel's affair anyway")
def test_a_job_of_a_server_run_by_root_is_not_almighty(firecrest_server: LocalFirecrest) -> None:
    closed = firecrest_server.root / "scratch" / "otheruser"
    before = len(firecrest_server.jobs())

    _submit(firecrest_server, f"#!/bin/bash\nls {closed} || touch {closed}/x || exit 7\n")

    _until(lambda: firecrest_server.jobs()[before]["state"] == "FAILED", "the job fails")
    assert firecrest_server.jobs()[before]["exit_code"] == 7


def test_small_requests_are_answered_while_large_ones_run(firecrest_server: LocalFirecrest) -> None:
    headers = {"Authorization": f"Bearer {firecrest_server.mint_token()}"}
    params = {"path": str(firecrest_server.scratch)}
    slow = f"{firecrest_server.base_url}/filesystem/cluster/ops/upload"

    def empty_upload(number: int) -> int:
        files = {"file": (f"empty{number}", b"")}
        return requests.post(slow, params=params, files=files, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        hanging = [pool.submit(empty_upload, number) for number in range(8)]
        began = time.monotonic()
        answer = requests.get(f"{firecrest_server.base_url}/status/systems", headers=headers, timeout=10)
        elapsed = time.monotonic() - began

        assert answer.status_code == 200
        # The large ones hold theirs for the two seconds of ops_timeout.
        assert elapsed < 1.8
        assert [future.result() for future in hanging] == [408] * 8
