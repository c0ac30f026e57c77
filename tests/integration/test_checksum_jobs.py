"""The batch job that computes a digest ends with the task that waits for it, however that ends.

The witness is the scheduler's own list. A kill comes as in a worker: in a signal handler of the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout

from airflow_provider_firecrest.client.transfers import checksum_job
from airflow_provider_firecrest.operators import _checksums
from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from tests.client.transferring import client_of, written
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, until
from tests.integration.test_kills_while_submitting import Gone, signalled
from tests.integration.test_transfers import occupied

BOTH = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum_job, "_LOOK_EVERY", 0.2)


def checksums_time_out(firecrest: FirecrestForTest) -> None:
    """As for every large file."""
    old = firecrest.generation == 1
    words = "Command has finished with timeout signal" if old else "Command execution timeout limit exceeded."
    firecrest.fault(
        "status",
        path_regex="/checksum$",
        times=0,
        status=400 if old else 408,
        headers={"X-Timeout": words} if old else {},
        body={"error": words} if old else {"errorType": "error", "message": words},
    )


def states(firecrest: FirecrestForTest, name: str = "firecrest-sha256-af") -> list[str]:
    jobs = [job for job in firecrest.new_jobs() if str(job["name"]).startswith(name)]
    return [str(job["state"]).split()[0] for job in jobs]


@contextmanager
def killed_when(
    when: Callable[[], object], task: Any, firecrest: FirecrestForTest, **named: str
) -> Iterator[None]:
    """Kill the task as Airflow does: ``on_kill`` in the signal handler, then SIGKILL.

    The job must be over before the handler returns: what the task itself would do afterwards counts for
    nothing.
    """

    def kill() -> None:
        task.on_kill()
        until(lambda: states(firecrest, **named) == ["CANCELLED"])
        assert logs(firecrest) == []
        raise Gone

    with pytest.raises(Gone), signalled(when, kill):
        yield


def logs(firecrest: FirecrestForTest) -> list[Path]:
    return list(firecrest.scratch.rglob(".firecrest-sha256-*"))


def of_a_pipe(firecrest: FirecrestForTest, **arguments: Any) -> FirecrestFilesystemOperator:
    """A digest whose job never ends by itself: nobody writes into the pipe."""
    pipe = firecrest.directory / "pipe"
    os.mkfifo(pipe)
    return FirecrestFilesystemOperator(task_id="simulate", operation="checksum", path=str(pipe), **arguments)


def upload(firecrest: FirecrestForTest, tmp_path: Path, **arguments: Any) -> FirecrestUploadOperator:
    return FirecrestUploadOperator(
        task_id="simulate",
        source_path=str(written(tmp_path / "f", 1000)),
        target_path=str(firecrest.directory / "f"),
        **arguments,
    )


def download(firecrest: FirecrestForTest, tmp_path: Path, **arguments: Any) -> FirecrestDownloadOperator:
    return FirecrestDownloadOperator(
        task_id="simulate",
        source_path=str(written(firecrest.directory / "f", 1000)),
        target_path=str(tmp_path / "f"),
        **arguments,
    )


def context() -> Any:
    return {"ti": TaskInstance()}


@BOTH
def test_a_kill_cancels_the_running_job_of_a_small_operation(firecrest: FirecrestForTest) -> None:
    checksums_time_out(firecrest)
    task = of_a_pipe(firecrest)

    with killed_when(lambda: states(firecrest) == ["RUNNING"], task, firecrest):
        task.execute(context())


@BOTH
@pytest.mark.parametrize("make", [upload, download], ids=["upload", "download"])
def test_a_kill_cancels_the_waiting_job_of_a_transfer(
    make: Callable[..., Any], firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    checksums_time_out(firecrest)
    occupied(firecrest)
    task = make(firecrest, tmp_path, deferrable=False)

    with killed_when(lambda: states(firecrest) == ["PENDING"], task, firecrest):
        task.execute(context())


_WORKER = """
import signal, sys, warnings
warnings.simplefilter("ignore")
from airflow_provider_firecrest.operators.filesystem import FirecrestFilesystemOperator
from tests.integration.conftest import TaskInstance
task = FirecrestFilesystemOperator(task_id="simulate", operation="checksum", path=sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
task.execute({"ti": TaskInstance()})
"""


def test_sigterm_and_five_seconds_later_sigkill_leave_no_job(firecrest: FirecrestForTest) -> None:
    """What Airflow's supervisor sends to the process of a task that is to end."""
    checksums_time_out(firecrest)
    pipe = of_a_pipe(firecrest).path
    with subprocess.Popen([sys.executable, "-c", _WORKER, pipe], env={**os.environ}) as worker:
        try:
            until(lambda: states(firecrest) == ["RUNNING"], 60.0)
            worker.terminate()
            with suppress(subprocess.TimeoutExpired):
                worker.wait(5.0)
        finally:
            worker.kill()

    until(lambda: states(firecrest) == ["CANCELLED"])
    assert logs(firecrest) == []


@BOTH
@pytest.mark.parametrize("found", [True, False], ids=["found by its name", "known by its answer"])
def test_a_kill_while_the_job_is_being_submitted_cancels_it_once_it_is_there(
    found: bool, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not found:
        monkeypatch.setattr(_checksums, "_LOOK_FOR", 0.0)
    checksums_time_out(firecrest)
    firecrest.fault("delay", method="POST", path_regex=firecrest.urls.submit, delay_s=1.0)
    task = of_a_pipe(firecrest, execution_timeout=timedelta(seconds=15))

    with (
        signalled(lambda: task._checksum_job, task.on_kill),
        pytest.raises(AirflowException, match="CANCELLED"),
    ):
        task.execute(context())

    assert states(firecrest) == ["CANCELLED"]


@BOTH
def test_the_end_of_the_tasks_time_cancels_the_job(firecrest: FirecrestForTest) -> None:
    checksums_time_out(firecrest)
    task = of_a_pipe(firecrest, execution_timeout=timedelta(seconds=2))

    with pytest.raises(AirflowTaskTimeout, match="execution_timeout is over"):
        task.execute(context())

    assert states(firecrest) == ["CANCELLED"]
    assert logs(firecrest) == []


def test_without_a_time_the_job_is_cancelled_after_the_longest_wait(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksum_job, "LONGEST_WAIT", 1.0)
    checksums_time_out(firecrest)

    with pytest.raises(AirflowException, match="is not known in time"):
        of_a_pipe(firecrest).execute(context())

    assert states(firecrest) == ["CANCELLED"]


def test_airflows_own_alarm_cancels_the_job(firecrest: FirecrestForTest) -> None:
    checksums_time_out(firecrest)

    def ring() -> None:
        raise AirflowTaskTimeout("Timeout")

    with signalled(lambda: states(firecrest) == ["RUNNING"], ring), pytest.raises(AirflowTaskTimeout):
        of_a_pipe(firecrest).execute(context())

    assert states(firecrest) == ["CANCELLED"]
    assert logs(firecrest) == []


@BOTH
def test_a_job_whose_submit_was_not_answered_is_found_and_not_submitted_again(
    firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    checksums_time_out(firecrest)
    firecrest.fault("lose_answer", method="POST", path_regex=firecrest.urls.submit)

    result = upload(firecrest, tmp_path, deferrable=False).execute(context())

    assert states(firecrest) == ["COMPLETED"]
    assert result["target"] == str(firecrest.directory / "f")
    assert logs(firecrest) == []


def test_a_submit_that_never_arrived_is_repeated(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksum_job, "_FOUND_WITHIN", 0.5)
    firecrest.fault("drop", method="POST", path_regex=firecrest.urls.submit)
    path = written(firecrest.directory / "f", 10)

    with client_of(firecrest) as client:
        digest = checksum_job.sha256_by_job(
            client, str(path), firecrest.system, None, read=lambda *_, **__: f"{'0' * 64}  f"
        )

    assert digest == "0" * 64
    assert states(firecrest) == ["COMPLETED"]


def test_a_kill_cancels_the_job_of_a_rename(firecrest: FirecrestForTest, tmp_path: Path) -> None:
    """Only FirecREST v2 takes a job for it."""
    occupied(firecrest)
    (firecrest.directory / "f").write_text("x")
    task = FirecrestFilesystemOperator(
        task_id="simulate",
        operation="rename",
        path=str(firecrest.directory / "f"),
        arguments={"target_path": str(firecrest.directory / "g")},
    )

    with killed_when(lambda: states(firecrest, name="MoveFiles"), task, firecrest, name="MoveFiles"):
        task.execute(context())

    assert (firecrest.directory / "f").exists()
