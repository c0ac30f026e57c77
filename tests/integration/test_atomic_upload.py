"""Uploads with ``atomic=True`` on FirecREST v2: the name stands for the old file until it stands for the new.

The witnesses are the files on the system's own disk, the scheduler's list and the server's requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_firecrest.client.errors import InvalidRequestError
from airflow_provider_firecrest.client.transfers import start_atomic_upload, stepwise
from airflow_provider_firecrest.client.transfers.steps import workdir
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook
from airflow_provider_firecrest.operators.transfers import FirecrestUploadOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import Run, TaskInstance, defer, first_event, revived, run_task, until
from tests.integration.test_directories import occupied, released, whole_run
from tests.integration.test_triggers import USER_ACTION, stopped_while_waiting

LIMIT = 5 << 20
"""Bytes that the test's server takes in one request."""

SMALL = b"what was sent"
LARGE = random.Random(1).randbytes(LIMIT + 1)
OLD = b"what was there before"

BOTH_MODES = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
BOTH_WAYS = pytest.mark.parametrize("content", [SMALL, LARGE], ids=["direct", "staged"])


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.transfers.proof.APPEAR_WITHIN", 0.5)
    monkeypatch.setattr(workdir, "_REPORT_WITHIN", 0.5)


class Upload:
    """One upload, the directory on the system that it goes to, and what became of it."""

    def __init__(self, firecrest: FirecrestForTest, tmp_path: Path, content: bytes, name: str) -> None:
        self.firecrest, self.content = firecrest, content
        self.source, self.target = tmp_path / "source", firecrest.directory / name
        self.source.write_bytes(content)

    def task(self, **arguments: Any) -> FirecrestUploadOperator:
        return FirecrestUploadOperator(
            **{
                "task_id": "simulate",
                "source_path": str(self.source),
                "target_path": str(self.target),
                "atomic": True,
                "poll_interval": 0.2,
                "deferrable": False,
                **arguments,
            }
        )

    def run(self, **arguments: Any) -> dict[str, Any]:
        """A whole task, through all its deferrals; the file must be there, and nothing else."""
        done, self.events = whole_run(lambda: self.task(**arguments))
        self.arrived()
        assert done.result["sha256"] == hashlib.sha256(self.content).hexdigest()
        return dict(done.result)

    def arrived(self) -> None:
        assert self.target.read_bytes() == self.content
        assert self.names() == [self.target.name]

    def names(self) -> list[str]:
        return sorted(each.name for each in self.firecrest.directory.iterdir())

    def jobs(self, name: str = "firecrest-place") -> list[str]:
        """How the jobs whose name begins so ended, oldest first."""
        jobs = [each for each in self.firecrest.new_jobs() if each["name"].startswith(name)]
        return [str(each["state"]).split()[0] for each in sorted(jobs, key=lambda job: int(job["id"]))]

    def payload(self) -> Path:
        """The file on the system, before it has its name."""
        [found] = self.firecrest.directory.glob(".firecrest-*/file")
        return found

    def as_before(self) -> None:
        """The old file is there, and nothing else but the transfer's own directory."""
        assert self.target.read_bytes() == OLD
        assert [each for each in self.names() if not each.startswith(".firecrest-")] == [self.target.name]

    def left_as_it_was(self) -> None:
        """The old file is there, and nothing else."""
        self.as_before()
        assert self.names() == [self.target.name]


@pytest.fixture
def upload_of(firecrest: FirecrestForTest, tmp_path: Path) -> Callable[..., Upload]:
    def make(content: bytes = SMALL, name: str = "data", old: bytes | None = None) -> Upload:
        upload = Upload(firecrest, tmp_path, content, name)
        if old is not None:
            upload.target.write_bytes(old)
        return upload

    return make


@pytest.fixture
def full(firecrest: FirecrestForTest) -> Iterator[set[str]]:
    """The cluster is full: jobs wait in the queue until this is `released`."""
    blocked = occupied(firecrest)
    yield blocked
    released(blocked)


def up_to_the_place_job(upload: Upload, ti: TaskInstance, **arguments: Any) -> TaskDeferred:
    """Run a task up to the deferral in which it waits for the job that gives the file its name."""
    deferral = defer(lambda: upload.task(deferrable=True, **arguments), ti)
    if "placing" in str(deferral.trigger.serialize()):
        return deferral
    return deferred_again(upload, deferral, ti, first_event(revived(deferral.trigger)), **arguments)


def deferred_again(
    upload: Upload, deferral: TaskDeferred, ti: TaskInstance, event: dict[str, Any], **arguments: Any
) -> TaskDeferred:
    """Take up a task to its next deferral."""
    task = upload.task(deferrable=True, **arguments)
    with pytest.raises(TaskDeferred) as caught:
        task.resume_execution(deferral.method_name, {"event": event}, {"ti": ti})
    return caught.value


def resumed(upload: Upload, deferral: TaskDeferred, ti: TaskInstance, **arguments: Any) -> Any:
    """Take up a deferred task, with what its trigger has to say."""
    event = first_event(revived(deferral.trigger))
    task = upload.task(deferrable=True, **arguments)
    return task.resume_execution(deferral.method_name, {"event": event}, {"ti": ti})


# The whole way


@pytest.mark.parametrize(
    ("size", "deferrable", "way"),
    [
        (0, True, "direct"),
        (13, False, "direct"),
        (LIMIT, True, "direct"),
        (LIMIT + 1, False, "staged"),
        # Several parts.
        (2 * (8 << 20) + 1, True, "staged"),
    ],
)
def test_a_file_of_any_size_gets_its_name_by_one_job(
    upload_of: Callable[..., Upload], size: int, deferrable: bool, way: str
) -> None:
    upload = upload_of(random.Random(size).randbytes(size))

    result = upload.run(deferrable=deferrable)

    placed = [each for each in upload.firecrest.new_jobs() if each["name"].startswith("firecrest-")]
    assert [each["state"] for each in placed] == ["COMPLETED"]
    assert len(upload.firecrest.new_jobs()) == (1 if way == "direct" else 2)
    assert (result["way"], result["size"], result["target"]) == (way, size, str(upload.target))
    assert result["job_id"] == placed[0]["id"]
    assert len(upload.events) == (0 if not deferrable else 1 if way == "direct" else 2)
    # It has been compared by that job.
    assert not [each for each in upload.firecrest.requests() if each["path"].endswith("/ops/checksum")]


def test_the_result_has_the_keys_of_any_files_upload(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of()
    keys = list(upload.run())
    plain = run_task(lambda: upload.task(atomic=False, if_exists="overwrite")).result
    assert keys == list(plain)


@BOTH_WAYS
@pytest.mark.parametrize(
    "name", ['a "$(touch executed)`touch executed`" <&> b', "new\nline", "-dash", "ünï-日本", "p%j\\* ?"]
)
def test_names_that_no_staged_upload_can_carry_can_be_given(
    upload_of: Callable[..., Upload], content: bytes, name: str
) -> None:
    upload_of(content, name, old=OLD).run(if_exists="overwrite")


def test_a_single_quote_is_refused_before_bytes_move(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of(name="quo'te")
    with pytest.raises(AirflowFailException, match="a single quote"):
        upload.run()
    assert upload.names() == []


def test_a_server_that_carries_less_than_it_says_gets_it_through_the_object_store(
    upload_of: Callable[..., Upload],
) -> None:
    upload = upload_of(b"x" * 2000)
    upload.firecrest.fault("status", method="POST", path_regex="ops/upload", status=413)
    assert upload.run()["way"] == "staged"


def test_without_checksums_the_size_is_compared(upload_of: Callable[..., Upload], full: set[str]) -> None:
    upload, ti = upload_of(), TaskInstance()
    deferral = up_to_the_place_job(upload, ti, verify_checksum=False)
    upload.payload().write_bytes(SMALL[::-1])
    released(full)
    resumed(upload, deferral, ti, verify_checksum=False)
    assert upload.target.read_bytes() == SMALL[::-1]


def test_a_directory_as_target_gets_the_sources_name(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of(name="source")
    result = upload.run(target_path=f"{upload.firecrest.directory}/")
    assert result["target"] == str(upload.target)


def test_a_directory_goes_as_it_always_does(
    upload_of: Callable[..., Upload], firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "one").write_text("1")
    upload = upload_of(name="case")
    run_task(lambda: upload.task(source_path=str(tmp_path / "case")))
    assert (upload.target / "one").read_text() == "1"
    assert upload.jobs("firecrest-unpack") == ["COMPLETED"]


@pytest.mark.parametrize("firecrest", [1], indirect=True, ids=["v1"])
@BOTH_WAYS
def test_on_v1_an_upload_is_atomic_without_a_job(upload_of: Callable[..., Upload], content: bytes) -> None:
    upload = upload_of(content, old=OLD)
    upload.run(if_exists="overwrite", deferrable=content is LARGE)
    assert upload.firecrest.new_jobs() == []
    assert [each for each in upload.firecrest.requests() if each["path"].endswith("/utilities/rename")]


@pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])
def test_plain_python_can_do_it_too(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of(LARGE)
    with FirecrestHook().get_conn() as client:
        if upload.firecrest.generation == 1:
            with pytest.raises(InvalidRequestError, match="takes no job"):
                start_atomic_upload(client, upload.source, str(upload.target))
            assert upload.names() == []
            return
        step = start_atomic_upload(client, upload.source, str(upload.target))
        result = stepwise.run(client, step, poll_interval=0.2)
    upload.arrived()
    assert result.as_dict()["sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_the_argument_can_come_from_default_args() -> None:
    task = FirecrestUploadOperator(
        task_id="t", source_path="/s", target_path="/t", default_args={"atomic": True, "poll_interval": 7.0}
    )
    assert (task.atomic, task.poll_interval) == (True, 7.0)


# What is there meanwhile


@pytest.mark.parametrize("firecrest", [2], indirect=True, ids=["v2"])
def test_while_parts_are_sent_the_old_file_is_there_and_nothing_beside_it(
    upload_of: Callable[..., Upload],
) -> None:
    upload = upload_of(LARGE, old=OLD)
    upload.firecrest.fault("delay", method="PUT", path_regex="^/s3/", times=0, delay_s=60)
    task = upload.task(if_exists="overwrite")
    sending = threading.Thread(target=failing(lambda: task.execute({"ti": TaskInstance(max_tries=3)})))
    sending.start()
    try:
        until(lambda: any(each["used"] for each in upload.firecrest.faults()))
        upload.as_before()
        [work] = upload.firecrest.directory.glob(".firecrest-*")
        assert work.stat().st_mode & 0o777 == 0o700
    finally:
        task.on_kill()
        upload.firecrest.clear_faults()
        sending.join(30)
    assert not sending.is_alive()
    # Although another try would follow: it was killed.
    assert upload.jobs("IngressFile") == ["CANCELLED"]
    upload.left_as_it_was()


def failing(action: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        with pytest.raises(AirflowException):
            action()

    return run


@BOTH_WAYS
def test_while_the_job_waits_the_old_file_is_there_and_nothing_beside_it(
    upload_of: Callable[..., Upload], content: bytes
) -> None:
    upload, ti = upload_of(content, old=OLD), TaskInstance()
    upload.target.chmod(0o640)
    neighbour = upload.firecrest.directory / "data.1"
    neighbour.write_bytes(b"somebody's own")
    blocked: set[str] = set()
    if content is LARGE:
        deferral = defer(lambda: upload.task(deferrable=True, if_exists="overwrite"), ti)
        event = first_event(revived(deferral.trigger))
        blocked = occupied(upload.firecrest)
        deferral = deferred_again(upload, deferral, ti, event, if_exists="overwrite")
    else:
        blocked = occupied(upload.firecrest)
        deferral = up_to_the_place_job(upload, ti, if_exists="overwrite")
    try:
        assert upload.jobs() == ["PENDING"]
        assert upload.payload().read_bytes() == content
        assert upload.target.read_bytes() == OLD
        names = [each for each in upload.names() if not each.startswith(".firecrest-")]
        assert names == ["data", "data.1"]
    finally:
        released(blocked)

    resumed(upload, deferral, ti, if_exists="overwrite")

    assert neighbour.read_bytes() == b"somebody's own"
    neighbour.unlink()
    upload.arrived()
    assert upload.target.stat().st_mode & 0o777 == 0o640


# What is there already


def test_a_file_that_is_there_is_left_alone_or_accepted_without_a_job(
    upload_of: Callable[..., Upload],
) -> None:
    upload = upload_of(old=OLD)
    for if_exists, what in (("fail", "if_exists='overwrite' replaces it"), ("skip", "is another file than")):
        with pytest.raises(AirflowFailException, match=what):
            upload.run(if_exists=if_exists)
        upload.left_as_it_was()
    upload.target.write_bytes(SMALL)

    assert upload.run(if_exists="skip")["way"] == "skip"

    assert upload.firecrest.new_jobs() == []


@pytest.mark.parametrize("if_exists", ["fail", "skip"])
def test_a_file_that_appears_before_the_job_runs_stays(
    upload_of: Callable[..., Upload], full: set[str], if_exists: str
) -> None:
    upload, ti = upload_of(), TaskInstance(max_tries=3)
    deferral = up_to_the_place_job(upload, ti, if_exists=if_exists)
    upload.target.write_bytes(OLD)
    released(full)

    with pytest.raises(AirflowFailException, match=r"come into being meanwhile.*if_exists='overwrite'"):
        resumed(upload, deferral, ti, if_exists=if_exists)

    upload.left_as_it_was()


def test_a_directory_that_appears_before_the_job_runs_stays(
    upload_of: Callable[..., Upload], full: set[str]
) -> None:
    upload, ti = upload_of(), TaskInstance()
    deferral = up_to_the_place_job(upload, ti, if_exists="overwrite")
    upload.target.mkdir()
    released(full)

    with pytest.raises(AirflowFailException, match="something else than a regular file"):
        resumed(upload, deferral, ti, if_exists="overwrite")

    assert list(upload.target.iterdir()) == []
    assert upload.names() == ["data"]


def test_a_pipe_is_refused_before_bytes_move(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of()
    os.mkfifo(upload.target)
    with pytest.raises(AirflowFailException, match="is not a regular file"):
        upload.run(if_exists="overwrite")
    assert upload.target.is_fifo()
    assert upload.names() == ["data"]


@pytest.mark.parametrize("dangling", [False, True], ids=["to a file", "to nothing"])
def test_of_a_link_the_file_behind_it_is_written_and_the_link_stays(
    upload_of: Callable[..., Upload], firecrest: FirecrestForTest, dangling: bool
) -> None:
    upload = upload_of(name="link")
    behind = firecrest.directory / "elsewhere"
    behind.mkdir()
    upload.target.symlink_to(f"../{firecrest.directory.name}/elsewhere/real")
    if not dangling:
        (behind / "real").write_bytes(OLD)

    done = run_task(lambda: upload.task(if_exists="fail" if dangling else "overwrite"))

    assert done.result["target"] == str(behind / "real")
    assert upload.target.is_symlink()
    assert (behind / "real").read_bytes() == SMALL
    assert [sorted(each.name for each in path.iterdir()) for path in (behind, firecrest.directory)] == [
        ["real"],
        ["elsewhere", "link"],
    ]


def test_a_link_into_a_directory_that_is_not_there_makes_none(
    upload_of: Callable[..., Upload], firecrest: FirecrestForTest
) -> None:
    upload = upload_of(name="link")
    upload.target.symlink_to("nowhere/real")
    with pytest.raises(AirflowFailException, match=r"there is no directory .*nowhere"):
        upload.run()
    assert upload.names() == ["link"]


def test_a_link_whose_way_cannot_be_read_from_its_text_is_refused(
    upload_of: Callable[..., Upload], firecrest: FirecrestForTest
) -> None:
    """Where ``..`` leads, after another link, only the system knows."""
    upload = upload_of(name="link")
    (firecrest.directory / "deep" / "down").mkdir(parents=True)
    (firecrest.directory / "short").symlink_to("deep/down")
    upload.target.symlink_to("short/../real")
    with pytest.raises(AirflowFailException, match="Name the file itself"):
        upload.run()
    assert upload.names() == ["deep", "link", "short"]


def test_a_directory_that_no_staged_upload_can_carry_is_named_before_anything_is_made(
    upload_of: Callable[..., Upload], firecrest: FirecrestForTest
) -> None:
    (firecrest.directory / "a$b").mkdir()
    upload = upload_of(LARGE, "a$b/data")
    with pytest.raises(AirflowFailException, match=r"the directory .*/a\$b' .* a staged upload cannot carry"):
        upload.run()
    asked = [each["path"] for each in firecrest.requests() if each["method"] != "GET"]
    assert [each for each in asked if "ops" in each] == []


# What goes wrong


@BOTH_WAYS
@BOTH_MODES
def test_bytes_that_changed_on_the_way_never_get_the_name(
    upload_of: Callable[..., Upload],
    content: bytes,
    deferrable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the server's own job says: what it has written is turned here before ours is submitted."""
    from airflow_provider_firecrest.client.transfers.atomic import upload as atomic_upload

    upload = upload_of(content, old=OLD)
    real = atomic_upload.submitted

    def spoiled_first(*arguments: Any) -> Any:
        upload.payload().write_bytes(content[:-1] + b"\xff")
        return real(*arguments)

    monkeypatch.setattr(atomic_upload, "submitted", spoiled_first)
    with pytest.raises(AirflowException, match=r"SHA-256 .* instead of .* never got that name") as caught:
        upload.run(if_exists="overwrite", deferrable=deferrable)

    # A retry sends them again.
    assert not isinstance(caught.value, AirflowFailException)
    upload.left_as_it_was()


@pytest.mark.parametrize(
    ("fault", "of", "said"),
    [
        ("job_does_nothing", "/jobs$", "Giving .* its name failed"),
        ("ingress_says_success_without_file", "transfer/upload$", "file is not on"),
    ],
    ids=["ours", "the server's"],
)
def test_a_job_that_says_it_is_done_and_did_nothing_fails_the_task(
    upload_of: Callable[..., Upload], fault: str, of: str, said: str
) -> None:
    upload = upload_of(LARGE, old=OLD)
    upload.firecrest.fault(fault, method="POST", path_regex=of)
    with pytest.raises(AirflowException, match=said):
        upload.run(if_exists="overwrite")
    upload.left_as_it_was()


def test_a_file_that_is_gone_when_it_is_looked_for_fails_the_task(
    upload_of: Callable[..., Upload], full: set[str]
) -> None:
    """Whatever our own job has written down."""
    upload, ti = upload_of(), TaskInstance()
    deferral = up_to_the_place_job(upload, ti)
    released(full)
    event = first_event(revived(deferral.trigger))
    upload.target.unlink()
    task = upload.task(deferrable=True)
    with pytest.raises(AirflowException, match="is not the file that was sent"):
        task.resume_execution(deferral.method_name, {"event": event}, {"ti": ti})
    assert upload.names() == []


def test_a_store_that_fails_leaves_nothing_behind(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of(LARGE, old=OLD)
    upload.firecrest.fault("status", method="PUT", path_regex="^/s3/", times=0, status=403)
    with pytest.raises(AirflowException):
        upload.run(if_exists="overwrite")
    assert upload.jobs("IngressFile") == ["CANCELLED"]
    upload.left_as_it_was()


def test_a_job_that_somebody_else_cancels_leaves_the_old_file(
    upload_of: Callable[..., Upload], full: set[str]
) -> None:
    upload, ti = upload_of(old=OLD), TaskInstance()
    deferral = up_to_the_place_job(upload, ti, if_exists="overwrite")
    released({job["id"] for job in upload.firecrest.new_jobs() if job["name"].startswith("firecrest-")})
    with pytest.raises(AirflowException, match="CANCELLED"):
        resumed(upload, deferral, ti, if_exists="overwrite")
    upload.left_as_it_was()


def test_a_submit_whose_answer_is_lost_is_not_repeated(upload_of: Callable[..., Upload]) -> None:
    upload = upload_of()
    upload.firecrest.fault("lose_answer", method="POST", path_regex="/jobs$")
    upload.run()
    assert upload.jobs() == ["COMPLETED"]


@BOTH_MODES
def test_a_limit_of_the_site_is_waited_out_and_costs_only_time(
    upload_of: Callable[..., Upload], deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.integration.test_quota import QOS

    monkeypatch.setattr("airflow_provider_firecrest.operators._quota.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("airflow_provider_firecrest.client.limits.JOB_VISIBLE_WITHIN", 0.5)
    upload = upload_of()
    upload.firecrest.fault(
        "status", method="POST", path_regex=upload.firecrest.urls.submit, times=2, status=403, body=QOS
    )
    upload.run(deferrable=deferrable)
    assert upload.jobs() == ["COMPLETED"]


# Kills and deadlines


def test_a_kill_while_deferred_cancels_and_removes(upload_of: Callable[..., Upload], full: set[str]) -> None:
    upload = upload_of(old=OLD)
    deferral = up_to_the_place_job(upload, TaskInstance(), if_exists="overwrite")
    asyncio.run(stopped_while_waiting(revived(deferral.trigger), USER_ACTION))
    assert upload.jobs() == ["CANCELLED"]
    upload.left_as_it_was()


def test_a_kill_in_the_worker_cancels_and_removes(upload_of: Callable[..., Upload], full: set[str]) -> None:
    upload = upload_of(old=OLD)
    task = upload.task(if_exists="overwrite")
    running = threading.Thread(target=failing(lambda: task.execute({"ti": TaskInstance(max_tries=3)})))
    running.start()
    until(lambda: (task._running or {}).get("job_id"))
    task.on_kill()
    running.join(30)
    assert not running.is_alive()
    assert upload.jobs() == ["CANCELLED"]
    upload.left_as_it_was()


@BOTH_MODES
def test_a_kill_while_the_servers_job_writes_leaves_no_half_anywhere(
    upload_of: Callable[..., Upload], deferrable: bool
) -> None:
    upload = upload_of(LARGE, old=OLD)
    upload.firecrest.fault("ingress_holds", path_regex="transfer/upload$", body=1)
    arguments: dict[str, Any] = {"if_exists": "overwrite", "deferrable": deferrable}
    if deferrable:
        trigger: Any = revived(defer(lambda: upload.task(**arguments), TaskInstance()).trigger)
        until(lambda: list(upload.firecrest.directory.glob(".firecrest-*/file.1")))
        asyncio.run(trigger.on_kill())
    else:
        task = upload.task(**arguments)
        running = threading.Thread(target=failing(lambda: task.execute({"ti": TaskInstance()})))
        running.start()
        until(lambda: list(upload.firecrest.directory.glob(".firecrest-*/file.1")))
        task.on_kill()
        running.join(30)
        assert not running.is_alive()
    assert upload.jobs("IngressFile") == ["CANCELLED"]
    upload.left_as_it_was()


@BOTH_MODES
def test_at_the_deadline_the_job_is_cancelled_and_its_directory_removed(
    upload_of: Callable[..., Upload], full: set[str], deferrable: bool
) -> None:
    upload = upload_of(old=OLD)
    with pytest.raises(AirflowTaskTimeout):
        upload.run(if_exists="overwrite", deferrable=deferrable, execution_timeout=timedelta(seconds=3))
    assert upload.jobs() == ["CANCELLED"]
    upload.left_as_it_was()


def test_no_presigned_url_is_stored_or_logged(
    upload_of: Callable[..., Upload], capsys: pytest.CaptureFixture[str]
) -> None:
    upload = upload_of(LARGE)
    done: tuple[Run, list[dict[str, Any]]] = whole_run(lambda: upload.task(deferrable=True))
    stored = f"{done[0].ti.xcoms} {done[0].result} {done[1]} {capsys.readouterr().out}".lower()
    assert len(done[1]) == 2
    for word in ("x-amz", "signature", "/s3/"):
        assert word not in stored
