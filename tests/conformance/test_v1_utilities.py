"""Replays of the recorded calls to ``/utilities``."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conformance.v1_harness import (
    V1Replayer,
    check_error_headers,
    check_same_answer,
    load,
    matching,
)
from tests.conformance.v1_trees import NAMES, RENAMED, add_large_and_odd, add_odd_names, make_home

_IN_FRONT = "answered, at random, by the proxy in front of the services when a client sends too much"
OUT_OF_REACH = {
    "ls-odd-names-server-locale-utf8": "the recorded machine had a UTF-8 locale; the local shell is POSIX",
    "upload-too-large": _IN_FRONT,
    "upload-too-large-via-nginx-31457280": _IN_FRONT,
}
_PLAIN = [
    name
    for name in matching(
        *(
            "ls",
            "file",
            "head",
            "tail",
            "view",
            "stat",
            "checksum",
            "chmod",
            "chown",
            "mkdir",
            "rename",
            "copy",
        ),
        *("symlink", "compress", "extract", "download", "upload", "whoami", "timeout", "rm"),
    )
    if name not in OUT_OF_REACH and not name.startswith("stat-us") and name != "ls-names"
]
_DIRECT = [name for name in _PLAIN if "direct" in name]
CALLS = [name for name in _PLAIN if name not in _DIRECT]
NAME_CALLS = matching("name")
REPLAYED = [*_PLAIN, *NAME_CALLS, "ls-names", "names-summary"]


def _replay(*earlier: str) -> Callable[[V1Replayer, Path], None]:
    def act(replayer: V1Replayer, _top: Path) -> None:
        for name in earlier:
            replayer.send(load(name))

    return act


def _archive(_replayer: V1Replayer, top: Path) -> None:
    with tarfile.open(top / "a.tar.gz", "w:gz") as archive:
        archive.add(top / "a", "a")


def _no_top(_replayer: V1Replayer, top: Path) -> None:
    top.rename(top.with_name("elsewhere"))


def _copied(name: str) -> Callable[[V1Replayer, Path], None]:
    return lambda _replayer, top: (top / name).write_text("x")  # type: ignore[func-returns-value]


_LATE = _replay("chmod", "chown-group", "compress", "symlink", "compress-missing")
# What earlier recorded calls had changed.
PREPARE: dict[str, Callable[[V1Replayer, Path], Any]] = {
    "mkdir": _no_top,
    "rename": _copied("copy.txt"),
    "rm": _copied("moved.txt"),
    "symlink-exists": _replay("symlink"),
    "extract": _archive,
    "ls-links": _LATE,
    "ls-relative": _LATE,
    "ls-notListing": _LATE,
    "stat-link": _LATE,
    "stat-link-deref": _LATE,
    "ls-odd-names": lambda _replayer, top: add_odd_names(top),
}
_NEEDS_LARGE = re.compile(r"30-lines|binary|too-large|fifo|timeout")


def _prepare(replayer: V1Replayer, name: str) -> Path:
    top = make_home(replayer.home)
    if _NEEDS_LARGE.search(name):
        add_large_and_odd(top)
    PREPARE.get(name, lambda _replayer, _top: None)(replayer, top)
    return top


@pytest.mark.parametrize("name", CALLS)
def test_utility_answers_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    top = _prepare(v1_replayer, name)
    recording = load(name)

    response = v1_replayer.send(recording)

    if name == "download-binary":
        # The recorder wrote the bytes down as text.
        assert response.content == (top / "rand.bin").read_bytes()
        check_error_headers(v1_replayer, recording, response)
    elif recording.response["status"] == 200 and "text" in recording.response:
        _check_download(recording.response, response)
    else:
        check_same_answer(v1_replayer, recording, response)


def _check_download(expected: dict[str, Any], response: requests.Response) -> None:
    assert response.status_code == 200
    assert response.text == expected["text"]
    for header in ("content-disposition", "content-type", "cache-control", "accept-ranges"):
        assert response.headers[header] == expected["headers"][header]


@pytest.mark.parametrize("name", _DIRECT)
def test_upload_over_the_limit_is_refused_without_a_gateway_too(v1_replayer: V1Replayer, name: str) -> None:
    make_home(v1_replayer.home)
    recording = load(name)

    response = v1_replayer.call(
        "POST",
        "/utilities/upload",
        data={"targetPath": str(v1_replayer.home)},
        files={"file": ("big.bin", b"x" * recording.request["bytes"])},
    )

    assert response.status_code == recording.response["status"]
    assert response.json() == recording.response["json"]


def _names_directory(replayer: V1Replayer) -> Path:
    names = make_home(replayer.home) / "names"
    names.mkdir()
    return names


@pytest.mark.parametrize("name", NAME_CALLS)
def test_odd_name_is_carried_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    directory = _names_directory(v1_replayer)
    _, label, operation = name.split("-")
    if operation not in ("upload", "mkdir"):
        (directory / NAMES[label]).write_text("data\n")
        (directory / NAMES[label]).chmod(0o644)
    recording = load(name)

    response = v1_replayer.send(recording)

    if recording.response["status"] == 200 and operation == "download":
        _check_download(recording.response, response)
    else:
        check_same_answer(v1_replayer, recording, response)
    stored = directory / RENAMED.get(label, NAMES[label])
    if operation == "upload":
        assert stored.exists() == (recording.response["status"] == 201)


def test_the_summary_of_odd_names_holds_for_every_call(v1_replayer: V1Replayer) -> None:
    _names_directory(v1_replayer)

    for label, calls in load("names-summary").content["results"].items():
        for operation, (status, told) in calls.items():
            response = v1_replayer.send(load(f"name-{label}-{operation}"))
            assert response.status_code == status, (label, operation)
            if told.startswith("attachment"):
                assert response.headers["content-disposition"] == told
            elif status == 400:
                assert response.text.strip() == told


def test_odd_names_are_listed_as_recorded(v1_replayer: V1Replayer) -> None:
    _names_directory(v1_replayer)
    for label in NAMES:
        for operation in ("upload", "copy", "mkdir"):
            v1_replayer.send(load(f"name-{label}-{operation}"))

    check_same_answer(v1_replayer, load("ls-names"), v1_replayer.send(load("ls-names")))


def test_what_a_call_claims_is_on_the_file_system(v1_replayer: V1Replayer) -> None:
    top = make_home(v1_replayer.home)

    for name in ("upload", "copy", "rename", "symlink", "compress", "mkdir-p", "chmod"):
        v1_replayer.send(load(name))

    assert (top / "moved.txt").read_text() == "line1\nline2\nline3\n"
    assert not (top / "copy.txt").exists()
    assert (top / "link").readlink() == top / "hello.txt"
    assert (top / "hello.txt").stat().st_mode & 0o777 == 0o640
    with tarfile.open(top / "a.tar.gz") as archive:
        assert "a/b/c" in archive.getnames()


@pytest.mark.parametrize("path", ["/etc/firecrest-test", "../../../firecrest-test"])
def test_nothing_outside_of_the_sandbox_can_be_touched(v1_replayer: V1Replayer, path: str) -> None:
    made = v1_replayer.call("POST", "/utilities/mkdir", data={"targetPath": path})
    removed = v1_replayer.call("DELETE", "/utilities/rm", data={"targetPath": "/etc/hostname"})

    for response in (made, removed):
        assert response.status_code == 400
        assert response.headers["X-Permission-Denied"]
    assert not Path("/etc/firecrest-test").exists()
    assert not (v1_replayer.server.root.parent / "firecrest-test").exists()


def test_download_carries_every_byte_up_to_the_limit(v1_replayer: V1Replayer) -> None:
    content = bytes(range(256)) * 20_000  # 5,120,000 bytes; as base64 they are more than 5 MiB
    (v1_replayer.home / "large.bin").write_bytes(content)

    path = {"sourcePath": str(v1_replayer.home / "large.bin")}
    response = v1_replayer.call("GET", "/utilities/download", params=path)

    assert hashlib.sha256(response.content).digest() == hashlib.sha256(content).digest()
