"""Files that stay on the cluster: each operator does its work and proves it. The disk is the witness."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_firecrest.client.fileops import looks
from tests.integration.file_tasks import BOTH_WAYS, Cluster, cluster, digest, grow, run

__all__ = ["cluster"]

RESULT_KEYS = ["operation", "source", "target", "system", "way", "job_id", "proof", "seconds"]


@BOTH_WAYS
def test_a_file_is_copied_whole(cluster: Cluster, deferrable: bool) -> None:
    source, target = cluster.directory / "in put.bin", cluster.directory / "out put.bin"
    source.write_bytes(os.urandom(100_000))
    done = run("cp", str(source), str(target), deferrable=deferrable, job_name="copy it")

    assert target.read_bytes() == source.read_bytes()
    assert list(done.result) == RESULT_KEYS
    assert (done.result["operation"], done.result["target"]) == ("cp", str(target))
    assert re.fullmatch(r"copy it-af[0-9a-f]{14}", cluster.job(done.result["job_id"])["name"])
    assert (done.trigger is not None) is deferrable
    assert cluster.leftovers() == []


@BOTH_WAYS
def test_a_directory_is_copied_with_all_in_it(cluster: Cluster, deferrable: bool) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "copy"
    done = run("cp", str(source), str(target), deferrable=deferrable)

    assert digest(target) == digest(source)
    assert (done.result["way"], done.result["proof"]) == ("job", "same names, types and sizes")
    assert (done.trigger is not None) is deferrable


def test_a_copy_into_an_existing_directory_says_where_it_is(cluster: Cluster) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "store"
    target.mkdir()
    done = run("cp", str(source), str(target))

    assert done.result["target"] == f"{target}/tree"
    assert digest(target / "tree") == digest(source)
    again = run("cp", str(source), str(target), if_exists="overwrite")
    assert again.result["target"] == f"{target}/tree", "merged, not nested once more"
    assert digest(target / "tree") == digest(source)


@BOTH_WAYS
def test_a_move_keeps_the_content_and_leaves_nothing(cluster: Cluster, deferrable: bool) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "moved"
    before, inode = digest(source), source.stat().st_ino
    done = run("mv", str(source), str(target), deferrable=deferrable, time_limit="00:05:00")

    assert not source.exists()
    assert digest(target) == before
    assert target.stat().st_ino == inode
    assert done.result["proof"] == "source gone, target is the same inode"
    assert (done.trigger is not None) is deferrable


def test_a_rename_needs_no_job_where_the_api_has_a_call_for_it(cluster: Cluster) -> None:
    source = grow(cluster.directory / "tree")
    before = digest(source)
    done = run("mv", str(source), cluster.path("renamed"))
    assert done.result["way"] == ("quick" if cluster.generation == 1 else "job")
    assert digest(cluster.directory / "renamed") == before


@BOTH_WAYS
@pytest.mark.parametrize("slash", [True, False], ids=["content", "directory"])
def test_rsync_brings_what_is_new_and_keeps_the_rest(cluster: Cluster, deferrable: bool, slash: bool) -> None:
    source, target = grow(cluster.directory / "tree"), cluster.directory / "store"
    result = target if slash else target / "tree"
    result.mkdir(parents=True)
    (result / "older").write_text("stays")
    done = run("rsync", f"{source}/" if slash else str(source), str(target), deferrable=deferrable)

    assert digest(result) == {**digest(source), "older": digest(result)["older"]}
    assert done.result["target"] == str(result)
    assert done.result["way"] == ("job" if cluster.generation == 1 else "script")
    assert (done.trigger is not None) is deferrable
    assert cluster.leftovers() == []


def test_rsync_makes_its_target(cluster: Cluster) -> None:
    source = grow(cluster.directory / "tree")
    done = run("rsync", str(source), cluster.path("new"))
    assert digest(Path(done.result["target"])) == digest(source)
    assert done.result["target"] == cluster.path("new/tree")


@BOTH_WAYS
@pytest.mark.parametrize("by_job", [True, False], ids=["job", "quick"])
def test_a_removed_directory_is_gone(cluster: Cluster, by_job: bool, deferrable: bool) -> None:
    tree = grow(cluster.directory / "tree")
    done = run("rm", str(tree), deferrable=deferrable, time_limit="5" if by_job else None)
    assert not tree.exists()
    assert (done.result["target"], done.result["proof"]) == (None, "gone")
    assert (done.result["way"] == "quick") is not by_job
    assert (done.trigger is not None) is (by_job and deferrable)


def test_a_link_is_removed_and_not_what_it_points_to(cluster: Cluster) -> None:
    tree, link = grow(cluster.directory / "tree"), cluster.directory / "link"
    link.symlink_to(tree)
    run("rm", f"{link}/")
    assert not link.is_symlink()
    assert (tree / "a file").exists()


def test_a_missing_path_is_removed_only_when_that_is_fine(cluster: Cluster) -> None:
    with pytest.raises(AirflowFailException, match="path: there is no"):
        run("rm", cluster.path("nothing"))
    assert run("rm", cluster.path("nothing"), missing_ok=True).result["way"] == "skip"


@BOTH_WAYS
@pytest.mark.parametrize("ending", [".tar.gz", ".tar.bz2", ".tar"])
def test_an_archive_holds_the_tree_and_unpacks_to_the_same(
    cluster: Cluster, ending: str, deferrable: bool
) -> None:
    tree, archive = grow(cluster.directory / "tree"), cluster.directory / f"tree{ending}"
    target = cluster.directory / "un packed"
    target.mkdir()
    options = {"deferrable": deferrable, "time_limit": "00:10:00"}
    packed = run("compress", str(tree), str(archive), **options)
    unpacked = run("extract", str(archive), str(target), **options)

    with tarfile.open(archive) as content:
        assert len(content.getnames()) == len(digest(tree)) + 1
    assert digest(target / "tree") == digest(tree)
    assert packed.result["target"] == str(archive)
    assert unpacked.result["target"] == str(target)
    assert cluster.leftovers() == []


def test_small_archives_take_no_job(cluster: Cluster) -> None:
    tree, target = grow(cluster.directory / "tree"), cluster.directory / "here"
    target.mkdir()
    packed = run("compress", str(tree), cluster.path("tree.tgz"))
    unpacked = run("extract", cluster.path("tree.tgz"), str(target))
    assert (packed.result["way"], unpacked.result["way"]) == ("quick", "quick")
    assert digest(target / "tree") == digest(tree)


def test_into_a_directory_with_content_our_own_job_unpacks(cluster: Cluster) -> None:
    tree, target = grow(cluster.directory / "tree"), cluster.directory / "here"
    target.mkdir()
    (target / "older").write_text("stays")
    run("compress", str(tree), cluster.path("tree.tgz"))
    done = run("extract", cluster.path("tree.tgz"), str(target), job_name="unpack")
    assert done.result["way"] == "script"
    assert digest(target / "tree") == digest(tree)
    assert (target / "older").read_text() == "stays"


@pytest.mark.parametrize("name", ["a b", "größe", "-dash", "a&b", "a;b", "$(touch x)", 'a"b', "100%j", "a*"])
def test_odd_names_arrive_or_are_refused(cluster: Cluster, name: str) -> None:
    source, target = cluster.directory / name, cluster.directory / "target dir"
    source.write_text(name)
    target.mkdir()
    refused = cluster.generation == 1 and any(char in name for char in '&;()"')
    if refused:
        with pytest.raises(AirflowFailException, match=r"source_path: .* contains"):
            run("cp", str(source), str(target))
        assert list(target.iterdir()) == []
        return
    done = run("cp", str(source), str(target))
    assert done.result["target"] == f"{target}/{name}"
    assert digest(target) == {name: digest(cluster.directory)[name]}


def test_a_single_quote_is_refused_with_its_name(cluster: Cluster) -> None:
    with pytest.raises(AirflowFailException, match="contains a single quote"):
        run("mv", cluster.path("it's"), cluster.path("b"))


def test_trees_too_large_to_list_are_compared_by_a_job(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_firecrest.client.errors import TooLargeError

    def too_large(*arguments: object) -> looks.Tree:
        raise TooLargeError("Too large for a direct call.")

    source = grow(cluster.directory / "tree")
    monkeypatch.setattr(looks, "tree", too_large)
    seen = {job["id"] for job in cluster.jobs()}
    run("cp", str(source), cluster.path("copy"))
    new = [job["name"] for job in cluster.jobs() if job["id"] not in seen]
    assert new.count("firecrest-compare") == 1
    assert cluster.leftovers() == []
