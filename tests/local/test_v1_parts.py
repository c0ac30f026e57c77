"""The parts of the local v1 server that need no server: pages, values, tasks, forms, names, its rsync."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.local.object_store import ObjectStore, Part, StoreError
from airflow_provider_firecrest.local.presign import Presigner
from airflow_provider_firecrest.local.slurm.submission import read_options, warning
from airflow_provider_firecrest.local.v1 import rsync
from airflow_provider_firecrest.local.v1.cluster import safe_name
from airflow_provider_firecrest.local.v1.commands import CommandFailed
from airflow_provider_firecrest.local.v1.errors import V1Error
from airflow_provider_firecrest.local.v1.forms import check_fields, signed_fields
from airflow_provider_firecrest.local.v1.pages import EndlessPage, page
from airflow_provider_firecrest.local.v1.tasks import TaskFailed, TaskStore
from airflow_provider_firecrest.local.v1.values import Values, has_forbidden

ROWS = list("abcde")


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({}, "abcde"),
        ({"pageSize": "2"}, "ab"),
        ({"pageSize": "2", "pageNumber": "2"}, "e"),
        ({"pageSize": "2", "pageNumber": "3"}, ""),
        ({"pageSize": "x", "pageNumber": "y"}, "abcde"),
    ],
)
def test_pages_are_counted_from_zero(wanted: dict[str, str], rows: str) -> None:
    assert list(page(ROWS, wanted)) == list(rows)


def test_a_page_beyond_the_last_or_below_zero_fails() -> None:
    with pytest.raises(TaskFailed, match=r"pageNumber \(4\) is greater than total pages \(3\)"):
        page(ROWS, {"pageSize": "2", "pageNumber": "4"})
    with pytest.raises(TaskFailed, match="cannot be a negative number"):
        page(ROWS, {"pageNumber": "-1"})


def test_a_page_of_size_zero_never_comes() -> None:
    with pytest.raises(EndlessPage):
        page(ROWS, {"pageSize": "0"})


@pytest.mark.parametrize("character", [*"<>|;\"'&\\()`", "\n", "\t", "\x00", "\x7f"])
def test_forbidden_characters_are_refused_in_every_value(character: str) -> None:
    values = Values({"targetPath": f"/a{character}b"}, "Error on ls operation")

    with pytest.raises(V1Error) as caught:
        values.required("targetPath")

    assert caught.value.body == {
        "description": "Error on ls operation",
        "error": "'targetPath' has invalid char",
    }


def test_every_other_printable_character_passes() -> None:
    assert not has_forbidden(" !#$%*+,-./0:=?@A[]^_a{}~é文")


@pytest.mark.parametrize(
    ("texts", "problem"), [({}, "'targetPath' not specified"), ({"targetPath": ""}, "'targetPath' is empty")]
)
def test_missing_and_empty_are_told_apart(texts: dict[str, str], problem: str) -> None:
    with pytest.raises(V1Error) as caught:
        Values(texts, "Error").required("targetPath")

    assert caught.value.body is not None
    assert caught.value.body["error"] == problem


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("cp: cannot stat 'x': No such file or directory", "X-Not-Found"),
        ("tar: x: Cannot stat: No such file or directory", "X-Invalid-Path"),
        ("cp: cannot stat 'x': Permission denied", "X-Permission-Denied"),
        ("ls: cannot access 'x/y': Not a directory", "X-Invalid-Path"),
        ("mkdir: cannot create directory 'x/y': Not a directory", "X-Not-A-Directory"),
        ("chown: invalid user: 'x'", "X-Invalid-Owner"),
        ("something else", "X-Error"),
    ],
)
def test_words_of_a_complaint_decide_about_the_header(text: str, header: str) -> None:
    assert list(CommandFailed(text).header) == [header]


def test_an_invalidated_task_has_two_faces() -> None:
    store = TaskStore()
    task = store.create("fireuser", "storage", "cluster")
    task.set("117", {"url": "http://x"})

    task.invalidate()
    task.invalidate()

    assert (task.single()["status"], task.single()["data"]) == ("302", "")
    assert (task.in_list()["status"], task.in_list()["data"]) == ("117", {"url": "http://x"})


def test_only_the_list_view_tells_staging_secrets() -> None:
    task = TaskStore().create("fireuser", "storage", "cluster")
    secrets = {"action": "a", "cert": [], "download_url": "u"}
    task.set("111", {"msg": {"command": "c", "parameters": {}, **secrets}, "source": "s"})

    assert sorted(task.single()["data"]["msg"]) == ["command", "parameters"]
    assert sorted(task.in_list()["data"]["msg"]) == [
        "action",
        "cert",
        "command",
        "download_url",
        "parameters",
    ]


@pytest.fixture
def fields() -> tuple[Presigner, dict[str, str]]:
    presigner = Presigner(60)
    return presigner, signed_fields(presigner, "fireuser", "id/file", 60)


def test_a_signed_form_names_its_key(fields: tuple[Presigner, dict[str, str]]) -> None:
    presigner, form = fields

    assert check_fields(presigner, "fireuser", form) == "id/file"


def test_a_form_is_for_its_bucket_and_signer_only(fields: tuple[Presigner, dict[str, str]]) -> None:
    presigner, form = fields

    with pytest.raises(StoreError, match=r'"eq", "\$bucket", "fireuser"'):
        check_fields(presigner, "otheruser", form)
    with pytest.raises(StoreError, match="signature we calculated"):
        check_fields(Presigner(60), "fireuser", form)


def test_a_forged_policy_is_refused(fields: tuple[Presigner, dict[str, str]]) -> None:
    presigner, form = fields
    policy: dict[str, Any] = {"expiration": "2999-01-01T00:00:00Z", "conditions": [{"key": "other"}]}
    forged = {**form, "key": "other", "policy": b64encode(json.dumps(policy).encode()).decode()}

    with pytest.raises(StoreError) as caught:
        check_fields(presigner, "fireuser", forged)

    assert caught.value.code == "SignatureDoesNotMatch"


def test_an_unreadable_policy_is_refused_although_signed() -> None:
    presigner = Presigner(60)
    signing = presigner.form_fields(datetime.now(UTC))
    policy = b64encode(b"no json").decode()
    signature = presigner.sign_policy(signing["x-amz-date"], policy)

    with pytest.raises(StoreError) as caught:
        check_fields(presigner, "b", {**signing, "policy": policy, "x-amz-signature": signature})

    assert caught.value.code == "InvalidPolicyDocument"


def test_a_single_object_can_be_stored_replaced_and_lost(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path / "objects", 5)
    for content in (b"first", b"second"):
        file = store.new_file()
        file.write_bytes(content)
        store.put("b", "k", Part(1, file, len(content), content.hex()))

    assert b"".join(store.get("b", "k").read(0, 6)) == b"second"
    store.delete("b", "k")
    with pytest.raises(StoreError, match="does not exist"):
        store.get("b", "k")
    with pytest.raises(StoreError, match="does not exist"):
        store.delete("b", "k")


@pytest.mark.parametrize(
    ("directives", "text"),
    [
        (
            "--nodes=3\n#SBATCH --ntasks=1",
            "sbatch: Warning: can't run 1 processes on 3 nodes, setting nnodes to 1\n",
        ),
        ("--nodes=3", ""),
        ("--nodes=1 --ntasks=3", ""),
    ],
)
def test_sbatch_warns_of_fewer_tasks_than_nodes(directives: str, text: str) -> None:
    assert warning(read_options(f"#!/bin/sh\n#SBATCH {directives}\n", {})) == text


@pytest.mark.parametrize(
    ("name", "stored"),
    [("job.sh", "job.sh"), ("hé llo.sh", "he_llo.sh"), ("../up.sh", "up.sh"), ("文", "script.batch")],
)
def test_uploaded_scripts_get_safe_names(name: str, stored: str) -> None:
    assert safe_name(name) == stored


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "s" / "d").mkdir(parents=True)
    (tmp_path / "s" / "d" / "f").write_text("content")
    (tmp_path / "s" / "link").symlink_to("d/f")
    return tmp_path


@pytest.mark.parametrize(("source", "copied"), [("s", "t/s/d/f"), ("s/", "t/d/f"), ("s/d/f", "t")])
def test_rsync_puts_things_where_rsync_does(tree: Path, source: str, copied: str) -> None:
    assert rsync.main([f"{tree}/{source}", f"{tree}/t"]) == 0

    assert (tree / copied).read_text() == "content"


def test_rsync_keeps_links_and_replaces_files(tree: Path) -> None:
    for content in ("old", "new"):
        (tree / "s" / "d" / "f").write_text(content)
        assert rsync.main([f"{tree}/s/", f"{tree}/t"]) == 0

    assert (tree / "t" / "link").is_symlink()
    assert (tree / "t" / "d" / "f").read_text() == "new"


def test_rsync_says_so_when_it_cannot(tree: Path) -> None:
    program = [sys.executable, "-I", "-S", rsync.__file__]
    done = subprocess.run([*program, "/nope/x", f"{tree}/t"], capture_output=True, text=True, check=False)

    assert done.returncode == 23
    assert 'link_stat "/nope/x" failed: No such file or directory (2)' in done.stderr
