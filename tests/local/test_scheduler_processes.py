"""No process outlives its job, its scheduler, or the server, however each of them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest.local.slurm import SbatchError
from tests.local.scheduling import LIMIT, Site, alive, eventually

# Leader, a child in its group, and one that has left group and session.
FAMILY = (
    "sleep 300 & echo $! > child; setsid sleep 300 & sleep 0.2; pgrep -n -P $$ > escaped; echo $$ > leader"
)
SERVER = """
import sys, threading
from pathlib import Path
from tests.local.scheduling import Site
site = Site(Path(sys.argv[1]))
site.submit(sys.argv[2])
threading.Event().wait()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two CPUs, quick kills."""
    place = Site(tmp_path, cpus=2, kill_wait=0.3)
    yield place
    place.scheduler.close()


def _family(work: Path) -> list[int]:
    files = [work / name for name in ("leader", "child", "escaped")]
    eventually(lambda: all(f.exists() and f.read_text().endswith("\n") for f in files), "the job's processes")
    return [int(file.read_text().split()[0]) for file in files]


def _all_gone(pids: list[int]) -> None:
    eventually(lambda: not any(alive(pid) for pid in pids), f"end of {pids}")


def test_what_a_job_leaves_running_ends_with_it(site: Site) -> None:
    site.run("sleep 300 & echo $! > child")
    _all_gone([int((site.work / "child").read_text())])


def test_cancelling_ends_the_whole_process_group(site: Site) -> None:
    job_id = site.submit("(trap '' TERM; sleep 300) & echo $! > child; sleep 300 & echo $! > other; wait")
    site.wait_file("other")
    pids = [int((site.work / name).read_text()) for name in ("child", "other")]
    site.scheduler.cancel(job_id, user="fireuser")
    site.wait(job_id)
    _all_gone(pids)


def test_closing_the_scheduler_kills_every_process_and_is_quick(site: Site) -> None:
    site.submit(f"trap '' TERM; {FAMILY}; wait")
    pids = _family(site.work)
    assert all(alive(pid) for pid in pids)
    site.scheduler.close()
    assert [pid for pid in pids if alive(pid)] == []
    site.scheduler.close()  # twice is allowed
    with pytest.raises(SbatchError, match="Unable to contact slurm controller"):
        site.submit("true")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_server_is_killed_its_jobs_die_too(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path), f"{FAMILY}; wait"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ}) as server:
        try:
            pids = _family(tmp_path / "work")
            assert all(alive(pid) for pid in pids)
        finally:
            server.send_signal(number)
            server.wait(LIMIT)
    _all_gone(pids)


def test_a_lost_node_fails_its_jobs_and_the_next_ones_get_a_new_one(site: Site) -> None:
    job_id = site.submit("echo $$ > leader; exec sleep 300")
    pid = int(site.wait_file("leader"))
    node = site.scheduler.read(lambda _registry, runner: runner.node_pid)
    os.kill(node, signal.SIGKILL)
    site.wait(job_id)
    assert site.task(job_id)["state"] == "NODE_FAIL"
    _all_gone([pid])
    assert site.run("true")["state"] == "COMPLETED"


def test_finished_jobs_leave_no_private_files(site: Site) -> None:
    site.run("srun true")
    jobs = site.work.parent / "state" / "jobs"
    assert list(jobs.iterdir()) == []
