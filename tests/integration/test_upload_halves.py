"""FirecREST v2: whoever ends the job of an upload while it writes, no half and no piece of it stays, and
nobody's file is touched.

The witnesses are the files on disk and the scheduler's own list.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_firecrest.client.errors import TransferFailedError
from airflow_provider_firecrest.client.transfers import cancel_staged, plan_upload, stage_upload
from airflow_provider_firecrest.triggers.jobs import FirecrestJobTrigger
from tests.client.transferring import client_of
from tests.integration.conftest import TaskInstance, first_event, run_task, until
from tests.integration.halves import Made, Upload, cancel_newest
from tests.integration.halves import firecrest_server as firecrest_server
from tests.integration.halves import make as make

FOREIGN = b"somebody else's"
BUDGET = 5.0
POLICIES = pytest.mark.parametrize("if_exists", ["fail", "overwrite"])

pytestmark = pytest.mark.generation(2, reason="only FirecREST v2 writes a staged upload in place")


def resumed(upload: Upload, event: dict[str, Any]) -> Any:
    return upload.operator().resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})


def in_a_thread(task: Any) -> Callable[[], BaseException | None]:
    """Run a task beside its signal handler; wait for its end with what is returned, which tells its error."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            task.execute({"ti": TaskInstance()})
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended() -> BaseException | None:
        thread.join(30.0)
        assert not thread.is_alive()
        return errors[0] if errors else None

    return ended


def killed(upload: Upload) -> FirecrestJobTrigger:
    """Defer a task, and kill it in the middle of its job's writing; its trigger."""
    trigger = upload.deferred()
    upload.in_the_middle()
    asyncio.run(trigger.on_kill())
    assert upload.is_clean()
    return trigger


# Before a byte moves


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_file_that_a_piece_would_overwrite_is_kept_and_named(make: Made, number: int) -> None:
    upload = make()
    upload.piece(number).write_bytes(FOREIGN)

    with pytest.raises(AirflowFailException, match=rf"data\.bin\.{number} in .* would be lost.*atomic=True"):
        run_task(upload.operator)

    assert upload.piece(number).read_bytes() == FOREIGN
    assert not upload.target.exists()
    until(lambda: upload.states() == ["CANCELLED"])
    assert not [each for each in upload.firecrest.requests() if each["part"]]


def test_names_that_only_look_like_pieces_refuse_nothing(make: Made) -> None:
    upload = make()

    run_task(upload.operator)

    assert upload.is_done()


# In the middle of writing


@POLICIES
def test_a_killed_worker_leaves_no_half(make: Made, if_exists: str) -> None:
    upload = make(if_exists=if_exists, deferrable=False)
    upload.hold()
    task = upload.operator()
    ended = in_a_thread(task)
    upload.in_the_middle()
    # The job begins while the task is still told that the object is whole.
    until(lambda: "staged" in (task._running or {}))

    began = time.monotonic()
    task.on_kill()
    seconds = time.monotonic() - began

    assert seconds < BUDGET
    until(upload.is_clean)
    assert isinstance(ended(), AirflowException)
    assert upload.is_clean()
    assert upload.states() == ["CANCELLED"]


def test_a_worker_killed_before_it_knows_that_the_object_is_whole_leaves_no_half(make: Made) -> None:
    """The store has the object, and the job writes; the answer that says so is late."""
    upload = make(deferrable=False)
    upload.hold()
    upload.firecrest.fault("lose_answer", method="POST", path_regex="^/s3/", times=0, delay_s=60)
    task = upload.operator()
    ended = in_a_thread(task)
    upload.in_the_middle()

    task.on_kill()

    until(upload.is_clean)
    assert isinstance(ended(), AirflowException)
    assert upload.states() == ["CANCELLED"]


@POLICIES
def test_a_deferred_task_that_a_user_kills_leaves_no_half(make: Made, if_exists: str) -> None:
    upload = make(if_exists=if_exists)
    upload.hold()
    trigger = upload.deferred()
    upload.in_the_middle()

    asyncio.run(trigger.on_kill())

    assert upload.is_clean()
    assert upload.states() == ["CANCELLED"]


@POLICIES
def test_a_deadline_in_the_middle_leaves_no_half(make: Made, if_exists: str) -> None:
    upload = make(if_exists=if_exists, execution_timeout=timedelta(hours=1))
    upload.hold()
    trigger = upload.deferred()
    upload.in_the_middle()
    trigger.deadline = time.time()

    with pytest.raises(AirflowTaskTimeout):
        resumed(upload, first_event(trigger))

    assert upload.is_clean()
    assert upload.states() == ["CANCELLED"]


@POLICIES
def test_a_job_that_somebody_else_cancels_in_the_middle_leaves_no_half(make: Made, if_exists: str) -> None:
    upload = make(if_exists=if_exists)
    upload.hold()
    trigger = upload.deferred()
    upload.in_the_middle()
    cancel_newest(upload.firecrest)

    with pytest.raises(AirflowException, match="CANCELLED"):
        resumed(upload, first_event(trigger))

    assert upload.is_clean()


def test_a_job_that_fails_in_the_middle_leaves_no_half(make: Made) -> None:
    upload = make()
    upload.hold()
    trigger = upload.deferred()
    upload.in_the_middle()
    upload.firecrest.fault("status", method="GET", path_regex="^/s3/", times=0, status=500)
    upload.firecrest.release_jobs()

    with pytest.raises(AirflowException, match="FAILED"):
        resumed(upload, first_event(trigger))

    assert upload.is_clean()
    assert upload.states() == ["FAILED"]


def test_sending_that_ends_while_the_job_writes_already_leaves_no_half(make: Made) -> None:
    upload, stop = make(), threading.Event()
    upload.hold()
    upload.firecrest.fault("lose_answer", method="POST", path_regex="^/s3/", times=0, delay_s=60)
    with client_of(upload.firecrest) as client, ThreadPoolExecutor() as threads:
        plan = plan_upload(client, upload.source, str(upload.target))
        sending = threads.submit(stage_upload, client, plan, stop=stop)
        upload.in_the_middle()
        stop.set()
        with pytest.raises(TransferFailedError):
            sending.result(30.0)

    assert upload.is_clean()
    assert upload.states() == ["CANCELLED"]


def test_a_script_that_gives_an_upload_up_leaves_no_half(make: Made) -> None:
    upload = make()
    upload.hold()
    with client_of(upload.firecrest) as client:
        staged = stage_upload(client, plan_upload(client, upload.source, str(upload.target)))
        upload.in_the_middle()

        cancel_staged(client, staged)

    assert upload.is_clean()
    assert upload.states() == ["CANCELLED"]


def test_an_upload_of_the_same_name_follows_at_once(make: Made) -> None:
    upload = make(if_exists="fail")
    upload.hold()
    killed(upload)

    run_task(upload.operator)

    assert upload.is_done()


# What must be left alone


def test_who_clears_up_late_leaves_the_file_of_the_next_upload(make: Made) -> None:
    upload = make()
    upload.hold()
    trigger = killed(upload)
    run_task(upload.operator)

    asyncio.run(trigger.on_kill())

    assert upload.is_done()


@pytest.mark.parametrize("ended", ["killed", "cancelled by somebody else"])
def test_a_job_that_never_began_to_write_costs_nobody_a_file(make: Made, ended: str) -> None:
    """To the job it looks as if the object were not there yet."""
    upload = make()
    upload.firecrest.fault("status", method="HEAD", path_regex="^/s3/", times=0, status=404)
    trigger = upload.deferred()
    until(lambda: upload.states() == ["RUNNING"])
    upload.target.write_bytes(FOREIGN)
    upload.piece(2).write_bytes(FOREIGN)

    if ended == "killed":
        asyncio.run(trigger.on_kill())
    else:
        cancel_newest(upload.firecrest)
        with pytest.raises(AirflowException, match="CANCELLED"):
            resumed(upload, first_event(trigger))

    assert upload.target.read_bytes() == upload.piece(2).read_bytes() == FOREIGN
    assert upload.states() == ["CANCELLED"]


def test_a_file_that_is_whole_when_the_kill_comes_is_kept(make: Made) -> None:
    upload = make()
    trigger = upload.deferred()
    until(lambda: upload.states() == ["COMPLETED"])

    asyncio.run(trigger.on_kill())

    assert upload.is_done()


@pytest.mark.parametrize("what", ["data.bin", "data.bin.2"])
def test_what_was_written_after_the_end_of_the_job_is_kept(
    make: Made, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    upload = make()
    upload.hold()
    trigger = upload.deferred()
    upload.in_the_middle()
    cancel_newest(upload.firecrest)
    path = upload.target.with_name(what)
    path.write_bytes(FOREIGN)
    later = time.time() + 60
    os.utime(path, (later, later))

    with caplog.at_level(logging.WARNING), pytest.raises(AirflowException):
        resumed(upload, first_event(trigger))

    assert path.read_bytes() == FOREIGN
    assert f"What is at {path} now was not written by it" in caplog.text
    path.unlink()
    assert upload.is_clean()


def test_without_the_jobs_log_everything_is_left_and_the_log_says_where(
    make: Made, caplog: pytest.LogCaptureFixture
) -> None:
    upload = make()
    upload.hold()
    trigger = upload.deferred()
    upload.in_the_middle()
    upload.firecrest.fault("status", path_regex="ops/tail$", times=0, status=403)

    with caplog.at_level(logging.ERROR):
        asyncio.run(trigger.on_kill())

    assert upload.is_half_written()
    assert f"a half of the file is at {upload.target} on cluster" in caplog.text


def test_where_its_directory_cannot_be_listed_the_half_tells_which_piece_there_is(make: Made) -> None:
    upload = make()
    upload.hold()
    upload.firecrest.fault("status", path_regex="ops/ls$", times=0, status=408)
    trigger = upload.deferred()
    upload.in_the_middle()

    asyncio.run(trigger.on_kill())

    assert upload.is_clean()
