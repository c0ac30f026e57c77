"""The file system calls answer as they were recorded."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance.harness import Recording, Replayer, check_headers, check_same_answer, load, names
from tests.conformance.trees import (
    ODD_NAMES,
    make_archives,
    make_names,
    make_ops,
    needs_its_tool,
    sparse,
)

OPS = [name for name in names() if name.startswith("ops_")]
REPLAYED = [*OPS, "names_ls", "names_ls_recursive", "names_ops_table"]
OUT_OF_REACH: dict[str, str] = {}


def _chmod(mode: int) -> Callable[[Path], None]:
    return lambda ops: (ops / "a.txt").chmod(mode)


def _write(name: str, size: int = 6) -> Callable[[Path], None]:
    return lambda ops: (ops / name).write_bytes(b"x" * size)


def _mkdir(name: str) -> Callable[[Path], None]:
    return lambda ops: (ops / name).mkdir(parents=True)


def _many(ops: Path) -> None:
    # Long names, so that fewer of them than the recorded 60,000 reach the output limit.
    directory = ops.parent / "tr" / "many"
    directory.mkdir(parents=True)
    for number in range(20_000):
        (directory / f"{number:0250}").touch()


# What the tree must hold besides the usual, because an earlier recorded call had changed it.
PREPARE: dict[str, Callable[[Path], Any]] = {
    "ops_chmod_symbolic": _chmod(0o640),
    "ops_chown_group": _chmod(0o740),
    "ops_chown_only_group": _chmod(0o740),
    "ops_mkdir_exists": _mkdir("new"),
    "ops_mkdir_exists_parent": _mkdir("new"),
    "ops_rm_dir": _mkdir("x/y/z"),
    "ops_rm_file": _write("up.txt"),
    "ops_upload_overwrite": _write("up.txt"),
    "ops_stat_up5m": lambda ops: sparse(ops / "up5m", 5_242_880),
    "ops_symlink_exists": lambda ops: (ops / "newlink").symlink_to("a.txt"),
    "ops_compress_overwrite": _write("sub.tgz"),
    "ops_ls_60000_entries": _many,
}


def _prepare(replayer: Replayer, name: str) -> Path:
    ops = replayer.path("/scratch/fireuser/ops")
    make_ops(ops)
    PREPARE.get(name, lambda _ops: None)(ops)
    if name.startswith("ops_extract"):
        make_archives(ops)
    limit = re.fullmatch(r"ops_download_limit_(\d+)", name)
    if limit:
        target = replayer.path(load(name).request["params"]["path"])
        target.parent.mkdir(exist_ok=True)
        sparse(target, int(limit[1]))
    if name == "ops_stat_after_compress_missing":
        replayer.send(load("ops_compress_missing"))
    if name == "ops_stat_after_empty_upload_408":
        _send(replayer, load("ops_upload_empty"))
    return ops


def _send(replayer: Replayer, recording: Recording) -> requests.Response:
    summary = recording.request.get("body_summary")
    if isinstance(summary, dict):
        file = summary["file"]
        return replayer.send(recording, files={"file": (file["filename"], b"x" * file["bytes"])})
    return replayer.send(recording, data=summary)


@pytest.mark.parametrize("name", [needs_its_tool(name) for name in OPS])
def test_ops_call_answers_as_recorded(replayer: Replayer, name: str, tmp_path: Path) -> None:
    _prepare(replayer, name)
    recording = load(name)
    if name == "ops_symlink_target_outside":
        # The recorded link lies in /tmp; this one must not outlive the test.
        text = {"/tmp/fireuser_link_escape": str(tmp_path / "escape")}
        recording = _replaced(recording, text)

    response = _send(replayer, recording)

    expected = recording.response
    body = expected.get("json", {}).get("output")
    if "body_summary" in expected:
        assert response.status_code == expected["status"]
        assert f"{len(response.content)} bytes" == expected["body_summary"]
    elif isinstance(body, str) and "trimmed by the recorder" in body:
        kept, _, size = body.partition("...[trimmed by the recorder: ")
        output = response.json()["output"]
        assert output.startswith(kept)
        assert f"{len(output)} characters]" == size
    else:
        check_same_answer(replayer, recording, response)


def _replaced(recording: Recording, text: dict[str, str]) -> Recording:
    def change(value: Any) -> Any:
        if isinstance(value, str):
            return text.get(value, value)
        if isinstance(value, dict):
            return {key: change(item) for key, item in value.items()}
        return value

    return Recording(recording.name, change(recording.content))


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("ops_upload_ok", "up.txt", b"x" * 6),
        ("ops_upload_exact_limit", "up5m", b"x" * 5_242_880),
        ("ops_upload_filename_traversal", "trav.txt", b"x"),
        ("ops_upload_empty", "up_empty", b""),
        ("ops_mkdir_parent", "x/y/z", None),
        ("ops_mkdir_ok", "new", None),
    ],
)
def test_what_a_call_claims_is_on_the_file_system(
    replayer: Replayer, name: str, file: str, content: bytes | None
) -> None:
    ops = _prepare(replayer, name)

    _send(replayer, load(name))

    if content is None:
        assert (ops / file).is_dir()
    else:
        assert (ops / file).read_bytes() == content


@pytest.mark.parametrize(
    ("name", "archive"), [("ops_compress_pattern", "pat.tgz"), ("ops_compress_none", "sub.none.tar")]
)
def test_archives_hold_the_file(replayer: Replayer, name: str, archive: str) -> None:
    ops = _prepare(replayer, name)

    _send(replayer, load(name))

    listed = subprocess.run(["tar", "-tf", ops / archive], check=True, capture_output=True, text=True).stdout
    assert "sub/deep/x.txt" in listed


@pytest.mark.parametrize("name", ["names_ls", "names_ls_recursive"])
def test_odd_names_are_listed_as_recorded(replayer: Replayer, name: str) -> None:
    make_names(replayer.path("/scratch/fireuser/names"))
    recording = load(name)

    response = replayer.send(recording)

    check_headers(recording.response, response)
    assert _names_and_sizes(response.json()) == _names_and_sizes(recording.response["json"])


def _names_and_sizes(listing: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((file["name"], file["type"]) for file in listing["output"])


@pytest.mark.parametrize("label", ODD_NAMES)
def test_every_call_carries_odd_names_as_recorded(replayer: Replayer, label: str) -> None:
    top = replayer.path("/scratch/fireuser/names")
    make_names(top)
    row, name = load("names_ops_table").content[label], ODD_NAMES[label]
    path = {"path": f"{top}/in/{name}"}
    ops = "/filesystem/cluster/ops"

    stat = replayer.call("GET", f"{ops}/stat", params=path)
    download = replayer.call("GET", f"{ops}/download", params=path)
    checksum = replayer.call("GET", f"{ops}/checksum", params=path)
    upload = _upload_as_browsers_do(replayer, f"{ops}/upload", top, name)
    mkdir = replayer.call("POST", f"{ops}/mkdir", json={"path": f"{top}/d_{name}"})

    assert _told(replayer, stat)[0] == row["stat"][0]
    assert _told(replayer, download) == [row["download"][0], replayer.anonymise(row["download"][1])]
    assert checksum.status_code == row["checksum"][0]
    assert _told(replayer, checksum)[1] == replayer.anonymise(row["checksum"][1])
    assert upload.status_code == row["upload_as_filename"][0]
    assert mkdir.status_code == row["mkdir"][0]
    assert (top / name).is_file() == row["exists_after_upload"]
    assert (top / f"d_{name}").is_dir() == row["mkdir_exists"]


def _upload_as_browsers_do(replayer: Replayer, path: str, directory: Path, name: str) -> requests.Response:
    """An upload whose file name is escaped as WHATWG says, which is how the recordings were made."""
    escaped = re.sub(r'["\x00-\x1f]', lambda match: f"%{ord(match[0]):02X}", name)
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n\r\n'
    body = head.encode() + b"x\r\n--b--\r\n"
    headers = {
        "Authorization": f"Bearer {replayer.token}",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    url = replayer.server.base_url + path
    return requests.post(url, params={"path": str(directory)}, data=body, headers=headers, timeout=30)


def _told(replayer: Replayer, response: requests.Response) -> list[Any]:
    """Status and what the recording client noted: the output, or the message of an error."""
    if response.headers["content-type"] != "application/json":
        return [response.status_code, response.text]
    answer = replayer.anonymise(response.json())
    return [response.status_code, str(answer["output"]) if "output" in answer else answer["message"]]
