"""A file job that ends COMPLETED 0:0 proves nothing: the task fails when log or file system say so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_firecrest.client.fileops import plan, remains
from tests.integration.conftest import TaskInstance, until
from tests.integration.file_tasks import BOTH_WAYS, Cluster, cluster, digest, grow, operator, run

__all__ = ["cluster"]

KINDS = pytest.mark.parametrize("kind", ["mv", "cp", "rsync", "rm", "compress", "extract"])


@dataclass
class Incident:
    """An operation whose job cannot succeed on this disk, though everything looks fine before it."""

    source: str
    target: str | None
    told: str
    closed: Path | None = None

    def reopen(self) -> None:
        if self.closed is not None:
            self.closed.chmod(0o755)


@pytest.fixture
def incident(cluster: Cluster, kind: str) -> Iterator[Incident]:
    """The operation, on a disk that refuses it."""
    tree = grow(cluster.directory / "tree")
    closed = cluster.directory / "closed"
    closed.mkdir()
    if kind == "extract":
        archive, target = cluster.directory / "tree.tar.gz", cluster.directory / "here"
        archive.write_bytes(b"no archive at all")
        target.mkdir()
        found = Incident(str(archive), str(target), "not in gzip format")
    elif kind == "rm":
        inside = closed / "inside"
        inside.mkdir()
        closed.chmod(0o555)
        found = Incident(str(inside), None, "Permission denied", closed)
    else:
        closed.chmod(0o555)
        target = closed / ("out.tar.gz" if kind == "compress" else "out")
        found = Incident(str(tree), str(target), "Permission denied", closed)
    yield found
    found.reopen()


@KINDS
@BOTH_WAYS
def test_a_job_that_failed_and_says_completed_fails_the_task_with_its_log(
    cluster: Cluster, kind: str, incident: Incident, deferrable: bool
) -> None:
    # given a job whose tool will be refused by the disk
    options = cluster.asks_for_server_job(kind)
    seen = {job["id"] for job in cluster.jobs()}
    # when
    with pytest.raises(AirflowException) as failure:
        run(kind, incident.source, incident.target, deferrable=deferrable, **options)
    # then the scheduler calls it a success, and the task does not
    [job] = [job for job in cluster.jobs() if job["id"] not in seen]
    ours = kind == "rsync" and cluster.generation == 2
    assert (job["state"], job["exit_code"]) == (("FAILED", job["exit_code"]) if ours else ("COMPLETED", 0))
    assert not isinstance(failure.value, AirflowFailException), "Airflow may retry it"
    text = str(failure.value)
    assert f"Job {job['id']} ended {job['state']}" in text
    assert incident.told in text or (ours and "Slurm could not write its log" in text)
    assert "failed" in text


@KINDS
@BOTH_WAYS
def test_a_success_line_without_the_work_fails_the_task(
    cluster: Cluster, kind: str, deferrable: bool
) -> None:
    # given a job that will say all it says when it succeeds
    tree, source, target = grow(cluster.directory / "tree"), cluster.path("tree"), cluster.path("out")
    if kind == "extract":
        source = cluster.path("tree.tar.gz")
        run("compress", str(tree), source)
        Path(target).mkdir()
    before = digest(cluster.directory)
    options = cluster.asks_for_server_job(kind)
    if kind == "rsync" and cluster.generation == 2:
        cluster.firecrest.fault("job_does_nothing", path_regex="/jobs$")
    else:
        cluster.next_file_job_lies()
    seen = {job["id"] for job in cluster.jobs()}
    # when
    with pytest.raises(AirflowException) as failure:
        run(kind, source, None if kind == "rm" else target, deferrable=deferrable, **options)
    # then
    [job] = [job for job in cluster.jobs() if job["id"] not in seen]
    assert (job["state"], job["exit_code"]) == ("COMPLETED", 0)
    assert digest(cluster.directory) == before
    text = str(failure.value)
    problems = {"rm": "is still there", "mv": "is still there", "extract": "is empty"}
    assert problems.get(kind, "there is no") in text
    assert "ended COMPLETED" in text
    if not (kind == "rsync" and cluster.generation == 2):
        assert ("finished on" if cluster.generation == 1 else "successfully") in text, "the evidence"


def test_an_archive_that_was_there_before_is_no_proof(cluster: Cluster) -> None:
    tree, archive = grow(cluster.directory / "tree"), cluster.directory / "tree.tar.gz"
    archive.write_bytes(b"last year's")
    with pytest.raises(AirflowFailException, match="if_exists='overwrite' replaces it"):
        run("compress", str(tree), str(archive))
    options = cluster.asks_for_server_job("compress")
    cluster.next_file_job_lies()
    with pytest.raises(AirflowException, match="is what was there before"):
        run("compress", str(tree), str(archive), if_exists="overwrite", **options)
    assert archive.read_bytes() == b"last year's", "and it is not removed"


def test_a_copy_that_differs_fails_and_is_removed(cluster: Cluster) -> None:
    # given a file that changes between the copy and the proof: the same size, another byte
    source, target = cluster.directory / "a", cluster.directory / "b"
    source.write_bytes(b"x" * 1000)
    options = cluster.asks_for_server_job("cp")
    cluster.next_file_job_lies()
    # when the "copy" that appears is another one
    from airflow_provider_firecrest.client.fileops import proofs

    real = proofs.prove

    def late(*arguments: object, **named: object) -> str:
        target.write_bytes(b"x" * 999 + b"y")
        return real(*arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proofs, "prove", late)
        with pytest.raises(AirflowException, match="SHA-256") as failure:
            run("cp", str(source), str(target), **options)
    assert "was removed" in str(failure.value)
    assert not target.exists()


@pytest.mark.parametrize("log", ["complains", "is not there"])
def test_a_copy_that_fails_leaves_no_half_but_a_missing_log_is_no_failure(cluster: Cluster, log: str) -> None:
    # given a job whose end is told by its log, and what it left at the target
    source, target = cluster.directory / "a", cluster.directory / "b"
    source.write_bytes(b"x" * 1000)
    options = cluster.asks_for_server_job("cp")
    from airflow_provider_firecrest.client.fileops import finish

    def told(client: object, path: str, system: str) -> str:
        target.write_bytes(b"x" * 500)
        return {"complains": "cp: error writing 'b': No space left on device\nUnable to copy files"}.get(
            log, ""
        )

    # when
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "read_log", told)
        with pytest.raises(AirflowException, match="failed"):
            run("cp", str(source), str(target), **options)
    # then
    assert target.exists() == (log == "is not there")


def test_a_directory_with_a_file_missing_is_no_copy(cluster: Cluster) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "store"
    grow(target)
    (target / "sub" / "größe").unlink()
    cluster.next_file_job_lies()
    if cluster.generation == 2:
        cluster.firecrest.fault("job_does_nothing", path_regex="/jobs$")
    with pytest.raises(AirflowException, match="1 of 7 entries are missing"):
        run("rsync", f"{source}/", str(target))


def test_an_unreadable_part_of_a_directory_fails_its_copy(cluster: Cluster) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "copy"
    (source / "sub" / "größe").chmod(0)
    with pytest.raises(AirflowException, match="Permission denied"):
        run("cp", str(source), str(target))
    (source / "sub" / "größe").chmod(0o644)


@BOTH_WAYS
def test_a_log_that_says_no_is_believed_though_the_file_looks_right(
    cluster: Cluster, deferrable: bool
) -> None:
    # given a target that may not be written to, and holds the right content already
    source, closed = cluster.directory / "a", cluster.directory / "closed"
    closed.mkdir()
    for path in (source, closed / "b"):
        path.write_text("content")
    (closed / "b").chmod(0o444)
    closed.chmod(0o555)
    options = cluster.asks_for_server_job("cp")
    try:
        with pytest.raises(AirflowException, match="Permission denied"):
            run("cp", str(source), f"{closed}/b", if_exists="overwrite", deferrable=deferrable, **options)
    finally:
        closed.chmod(0o755)


class TestWhatAFailedJobLeaves:
    """A job that fails in the middle: its tools have done a part, and the rest is refused."""

    @staticmethod
    def complaining(part: Callable[[], None]) -> pytest.MonkeyPatch:
        """Let the job's log tell of a failure, after a part was done."""
        from airflow_provider_firecrest.client.fileops import finish

        patch = pytest.MonkeyPatch()
        told: list[None] = []

        def log(client: object, path: str, system: str) -> str:
            if not told:
                told.append(None)
                part()
            return "cp: error writing: No space left on device\nUnable to copy files\nUnable to move files"

        patch.setattr(finish, "read_log", log)
        return patch

    @pytest.mark.parametrize("others", [False, True], ids=["a part", "somebody else's file, too"])
    def test_of_a_directory_is_removed_unless_somebody_has_put_something_there(
        self, cluster: Cluster, others: bool
    ) -> None:
        source, target = grow(cluster.directory / "tree"), cluster.directory / "copy"

        def part() -> None:
            (target / "sub").mkdir(parents=True)
            (target / "a file").write_bytes(b"one\n")
            if others:
                (target / "theirs").touch()

        cluster.next_file_job_lies()
        patch = self.complaining(part)
        try:
            with pytest.raises(AirflowException, match="No space left") as failure:
                run("cp", str(source), str(target))
        finally:
            patch.undo()

        assert target.exists() is others
        assert ("was left as it is" if others else "was removed") in str(failure.value)

    def test_is_not_removed_when_somebody_may_have_worked_on_it(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, target = grow(cluster.directory / "tree"), cluster.directory / "copy"
        cluster.next_file_job_lies()
        # Everything counts as hours after the job's end.
        monkeypatch.setattr(remains, "_RECENT", -60.0)
        patch = self.complaining(target.mkdir)
        try:
            with pytest.raises(AirflowException, match="may have been changed since the job ended"):
                run("cp", str(source), str(target))
        finally:
            patch.undo()

        assert target.exists()

    @pytest.mark.parametrize("whole", [True, False], ids=["source whole", "source not whole"])
    def test_of_a_move_is_never_removed_and_the_error_says_what_is_where(
        self, cluster: Cluster, whole: bool
    ) -> None:
        source, target = grow(cluster.directory / "tree"), cluster.directory / "moved"

        def part() -> None:
            grow(target)
            if not whole:
                (source / "a file").unlink()

        cluster.next_file_job_lies()
        patch = self.complaining(part)
        patch.setattr(plan, "_on_the_same_file_system", lambda *_: False)
        options = cluster.asks_for_server_job("mv")
        try:
            with pytest.raises(AirflowException, match="No space left") as failure:
                run("mv", str(source), str(target), **options)
        finally:
            patch.undo()

        assert source.exists()
        assert len(digest(target)) == 7
        told = "is whole; what is in" if whole else "is not whole any more; what is missing there is in"
        assert f"{source} {told} {target}" in str(failure.value)


def test_a_cancelled_copy_leaves_no_part(cluster: Cluster) -> None:
    # given a copy that is in the middle when its time is over
    source, target = grow(cluster.directory / "tree"), cluster.directory / "copy"
    cluster.submit("#SBATCH --ntasks=4\nsleep 300")
    until(lambda: any(job["state"] == "RUNNING" for job in cluster.firecrest.new_jobs()))
    task = operator("cp", str(source), str(target), execution_timeout=timedelta(seconds=2))
    begun = threading.Thread(target=lambda: (until(lambda: task._running), target.mkdir()))
    begun.start()

    with pytest.raises(AirflowTaskTimeout):
        task.execute({"ti": TaskInstance()})

    begun.join(20)
    assert not target.exists()
