"""A kill that comes while the job is being submitted, when the task does not know its id yet.

As in a worker, ``on_kill`` runs in a signal handler of the process that submits.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_firecrest.hooks._task import KILL_BUDGET
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, until
from tests.integration.file_tasks import grow, operator
from tests.integration.test_submit_job import SLEEPER, scheduled, submit

BOTH = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])


class Gone(BaseException):
    """Airflow's SIGKILL: nothing of the task runs after it."""


@contextmanager
def signalled(when: Callable[[], object], handler: Callable[[], None]) -> Iterator[None]:
    """Run ``handler`` in a signal handler as soon as ``when`` is true."""

    def send() -> None:
        until(when)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join(20)
        signal.signal(signal.SIGUSR1, before)


def test_the_job_is_cancelled_as_soon_as_the_submit_is_answered(firecrest: FirecrestForTest) -> None:
    # given a submit that the system has not carried out when the kill comes
    firecrest.fault("delay", method="POST", path_regex=firecrest.urls.submit, delay_s=1.5)
    task = submit(firecrest, script=SLEEPER)
    killed: list[float] = []

    def kill() -> None:
        assert not scheduled(firecrest)
        started = time.monotonic()
        task.on_kill()
        killed.append(time.monotonic() - started)

    with signalled(lambda: task._submission, kill), pytest.raises(AirflowException, match="was killed"):
        task.execute({"ti": TaskInstance(run_id=firecrest.directory.name)})

    # then its job is the only one, and is cancelled
    assert [job["state"].split()[0] for job in scheduled(firecrest)] == ["CANCELLED"]
    # and the answer had the time that it needs
    assert killed[0] < KILL_BUDGET - 1


def test_a_job_whose_submit_is_not_answered_is_cancelled_by_its_name(firecrest: FirecrestForTest) -> None:
    # given a submit that was carried out, and whose answer does not come
    firecrest.fault("lose_answer", method="POST", path_regex=firecrest.urls.submit, delay_s=3)
    task = submit(firecrest, script=SLEEPER)

    def kill() -> None:
        task.on_kill()
        raise Gone

    with signalled(lambda: scheduled(firecrest), kill), pytest.raises(Gone):
        task.execute({"ti": TaskInstance(run_id=firecrest.directory.name)})

    until(lambda: [job["state"].split()[0] for job in scheduled(firecrest)] == ["CANCELLED"])


FILE_JOBS = "transfer/cp$|xfer-internal/rsync$|/jobs$"


@pytest.fixture
def full(firecrest: FirecrestForTest) -> str:
    """A job that takes every processor, so that a kill finds others waiting."""
    script = SLEEPER.replace("\n", "\n#SBATCH --ntasks=4\n", 1)
    with FirecrestHook().get_conn() as client:
        job_id: str = client.submit_job(script, working_dir=str(firecrest.directory))
    until(lambda: [job["state"] for job in firecrest.new_jobs()] == ["RUNNING"])
    return job_id


def others(firecrest: FirecrestForTest, job_id: str) -> list[str]:
    """The states of all jobs but one."""
    return [job["state"].split()[0] for job in firecrest.new_jobs() if job["id"] != job_id]


@BOTH
@pytest.mark.parametrize("answered", [True, False], ids=["answered late", "not answered"])
def test_so_is_the_job_of_a_file_operation(firecrest: FirecrestForTest, answered: bool, full: str) -> None:
    # given a submit that is carried out after the kill, or whose answer does not come
    action = "delay" if answered else "lose_answer"
    firecrest.fault(action, method="POST", path_regex=FILE_JOBS, delay_s=1.5 if answered else 3)
    source = grow(firecrest.directory / "tree")
    task = operator("rsync", f"{source}/", str(firecrest.directory / "out"))

    def kill() -> None:
        task.on_kill()
        if not answered:
            raise Gone

    def seen() -> object:
        return task._attempt and task._attempt._intent if answered else others(firecrest, full)

    with signalled(seen, kill), pytest.raises(AirflowException if answered else Gone):
        task.execute({"ti": TaskInstance()})

    until(lambda: others(firecrest, full) == ["CANCELLED"])


def test_a_file_job_with_the_servers_name_is_known_by_its_paths(
    firecrest: FirecrestForTest, full: str
) -> None:
    # given a submit that was carried out, and whose answer does not come; and another copy in the queue
    source = grow(firecrest.directory / "tree")
    firecrest.fault("lose_answer", method="POST", path_regex=FILE_JOBS, delay_s=3)
    task = operator("cp", str(source), str(firecrest.directory / "out"))
    with FirecrestHook().get_conn() as client:

        def another_begins() -> bool:
            if not others(firecrest, full):
                return False
            client.transfer_cp(str(source), str(firecrest.directory / "other"))
            return True

        def kill() -> None:
            task.on_kill()
            raise Gone

        with signalled(another_begins, kill), pytest.raises(Gone):
            task.execute({"ti": TaskInstance()})

    until(lambda: others(firecrest, full) == ["CANCELLED", "PENDING"])
