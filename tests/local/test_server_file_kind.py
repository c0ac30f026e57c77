"""Without a ``file`` command the server says what was recorded all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_firecrest.local.file_kind import file_kind
from tests.conformance.harness import load
from tests.conformance.trees import make_ops

RECORDED = ["binary", "broken_symlink", "dir", "empty", "missing", "ok", "symlink"]


@pytest.mark.parametrize("kind", RECORDED)
def test_kinds_are_named_as_recorded(tmp_path: Path, kind: str) -> None:
    make_ops(tmp_path / "ops")
    recording = load(f"ops_file_{kind}")
    path = recording.request["params"]["path"].replace("/scratch/fireuser", str(tmp_path))

    said = file_kind(path)

    assert said.replace(str(tmp_path), "/scratch/fireuser") == recording.response["json"]["output"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"#!/bin/sh\n", "script, ASCII text executable"),
        (b"\x1f\x8bxxx", "gzip compressed data"),
        ("grün\n".encode(), "Unicode text, UTF-8 text"),
    ],
)
def test_content_is_looked_at(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "f").write_bytes(content)

    assert file_kind(str(tmp_path / "f")) == kind
