"""Where an outcome will be, what is refused before anything is sent, and what survives JSON."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import ClientCredentials, FirecrestClient, Settings
from airflow_provider_firecrest.client.errors import ConflictError, InvalidRequestError, NotFoundError
from airflow_provider_firecrest.client.fileops import looks, plan_operation, run_operation
from airflow_provider_firecrest.client.fileops.operation import FileOperation, Kind, Look, StartedOperation
from airflow_provider_firecrest.client.fileops.plan import place
from airflow_provider_firecrest.client.transfers.directories import upload as directory_upload
from airflow_provider_firecrest.client.transfers.directories.state import DirectoryOptions
from tests.fixtures_local import FirecrestForTest

FILE = Look("file", 10)
DIRECTORY = Look("directory", 4096)


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def client(request: pytest.FixtureRequest, firecrest: FirecrestForTest) -> Iterator[FirecrestClient]:
    auth = ClientCredentials(firecrest.token_url, firecrest.client_id, firecrest.client_secret)
    url = firecrest.base_url if request.param == 2 else firecrest.base_url_v1
    with FirecrestClient(Settings(url, auth, system="cluster", account="project")) as found:
        yield found


def changes(firecrest: FirecrestForTest) -> list[str]:
    """What was asked for since the test began, besides looking."""
    return [
        each["path"]
        for each in firecrest.requests()
        if each["method"] != "GET" and "token" not in each["path"]
    ]


@pytest.mark.parametrize(
    ("kind", "source", "target", "into", "found", "result"),
    [
        ("cp", "/a/s", "/b/t", False, FILE, "/b/t"),
        ("cp", "/a/s", "/b/t", True, FILE, "/b/t/s"),
        ("mv", "/a/s", "/b/t/", False, None, "/b/t/s"),
        ("mv", "/a/s", "/b/t", False, DIRECTORY, "/b/t"),
        ("rsync", "/a/s", "/b/t", False, FILE, "/b/t"),
        ("rsync", "/a/s", "/b/t", False, DIRECTORY, "/b/t/s"),
        ("rsync", "/a/s/", "/b/t", False, DIRECTORY, "/b/t"),
        ("rsync", "/a/s/", "/b/t/", True, DIRECTORY, "/b/t"),
        ("rsync", "/a/s", "/b/t", True, FILE, "/b/t/s"),
        ("compress", "/a/s", "/b/t.tgz", False, DIRECTORY, "/b/t.tgz"),
    ],
)
def test_where_an_outcome_will_be(
    kind: Kind, source: str, target: str, into: bool, found: Look | None, result: str
) -> None:
    operation = FileOperation(kind, source, target, target, "s", "job", "n")
    assert place(operation, into_directory=into, source=found) == result


def test_an_operation_survives_json() -> None:
    before = Look("file", 3, mtime=1, inode=2, sha256="ab")
    operation = FileOperation("mv", "/a", "/b", "/b", "s", "job", "n", source_before=before)
    started = StartedOperation(operation, "12", "/out", "/err", 1.5)
    assert StartedOperation.from_dict(json.loads(json.dumps(started.as_dict()))) == started


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kind": "mkfs"}, "kind: 'mkfs'"),
        ({"kind": "cp", "target": None}, "target_path: empty"),
        ({"kind": "rm", "target": "/x"}, "target_path: rm has none"),
        ({"kind": "cp", "source": "relative"}, "source_path: 'relative' is not an absolute path"),
        ({"kind": "rm", "source": "", "target": None}, "path: empty"),
        ({"kind": "rm", "source": "/etc/passwd", "target": None}, "path: '/etc/passwd' is outside"),
        ({"kind": "cp", "target": "/etc/x"}, "target_path: '/etc/x' is outside"),
        ({"kind": "cp", "if_exists": "ask"}, "if_exists: 'ask'"),
        ({"kind": "cp", "time_limit": "soon"}, "time_limit: 'soon'"),
        ({"kind": "cp", "job_name": "a|b"}, "job_name: 'a|b'"),
        ({"kind": "cp", "job_name": "a'b"}, "job_name"),
        ({"kind": "cp", "partition": "a b"}, "partition: 'a b'"),
        ({"kind": "cp", "after_job_id": "latest"}, "after_job_id: 'latest' is not a job id"),
        ({"kind": "cp", "after_job_id": ""}, "after_job_id: '' is not a job id. Leave it out, or give None"),
        ({"kind": "compress", "compression": "zip"}, "compression: 'zip'"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(
    client: FirecrestClient, firecrest: FirecrestForTest, arguments: dict[str, Any], told: str
) -> None:
    (firecrest.directory / "a").write_text("x")
    values = {"source": f"{firecrest.directory}/a", "target": f"{firecrest.directory}/b", **arguments}
    with pytest.raises(InvalidRequestError) as refusal:
        plan_operation(client, **values)
    assert str(refusal.value).startswith(told)
    assert changes(firecrest) == []


def test_a_whole_file_system_is_neither_removed_nor_moved(
    client: FirecrestClient, firecrest: FirecrestForTest
) -> None:
    mount = client.system_info().file_systems[0].path
    for kind, target in (("rm", None), ("mv", f"{firecrest.directory}/x")):
        with pytest.raises(InvalidRequestError, match="is a whole file system"):
            plan_operation(client, kind, f"{mount}/", target)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"holds '\.\.'"):
        plan_operation(client, "rm", f"{firecrest.directory}/../..")


def test_nor_is_it_replaced_by_a_directory(
    client: FirecrestClient, firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    # Only planned as well.
    options = DirectoryOptions(if_exists="overwrite")
    for target, told in (
        (firecrest.scratch, "all that you have"),
        (firecrest.scratch.parent, "a whole file"),
    ):
        with pytest.raises(InvalidRequestError, match=f"^target_path: {target} is {told}"):
            directory_upload._planned(client, tmp_path, str(target), None, options)


@pytest.mark.parametrize("written", ["{}", "{}/", "{}//", "{}/."])
def test_all_that_a_user_has_on_a_file_system_is_neither_removed_nor_moved(
    client: FirecrestClient, firecrest: FirecrestForTest, written: str
) -> None:
    """What a template leaves that has lost the last part of its path; it is only planned here."""
    own = written.format(firecrest.scratch)
    for kind, target in (("rm", None), ("mv", f"{firecrest.directory}/x")):
        with pytest.raises(InvalidRequestError, match=r"is all that you have on .*name something in it"):
            plan_operation(client, kind, own, target)  # type: ignore[arg-type]
    assert changes(firecrest) == []


def test_a_target_may_not_be_the_source_or_lie_in_it(
    client: FirecrestClient, firecrest: FirecrestForTest
) -> None:
    tree = firecrest.directory / "tree"
    (tree / "sub").mkdir(parents=True)
    with pytest.raises(InvalidRequestError, match="is the source itself"):
        plan_operation(client, "cp", str(tree), str(firecrest.directory))
    with pytest.raises(InvalidRequestError, match="lies inside the source"):
        plan_operation(client, "cp", str(tree), str(tree / "sub"))


def test_missing_places_are_named(client: FirecrestClient, firecrest: FirecrestForTest) -> None:
    here = firecrest.directory
    (here / "a").write_text("x")
    with pytest.raises(NotFoundError, match="source_path: there is no"):
        plan_operation(client, "compress", f"{here}/no", f"{here}/no.tgz")
    with pytest.raises(NotFoundError, match="target_path: there is no directory"):
        plan_operation(client, "cp", f"{here}/a", f"{here}/no/b")
    with pytest.raises(NotFoundError, match="target_path: there is no directory"):
        plan_operation(client, "cp", f"{here}/a", f"{here}/no/")
    with pytest.raises(NotFoundError, match="target_path: there is no directory"):
        plan_operation(client, "extract", f"{here}/a", f"{here}/no")
    assert changes(firecrest) == []


def test_what_is_there_is_replaced_only_when_that_was_asked_for(
    client: FirecrestClient, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "PATIENCE", 0.5)
    one, other = firecrest.directory / "one", firecrest.directory / "other"
    one.write_text("new")
    other.write_text("old")
    with pytest.raises(ConflictError, match="if_exists='overwrite' replaces it"):
        run_operation(client, "cp", str(one), str(other))
    with pytest.raises(ConflictError, match="is not the same file"):
        run_operation(client, "cp", str(one), str(other), if_exists="skip")
    assert other.read_text() == "old"
    run_operation(client, "cp", str(one), str(other), if_exists="overwrite", poll_interval=0.2)
    assert other.read_text() == "new"
    assert run_operation(client, "cp", str(one), str(other), if_exists="skip").way == "skip"


def test_a_directory_is_never_replaced_by_a_move(
    client: FirecrestClient, firecrest: FirecrestForTest
) -> None:
    here = firecrest.directory
    (here / "tree").mkdir()
    (here / "store" / "tree").mkdir(parents=True)
    with pytest.raises(ConflictError, match="is a directory and cannot be replaced"):
        plan_operation(client, "mv", f"{here}/tree", f"{here}/store", if_exists="overwrite")


def test_a_name_that_tar_would_take_for_an_option_is_archived_by_a_job_of_ours(
    client: FirecrestClient, firecrest: FirecrestForTest
) -> None:
    here = firecrest.directory
    (here / "-C").write_text("x")
    result = run_operation(client, "compress", f"{here}/-C", f"{here}/c.tar.gz", poll_interval=0.2)
    assert result.way == "script"
    with tarfile.open(here / "c.tar.gz") as archive:
        assert archive.getnames() == ["-C"]


@pytest.mark.parametrize(
    ("source", "copy", "exact", "told"),
    [
        ({"a": ("-", 1)}, {"a": ("-", 1)}, True, None),
        ({"a": ("-", 1)}, {}, False, "1 of 1 entries are missing"),
        ({"a": ("-", 1), "b": ("d", None)}, {"a": ("-", 2), "b": ("d", None)}, False, "type or size"),
        ({"a": ("-", 1)}, {"a": ("l", None)}, False, "type or size"),
        ({}, {"a": ("-", 1)}, True, "there in addition"),
        ({}, {"a": ("-", 1)}, False, None),
    ],
)
def test_what_differs_between_directories_is_said(
    source: looks.Tree, copy: looks.Tree, exact: bool, told: str | None
) -> None:
    found = looks.difference(source, copy, exact=exact)
    assert found is None if told is None else told in str(found)
