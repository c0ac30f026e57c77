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
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, until
from tests.integration.test_submit_job import SLEEPER, scheduled, submit


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

    with signalled(lambda: task._submission, kill), pytest.raises(AirflowException, match="CANCELLED"):
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
