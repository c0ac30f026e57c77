"""Direct calls that are stopped, answers that are lost: the work is done once, by whatever way is left."""

from __future__ import annotations

import tarfile
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_firecrest.client.errors import UnavailableError
from airflow_provider_firecrest.client.fileops import proofs
from tests.integration.conftest import TaskInstance
from tests.integration.file_tasks import BOTH_WAYS, Cluster, cluster, digest, grow, operator, run

__all__ = ["cluster"]


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["rm", "compress", "extract"])
def test_a_direct_call_that_is_stopped_goes_on_as_a_job(
    cluster: Cluster, kind: str, deferrable: bool
) -> None:
    tree, target = grow(cluster.directory / "tree"), cluster.directory / "here"
    content = digest(tree)
    target.mkdir()
    if kind == "extract":
        run("compress", str(tree), cluster.path("tree.tgz"))
    cluster.quick_call_times_out(kind)
    source, to = {
        "rm": (str(tree), None),
        "compress": (str(tree), cluster.path("tree.tgz")),
        "extract": (cluster.path("tree.tgz"), str(target)),
    }[kind]
    done = run(kind, source, to, deferrable=deferrable)

    assert done.result["way"] == "job"
    assert cluster.job(done.result["job_id"])["state"] == "COMPLETED"
    if kind == "rm":
        assert not tree.exists()
    elif kind == "compress":
        assert tarfile.is_tarfile(cluster.path("tree.tgz"))
    else:
        assert digest(target / "tree") == content


def test_what_a_stopped_removal_has_done_counts(cluster: Cluster) -> None:
    tree = grow(cluster.directory / "tree")
    seen = len(cluster.jobs())
    cluster.quick_call_times_out("rm", after_acting=True)
    done = run("rm", str(tree))
    assert (done.result["way"], done.result["proof"]) == ("quick", "gone")
    assert not tree.exists()
    assert len(cluster.jobs()) == seen


def test_an_archive_that_a_stopped_call_left_does_not_count(cluster: Cluster) -> None:
    tree, archive = grow(cluster.directory / "tree"), cluster.directory / "tree.tgz"
    cluster.quick_call_times_out("compress", after_acting=True)
    cluster.next_file_job_lies()
    with pytest.raises(Exception, match="there is no"):
        run("compress", str(tree), str(archive))
    assert not archive.exists(), "the half archive is gone too"


def test_nor_does_an_older_archive_that_a_stopped_call_has_overwritten(cluster: Cluster) -> None:
    tree, archive = grow(cluster.directory / "tree"), cluster.directory / "tree.tgz"
    archive.write_bytes(b"last year's")
    cluster.quick_call_times_out("compress", after_acting=True)
    cluster.next_file_job_lies()
    with pytest.raises(Exception, match="is what was there before"):
        run("compress", str(tree), str(archive), if_exists="overwrite")


def test_into_what_a_stopped_call_unpacked_our_own_job_unpacks(cluster: Cluster) -> None:
    tree, target = grow(cluster.directory / "tree"), cluster.directory / "here"
    target.mkdir()
    run("compress", str(tree), cluster.path("tree.tgz"))
    cluster.quick_call_times_out("extract", after_acting=True)
    done = run("extract", cluster.path("tree.tgz"), str(target))
    assert done.result["way"] == "script"
    assert digest(target / "tree") == digest(tree)


@pytest.mark.parametrize("kind", ["mv", "cp"])
@pytest.mark.parametrize("after_acting", [True, False], ids=["done", "not done"])
def test_a_stopped_copy_or_rename_of_a_file_ends_well(
    cluster: Cluster, kind: str, after_acting: bool
) -> None:
    source, target = cluster.directory / "a", cluster.directory / "b"
    source.write_text("content")
    cluster.quick_call_times_out("copy|rename", after_acting=after_acting)
    done = run(kind, str(source), str(target))
    assert target.read_text() == "content"
    assert source.exists() is (kind == "cp")
    if cluster.generation == 1:
        assert done.result["way"] == ("quick" if after_acting else "job")


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["cp", "rsync"])
def test_a_job_whose_submit_was_not_answered_is_found_and_not_submitted_again(
    cluster: Cluster, kind: str, deferrable: bool
) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "copy"
    seen = {job["id"] for job in cluster.jobs()}
    cluster.firecrest.fault("lose_answer", method="POST", path_regex="transfer/|xfer-internal|/jobs$")
    done = run(kind, f"{source}/" if kind == "rsync" else str(source), str(target), deferrable=deferrable)

    new = [job["id"] for job in cluster.jobs() if job["id"] not in seen]
    assert new == [done.result["job_id"]]
    assert digest(target) == digest(source)


@pytest.mark.parametrize("kind", ["cp", "rsync"])
def test_when_no_job_shows_up_the_task_says_what_to_look_for(cluster: Cluster, kind: str) -> None:
    source = grow(cluster.directory / "tree")
    seen = len(cluster.jobs())
    cluster.firecrest.fault("drop", method="POST", path_regex="transfer/|xfer-internal|/jobs$", times=0)
    with pytest.raises(
        AirflowFailException, match=r"Nothing was submitted again\. Look for a job named"
    ) as it:
        run(kind, str(source), cluster.path("copy"))
    name = "CopyFiles" if (kind, cluster.generation) == ("cp", 2) else f"firecrest-{kind}-"
    assert name in str(it.value)
    assert len(cluster.jobs()) == seen


def test_the_same_copy_by_somebody_else_is_not_taken_for_ours(cluster: Cluster) -> None:
    one, other = grow(cluster.directory / "tree"), grow(cluster.directory / "other")
    run("cp", str(one), cluster.path("first"))
    cluster.firecrest.fault("lose_answer", method="POST", path_regex="transfer/|xfer-internal")
    done = run("cp", str(other), cluster.path("second"))
    assert digest(cluster.directory / "second") == digest(other)
    assert cluster.job(done.result["job_id"])["state"] == "COMPLETED"


class Gone(BaseException):
    """A SIGKILL: nothing of the task runs after it."""


class Store:
    """Airflow's task state store; one that is broken says nothing but errors."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    def get(self, key: str) -> Any:
        if self.broken:
            raise ConnectionError("no API server")
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


def end_after_the_call(
    end: BaseException, kind: str, source: str, target: str | None, context: dict[str, Any]
) -> None:
    """A try that ends when a direct call has done its work, before that is proven."""

    def ends(*_: object, **__: object) -> None:
        raise end

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proofs, "prove", ends)
        with pytest.raises((Gone, AirflowException)):
            operator(kind, source, target).execute(context)


@pytest.mark.parametrize(
    "end", [Gone(), UnavailableError("It is away.")], ids=["the worker died", "the server was away"]
)
def test_what_a_direct_call_has_done_is_not_done_again(cluster: Cluster, end: BaseException) -> None:
    for kind in ("mv", "cp", "rm") if cluster.generation == 1 else ("rm",):
        source, target = cluster.directory / f"{kind} a", cluster.directory / f"{kind} b"
        source.write_text("content")
        to = None if kind == "rm" else str(target)
        ti, store = TaskInstance(max_tries=1), Store()
        end_after_the_call(end, kind, str(source), to, {"ti": ti, "task_state_store": store})
        seen = len(cluster.firecrest.requests())

        ti.try_number = 2
        again = operator(kind, str(source), to).execute({"ti": ti, "task_state_store": store})

        assert again["way"] == "quick"
        assert {each["method"] for each in cluster.firecrest.requests()[seen:]} <= {"GET"}


def test_where_the_store_cannot_be_read_nothing_is_done(cluster: Cluster) -> None:
    source = grow(cluster.directory / "tree")
    store = Store()
    store.broken = True
    seen = len(cluster.firecrest.requests())

    with pytest.raises(AirflowException, match="a retry looks again") as failure:
        operator("rm", str(source)).execute(
            {"ti": TaskInstance(try_number=2, max_tries=3), "task_state_store": store}
        )

    assert not isinstance(failure.value, AirflowFailException), "Airflow may retry it"
    assert {each["method"] for each in cluster.firecrest.requests()[seen:]} <= {"GET"}
    assert source.exists()


def test_of_a_copy_that_finds_no_room_nothing_is_left(cluster: Cluster) -> None:
    (cluster.directory / "source").write_bytes(bytes(200_000))
    cluster.firecrest.fault("disk_full", path_regex="/utilities/copy$|/transfer/cp$", body=100 * 1024)
    with pytest.raises(AirflowException, match=r"no space left|File too large"):
        run("cp", cluster.path("source"), cluster.path("target"))
    assert sorted(path.name for path in cluster.directory.iterdir()) == ["source"]
