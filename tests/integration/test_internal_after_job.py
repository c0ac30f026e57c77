"""Work that starts when another job has succeeded, fails when that one failed, and ends when it is killed."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout

from tests.integration.conftest import TaskInstance, defer, revived, until
from tests.integration.file_tasks import BOTH_WAYS, Cluster, cluster, digest, grow, operator, run

__all__ = ["cluster"]


def producing(cluster: Cluster, end: str = "true") -> str:
    """A production job that makes a directory when the file `go` appears."""
    made = cluster.path("made")
    wait = f"until [ -e {cluster.path('go')} ]; do sleep 0.1; done"
    return cluster.submit(f"{wait}\nmkdir {made}; echo result > {made}/f\n{end}")


def go_in(cluster: Cluster, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, (cluster.directory / "go").touch)
    timer.start()
    return timer


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["mv", "cp", "rsync", "compress"])
def test_it_works_on_what_the_other_job_has_made(cluster: Cluster, kind: str, deferrable: bool) -> None:
    first = producing(cluster)
    timer = go_in(cluster, 1.0)
    target = cluster.path("out.tar.gz" if kind == "compress" else "out")
    done = run(kind, cluster.path("made"), target, deferrable=deferrable, after_job_id=first)
    timer.join()

    result = Path(done.result["target"])
    ours = cluster.job(done.result["job_id"])
    assert ours["state"] == "COMPLETED"
    assert ours["start_time"] >= cluster.job(first)["end_time"]
    if kind == "compress":
        assert result.stat().st_size > 0
    else:
        assert (result / "f").read_text() == "result\n"
    assert cluster.leftovers() == []


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["mv", "cp", "rsync", "rm", "compress", "extract"])
def test_when_the_other_job_fails_nothing_is_done_and_nothing_waits_for_ever(
    cluster: Cluster, kind: str, deferrable: bool
) -> None:
    tree = grow(cluster.directory / "tree")
    (cluster.directory / "out").mkdir()
    source = str(tree)
    if kind == "extract":
        source = cluster.path("tree.tgz")
        run("compress", str(tree), source)
    before = digest(tree)
    first = producing(cluster, end="exit 3")
    target = None if kind == "rm" else cluster.path("out.tgz" if kind == "compress" else "out")
    seen = {job["id"] for job in cluster.jobs()}
    timer = go_in(cluster, 0.7)
    with pytest.raises(AirflowException) as failure:
        run(kind, source, target, deferrable=deferrable, after_job_id=first)
    timer.join()

    assert f"job {first}, which this one waits for, ended FAILED with exit code 3" in str(failure.value)
    [ours] = [job for job in cluster.jobs() if job["id"] not in seen]
    until(lambda: cluster.job(ours["id"])["state"].startswith("CANCELLED"))
    assert digest(tree) == before
    assert not any((cluster.directory / "out").iterdir())
    assert cluster.leftovers() == []


def test_a_job_that_has_failed_already_stops_it_before_anything_is_submitted(cluster: Cluster) -> None:
    first = cluster.submit("exit 4")
    until(lambda: cluster.job(first)["state"] == "FAILED")
    seen = len(cluster.jobs())
    with pytest.raises(AirflowException, match=f"job {first}, .* ended FAILED with exit code 4"):
        run("rm", str(cluster.directory), after_job_id=first)
    assert len(cluster.jobs()) == seen
    assert cluster.directory.exists()


def test_a_job_that_has_succeeded_already_is_no_dependency(cluster: Cluster) -> None:
    first = cluster.submit("true")
    until(lambda: cluster.job(first)["state"] == "COMPLETED")
    tree = grow(cluster.directory / "tree")
    done = run("rm", str(tree), after_job_id=f" {first} ")
    assert done.result["way"] == "quick"
    assert not tree.exists()


def test_an_unknown_job_and_a_wrong_id_are_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.fileops.dependency.VISIBLE_WITHIN", 0.5)
    with pytest.raises(AirflowException, match="after_job_id: cluster knows no job 999999"):
        run("rm", str(cluster.directory), after_job_id="999999")
    with pytest.raises(AirflowException, match="after_job_id: 'afterok:1' is not a job id"):
        run("rm", str(cluster.directory), after_job_id="afterok:1")


def test_a_kill_while_deferred_cancels_the_own_job_and_leaves_the_other(cluster: Cluster) -> None:
    first = producing(cluster)
    deferral = defer(
        lambda: operator(
            "rsync", cluster.path("made"), cluster.path("out"), after_job_id=first, deferrable=True
        ),
        TaskInstance(),
    )
    ours = deferral.trigger.job_ids[0]
    assert cluster.job(ours)["state"] == "PENDING"
    asyncio.run(revived(deferral.trigger).on_kill())

    until(lambda: cluster.job(ours)["state"].startswith("CANCELLED"))
    assert cluster.job(first)["state"] in ("RUNNING", "PENDING")
    (cluster.directory / "go").touch()


def test_a_kill_in_the_worker_cancels_the_own_job_in_time(cluster: Cluster) -> None:
    first = producing(cluster)
    task = operator("cp", cluster.path("made"), cluster.path("out"), after_job_id=first)
    seconds: list[float] = []
    ours: list[str] = []

    def kill() -> None:
        ours.append(until(lambda: task._running)["job_id"])
        started = time.monotonic()
        task.on_kill()
        seconds.append(time.monotonic() - started)
        (cluster.directory / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(AirflowException, match="was killed while it waited"):
        task.execute({"ti": TaskInstance()})
    killer.join(20)
    assert cluster.job(ours[0])["state"].startswith("CANCELLED")
    assert not (cluster.directory / "out").exists()
    assert seconds[0] < 4.5


@BOTH_WAYS
def test_at_the_deadline_the_own_job_is_cancelled(cluster: Cluster, deferrable: bool) -> None:
    first = producing(cluster)
    seen = {job["id"] for job in cluster.jobs()}
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout is over"):
        run(
            "cp",
            cluster.path("made"),
            cluster.path("out"),
            after_job_id=first,
            deferrable=deferrable,
            execution_timeout=timedelta(seconds=3),
        )
    [ours] = [job for job in cluster.jobs() if job["id"] not in seen]
    until(lambda: cluster.job(ours["id"])["state"].startswith("CANCELLED"))
    assert cluster.job(first)["state"] == "RUNNING"
    assert cluster.leftovers() == []
    (cluster.directory / "go").touch()
