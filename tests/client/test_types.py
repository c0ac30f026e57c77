"""An editor and mypy know what a call returns: a value on the one client, something to await on the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

USE = """
from __future__ import annotations

from pathlib import Path
from typing import assert_type

from airflow_provider_firecrest.client import AsyncFirecrestClient, FirecrestClient
from airflow_provider_firecrest.client.models import (
    DownloadTicket,
    FileStat,
    FormTicket,
    Job,
    JobMetadata,
    RemoteFile,
    System,
    UploadTicket,
    UserInfo,
)


def blocking(client: FirecrestClient) -> None:
    assert_type(client.get_job("7"), Job)
    assert_type(client.jobs(name="x"), list[Job])
    assert_type(client.find_jobs(["7"]), dict[str, Job])
    assert_type(client.submit_job("#!/bin/sh", working_dir="/s"), str)
    assert_type(client.cancel_job("7"), bool)
    assert_type(client.wait_for_job("7", timeout=5.0), Job)
    assert_type(client.job_metadata("7"), JobMetadata)
    assert_type(client.systems(), list[System])
    assert_type(client.userinfo(), UserInfo)
    assert_type(client.stat("/s"), FileStat)
    assert_type(client.ls("/s", recursive=True), list[RemoteFile])
    assert_type(client.download("/s"), bytes)
    assert_type(client.checksum("/s"), str)
    assert_type(client.transfer_upload("/s", 1), UploadTicket | FormTicket)
    assert_type(client.transfer_download("/s"), DownloadTicket | str)
    client.upload("/s", "f", Path("f"))


async def awaitable(client: AsyncFirecrestClient) -> None:
    assert_type(await client.get_job("7"), Job)
    assert_type(await client.find_jobs(["7"]), dict[str, Job])
    assert_type(await client.submit_job("#!/bin/sh", working_dir="/s"), str)
    assert_type(await client.cancel_job("7"), bool)
    assert_type(await client.stat("/s"), FileStat)
    assert_type(await client.exists("/s"), bool)
"""

# A line, and a word of what mypy must say about it.
MISUSE = {
    "client.get_job(7)": "arg-type",
    "client.get_job()": "call-arg",
    'client.get_job("7", sytem="x")': "call-arg",
    'client.submit_job("#!/bin/sh", working_directory="/s")': "call-arg",
    'client.stat("/s").sise': "attr-defined",
    'client.no_such_call("/s")': "attr-defined",
    'len(client.cancel_job("7"))': "arg-type",
    'client.transfer_upload("/s", 1).part_urls': "union-attr",
}


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--show-error-codes"]
    command += [
        "--config-file",
        str(root / "pyproject.toml"),
        "--cache-dir",
        str(root / ".mypy_cache"),
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False, timeout=240)


def test_every_call_has_its_type_on_either_client(tmp_path: Path) -> None:
    path = tmp_path / "use.py"
    path.write_text(USE)

    found = mypy(path)

    assert found.returncode == 0, found.stdout + found.stderr


def test_a_wrong_call_is_seen_before_it_runs(tmp_path: Path) -> None:
    lines = [
        "from airflow_provider_firecrest.client import FirecrestClient",
        "def use(client: FirecrestClient) -> None:",
        *(f"    {line}" for line in MISUSE),
        "async def forgot_to_await(client: 'FirecrestClient') -> None:",
        "    await client.get_job('7')",
    ]
    path = tmp_path / "misuse.py"
    path.write_text("\n".join(lines) + "\n")

    said = mypy(path).stdout.splitlines()

    for number, (line, code) in enumerate(MISUSE.items(), start=3):
        assert any(f":{number}: " in each and f"[{code}]" in each for each in said), f"{line}: {said}"
    assert any(f":{len(lines)}: " in each for each in said)


@pytest.mark.parametrize("name", ["get_job", "submit_job", "ls", "transfer_upload", "wait_for_job"])
def test_a_calls_documentation_is_that_of_its_flow(name: str) -> None:
    from airflow_provider_firecrest.client import AsyncFirecrestClient, FirecrestClient
    from airflow_provider_firecrest.client.v2 import V2

    for cls in (FirecrestClient, AsyncFirecrestClient):
        assert getattr(cls, name).__doc__ == getattr(V2, name).__doc__


def test_every_public_flow_is_a_call_of_the_clients() -> None:
    import inspect

    from airflow_provider_firecrest.client import FirecrestClient
    from airflow_provider_firecrest.client.calls import Call
    from airflow_provider_firecrest.client.v2 import V2

    flows = {
        name
        for name, member in inspect.getmembers(V2, inspect.isgeneratorfunction)
        if not name.startswith("_")
    }
    calls = {
        name
        for cls in FirecrestClient.__mro__
        for name, member in vars(cls).items()
        if isinstance(member, Call)
    }

    assert len(flows) >= 38
    assert flows <= calls
