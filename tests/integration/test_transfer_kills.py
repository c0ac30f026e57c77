"""A transfer whose worker is told to stop does so within the seconds it is given, and leaves nothing.

Airflow calls ``on_kill`` on SIGTERM and sends SIGKILL five seconds later. The witnesses are the scheduler's
own list and the directories on disk.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, until

SIZE = 6 << 20
BUDGET = 5.0


class Running:
    """A task that runs in a thread of its own, as beside a signal handler."""

    def __init__(self, task: Any) -> None:
        self.task, self.error = task, None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            # One more try would follow: a kill leaves nothing all the same.
            self.task.execute({"ti": TaskInstance(max_tries=3)})
        except BaseException as error:
            self.error = error

    def kill(self) -> float:
        """Kill the task; the seconds until its handler has returned and it has ended."""
        began = time.monotonic()
        self.task.on_kill()
        handled = time.monotonic() - began
        self._thread.join(30.0)
        assert not self._thread.is_alive()
        assert handled < BUDGET
        return time.monotonic() - began


def task(kind: Any, source: Path, target: Path) -> Any:
    return kind(
        task_id="simulate",
        source_path=str(source),
        target_path=str(target),
        poll_interval=0.2,
        deferrable=False,
    )


def states(firecrest: FirecrestForTest) -> list[str]:
    return [str(job["state"]).split()[0] for job in firecrest.new_jobs()]


def asked(firecrest: FirecrestForTest, method: str) -> bool:
    """Whether the object store has been asked; the fault in force keeps it from answering."""
    return any(fault["used"] for fault in firecrest.faults() if fault["method"] == method)


def test_an_upload_stops_in_the_middle_of_a_part_and_its_job_is_cancelled(
    firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source, target = tmp_path / "data.bin", firecrest.directory / "data.bin"
    source.write_bytes(b"x" * SIZE)
    firecrest.fault("delay", method="PUT", path_regex="^/s3/", times=0, delay_s=60)
    running = Running(task(FirecrestUploadOperator, source, target))
    until(lambda: asked(firecrest, "PUT"))

    seconds = running.kill()

    assert seconds < BUDGET
    assert isinstance(running.error, AirflowException)
    until(lambda: states(firecrest) == ["CANCELLED"], 5.0)
    assert list(firecrest.directory.iterdir()) == []


def test_a_download_stops_in_the_middle_and_leaves_no_file(
    firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    source, target = firecrest.directory / "data.bin", tmp_path / "data.bin"
    source.write_bytes(b"x" * SIZE)
    firecrest.fault("stall", method="GET", path_regex="^/s3/", times=0, delay_s=60)
    running = Running(task(FirecrestDownloadOperator, source, target))
    until(lambda: asked(firecrest, "GET"))
    until(lambda: [each for each in tmp_path.iterdir() if each.stat().st_size])

    seconds = running.kill()

    assert seconds < BUDGET
    assert isinstance(running.error, AirflowException)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [FirecrestUploadOperator, FirecrestDownloadOperator])
def test_a_transfer_that_waits_for_its_job_is_cancelled_with_it(
    firecrest: FirecrestForTest, tmp_path: Path, kind: Any
) -> None:
    here, there = tmp_path / "data.bin", firecrest.directory / "data.bin"
    source, target = (here, there) if kind is FirecrestUploadOperator else (there, here)
    source.write_bytes(b"x" * SIZE)
    firecrest.fault("stale_running", path_regex="/jobs", times=0)
    running = Running(task(kind, source, target))
    until(lambda: running.task._running is not None and "submitted_at" in running.task._running)

    running.task.on_kill()

    job_id = firecrest.new_jobs()[0]["id"]
    assert any(
        each["method"] == "DELETE" and each["path"].endswith(f"/jobs/{job_id}")
        for each in firecrest.requests()
    )
    firecrest.clear_faults()
    running._thread.join(30.0)
    # Not as a transfer that failed: the job was cancelled because of the kill.
    assert str(running.error) == f"The task was killed while it waited for job {job_id}."
