"""Small operations on the cluster's files, each looked at on the disk, by both generations of the API."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_firecrest.operators.filesystem import OPERATIONS, FirecrestFilesystemOperator
from tests.integration.conftest import TaskInstance
from tests.integration.file_tasks import Cluster, cluster, grow
from tests.integration.test_attempts import impatient

__all__ = ["cluster"]


def do(operation: str, path: object, *, ti: TaskInstance | None = None, **arguments: Any) -> Any:
    """Run the task; its result, as it comes back from Airflow's database."""
    task = FirecrestFilesystemOperator(
        task_id="simulate", operation=operation, path=str(path), arguments=arguments or None
    )
    result = json.loads(json.dumps(task.execute({"ti": ti or TaskInstance()})))
    assert {key: result[key] for key in ("operation", "path", "system")} == {
        "operation": operation,
        "path": str(path),
        "system": "cluster",
    }
    return result["value"]


def test_a_directory_is_made_with_its_parents(cluster: Cluster) -> None:
    do("mkdir", cluster.directory / "a" / "b", parents=True)
    assert (cluster.directory / "a" / "b").is_dir()


def test_a_mode_is_changed(cluster: Cluster) -> None:
    file = cluster.directory / "f"
    file.write_text("x")
    do("chmod", file, mode="640")
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_group_is_changed(cluster: Cluster) -> None:
    file = cluster.directory / "f"
    file.write_text("x")
    do("chown", file, group="project")
    [entry] = do("ls", file)
    assert entry["group"] == "project"


@pytest.mark.parametrize("there", ["directory", "file", "link"])
def test_no_link_is_made_where_something_is(cluster: Cluster, there: str) -> None:
    """`ln` would make one in the directory, and the answer would show that directory."""
    path = cluster.directory / "there"
    {"directory": path.mkdir, "file": path.touch, "link": lambda: path.symlink_to("nowhere")}[there]()
    with pytest.raises(AirflowFailException, match=f"link_path: {path} exists"):
        do("symlink", cluster.directory / "f", link_path=str(path))
    assert [each.name for each in cluster.directory.rglob("*")] == ["there"]


def test_a_mode_that_is_a_number_is_told_when_the_dag_is_parsed() -> None:
    with pytest.raises(ValueError, match="mode: 420 is a number; write it as text"):
        FirecrestFilesystemOperator(
            task_id="simulate", operation="chmod", path="/x", arguments={"mode": 0o644}
        )


def test_a_link_is_made(cluster: Cluster) -> None:
    link = cluster.directory / "link"
    do("symlink", cluster.directory, link_path=str(link))
    assert link.readlink() == cluster.directory


def test_a_file_is_renamed_and_the_result_says_how(cluster: Cluster) -> None:
    file, target = cluster.directory / "f", cluster.directory / "g"
    file.write_text("x")
    value = do("rename", file, target_path=str(target))
    assert (file.exists(), target.read_text()) == (False, "x")
    assert (value["target"], value["way"]) == (str(target), "quick" if cluster.generation == 1 else "job")


def test_a_directory_is_removed(cluster: Cluster) -> None:
    tree = grow(cluster.directory / "tree")
    assert do("rm", tree) is None
    assert not tree.exists()


def test_a_retry_takes_the_removal_of_the_try_before_for_its_own(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = grow(cluster.directory / "tree")
    impatient(monkeypatch)
    cluster.firecrest.fault("lose_answer", method="DELETE", path_regex="/rm$", times=0)
    with pytest.raises(AirflowException) as raised:
        do("rm", tree)
    assert not isinstance(raised.value, AirflowFailException)
    assert not tree.exists()
    cluster.firecrest.clear_faults()

    assert do("rm", tree, ti=TaskInstance(try_number=2)) is None

    with pytest.raises(AirflowFailException):
        do("rm", tree)


def test_what_stat_and_checksum_say_is_what_the_disk_says(cluster: Cluster) -> None:
    file = cluster.directory / "a file"
    file.write_bytes(b"content\n" * 100)
    assert do("stat", file)["size"] == 800
    assert do("checksum", file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_directory_is_listed(cluster: Cluster) -> None:
    tree = grow(cluster.directory / "tree")
    plain, all_of_it = do("ls", tree), do("ls", tree, show_hidden=True, recursive=True)
    assert {each["name"] for each in plain} == {"a file", "sub"}
    assert {".hidden", "sub/empty", "sub/link"} <= {each["name"] for each in all_of_it}


def test_pieces_of_a_text_are_read(cluster: Cluster) -> None:
    file = cluster.directory / "log"
    file.write_text("".join(f"line {n}\n" for n in range(100)))
    assert do("head", file, lines=2).splitlines() == ["line 0", "line 1"]
    assert do("tail", file, lines=1).strip() == "line 99"
    assert do("view", file, size=6) == "line 0"


def test_what_is_read_of_a_binary_file_fits_into_an_xcom(cluster: Cluster) -> None:
    """PostgreSQL refuses a NUL in JSON."""
    file = cluster.directory / "data"
    file.write_bytes(b"a\x00b")
    assert {do(operation, file, size=3) for operation in ("head", "tail", "view")} == {"a\ufffdb"}


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - {"mkdir", "symlink"}))
def test_a_missing_file_fails_without_retry(cluster: Cluster, operation: str) -> None:
    needed = {"chmod": {"mode": "600"}, "chown": {"group": "project"}, "rename": {"target_path": "/x"}}
    arguments = needed.get(operation, {})
    if operation == "rename":
        arguments = {"target_path": cluster.path("g")}
    with pytest.raises(AirflowFailException):
        do(operation, cluster.path("nothing"), **arguments)


def test_a_wrong_or_a_missing_argument_is_named(cluster: Cluster) -> None:
    with pytest.raises(AirflowFailException, match="chmod takes mode, not recursive"):
        do("chmod", cluster.directory, mode="755", recursive=True)
    with pytest.raises(AirflowFailException, match="arguments: chmod needs mode"):
        do("chmod", cluster.directory)
    with pytest.raises(AirflowFailException, match="arguments: chown needs owner or group"):
        do("chown", cluster.directory, owner="")
    assert cluster.firecrest.requests() == [], "nothing is sent"


@pytest.mark.parametrize("path", ["/", "{mount}", "{mount}//", "{mount}/a/../..", "/etc"])
def test_rm_refuses_a_whole_file_system_and_what_is_not_on_one(cluster: Cluster, path: str) -> None:
    mount = cluster.firecrest.scratch.parent
    with pytest.raises(AirflowFailException, match=r"^path: ") as raised:
        do("rm", path.format(mount=mount))
    assert "\n" not in str(raised.value)
    assert cluster.directory.is_dir()
    assert not [each for each in cluster.firecrest.requests() if each["method"] == "DELETE"]


def test_arguments_that_templates_made_texts_or_numbers_are_taken(cluster: Cluster) -> None:
    file = cluster.directory / "log"
    file.write_text("line 0\nline 1\nline 2\n")
    assert do("head", file, lines="2").splitlines() == ["line 0", "line 1"]
    assert do("view", file, size="6", offset=" 7 ") == "line 1"
    task = FirecrestFilesystemOperator(
        task_id="simulate", operation="chmod", path=str(file), arguments={"mode": "{{ params.mode }}"}
    )
    task.arguments = {"mode": 600}
    task.execute({"ti": TaskInstance()})
    assert file.stat().st_mode & 0o777 == 0o600
    do("mkdir", cluster.directory / "new", parents="False")
    assert (cluster.directory / "new").is_dir()


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("head", {"lines": "many"}, "arguments: lines: 'many' is not a whole number"),
        ("view", {"size": 1.5}, "arguments: size: 1.5 is not a whole number"),
        ("chmod", {"mode": 600.0}, "arguments: mode: 600.0 is not a text"),
        ("ls", {"recursive": "maybe"}, "arguments: recursive: 'maybe' is neither true nor false"),
        ("ls", {3: True, "depth": 1}, "arguments: ls takes .*, not 3, depth"),
        ("ls", "recursive", "arguments: 'recursive' is not a dict"),
    ],
)
def test_an_argument_that_is_not_what_the_call_wants_is_named(
    cluster: Cluster, operation: str, arguments: Any, message: str
) -> None:
    task = FirecrestFilesystemOperator(
        task_id="simulate", operation=operation, path=cluster.path("f"), arguments=arguments
    )
    with pytest.raises(AirflowFailException, match=message):
        task.execute({"ti": TaskInstance()})
    assert cluster.firecrest.requests() == [], "nothing is sent"


def test_an_unknown_operation_is_told_when_the_dag_is_parsed() -> None:
    with pytest.raises(ValueError, match="'defrag' is not one of checksum, chmod"):
        FirecrestFilesystemOperator(task_id="simulate", operation="defrag", path="/x")
