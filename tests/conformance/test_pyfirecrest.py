"""The official client, which shares no code with this project, finds the local server to be a FirecREST.

Every call of its v2 clients is made, blocking and asynchronous, and must succeed or fail as it was recorded.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import firecrest
import pytest
import pytest_asyncio
from firecrest.FirecrestException import TransferJobFailedException

from tests.conformance.harness import Replayer, load
from tests.conformance.trees import needs_its_tool

REPLAYED = ["pyfirecrest_3_10_session"]
OUT_OF_REACH: dict[str, str] = {}
SYSTEM = "cluster"
# The client itself sends text the way httpx no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


class Judge:
    """Either of the two clients, awaited alike."""

    def __init__(self, client: Any, directory: Path) -> None:
        self.client = client
        self.directory = directory

    async def call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method of the client."""
        method = getattr(self.client, name)
        if inspect.iscoroutinefunction(method):
            return await method(*arguments, **keywords)
        return await asyncio.to_thread(method, *arguments, **keywords)

    async def on_system(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method whose first argument is the system."""
        return await self.call(name, SYSTEM, *arguments, **keywords)

    def path(self, name: str) -> str:
        """A path in the directory of the test."""
        return str(self.directory / name)


@pytest_asyncio.fixture(params=["blocking", "asynchronous"])
async def judge(request: pytest.FixtureRequest, replayer: Replayer) -> AsyncIterator[Judge]:
    server = replayer.server
    authorization = firecrest.ClientCredentialsAuth(server.client_id, server.client_secret, server.token_url)
    kind = firecrest.v2.Firecrest if request.param == "blocking" else firecrest.v2.AsyncFirecrest
    client = kind(firecrest_url=server.base_url, authorization=authorization)
    directory = server.scratch / "pyf"
    directory.mkdir()
    yield Judge(client, directory)
    closing = client.close_session()
    if inspect.isawaitable(closing):
        await closing


async def test_it_sees_the_system(judge: Judge) -> None:
    systems = await judge.call("systems")
    userinfo = await judge.on_system("userinfo")

    assert systems[0]["name"] == SYSTEM
    assert userinfo["user"]["name"] == "fireuser"
    assert await judge.on_system("nodes")
    assert {"part01", "xfer"} <= {row["name"] for row in await judge.on_system("partitions")}
    assert isinstance(await judge.on_system("reservations"), list)
    assert await judge.call("server_version") == load("pyfirecrest_3_10_session").content["server_version"][2]


async def test_it_handles_small_files(judge: Judge, tmp_path: Path) -> None:
    source, back = tmp_path / "small", tmp_path / "back"
    source.write_text("one\ntwo\nthree\n")

    made = await judge.on_system("mkdir", judge.path("a/b"), create_parents=True)
    assert await judge.on_system("upload", str(source), judge.path("a"), "s.txt") is None
    await judge.on_system("download", judge.path("a/s.txt"), str(back))
    listed = await judge.on_system("list_files", judge.path("a"))
    stat = await judge.on_system("stat", judge.path("a/s.txt"))

    assert made["type"] == "d"
    assert back.read_bytes() == source.read_bytes()
    assert sorted(file["name"] for file in listed) == ["b", "s.txt"]
    assert stat["size"] == source.stat().st_size
    assert await judge.on_system("view", judge.path("a/s.txt")) == source.read_text()
    assert (await judge.on_system("head", judge.path("a/s.txt"), num_lines=1))["content"] == "one\n"
    assert (await judge.on_system("tail", judge.path("a/s.txt"), num_bytes=6))["content"] == "three\n"
    assert await judge.on_system("file_type", judge.path("a/s.txt")) == "ASCII text"
    assert len((await judge.on_system("checksum", judge.path("a/s.txt")))["checksum"]) == 64


async def test_it_changes_files(judge: Judge) -> None:
    (judge.directory / "f").write_text("x")

    chmod = await judge.on_system("chmod", judge.path("f"), "600")
    chown = await judge.on_system("chown", judge.path("f"), "fireuser", "project")
    link = await judge.on_system("symlink", judge.path("f"), judge.path("l"))

    assert chmod["permissions"] == "rw-------"
    assert chown["group"] == "project"
    # It hands this one answer on as it came.
    assert link["output"]["linkTarget"] == judge.path("f")
    await judge.on_system("rm", judge.path("l"))
    assert sorted(path.name for path in judge.directory.iterdir()) == ["f"]


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
async def test_it_moves_large_files_through_the_store(judge: Judge, tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    source, back = tmp_path / "big", tmp_path / "back"
    source.write_bytes(content)

    assert await judge.on_system("upload", str(source), str(judge.directory), "big") is not None
    # Its limit for a direct download is larger than for an upload, so the smaller file comes back directly.
    await judge.on_system("download", judge.path("big"), str(back))

    assert (judge.directory / "big").read_bytes() == content
    assert back.read_bytes() == content


async def test_it_copies_moves_and_removes(judge: Judge) -> None:
    (judge.directory / "f").write_text("x")

    await judge.on_system("cp", judge.path("f"), judge.path("g"))
    await judge.on_system("mv", judge.path("g"), judge.path("h"))
    await judge.on_system("rm", judge.path("f"))

    assert [path.name for path in judge.directory.iterdir()] == ["h"]


async def test_it_notices_a_copy_that_failed(judge: Judge) -> None:
    with pytest.raises(TransferJobFailedException):
        await judge.on_system("cp", judge.path("nope"), judge.path("g"))


@pytest.mark.parametrize("compression", [needs_its_tool(name) for name in ["gzip", "bzip2", "xz", "none"]])
async def test_it_packs_and_unpacks(judge: Judge, compression: str) -> None:
    (judge.directory / "tree").mkdir()
    (judge.directory / "tree" / "f").write_text("x")
    (judge.directory / "out").mkdir()

    await judge.on_system("compress", judge.path("tree"), judge.path("t.tar"), compression=compression)
    await judge.on_system("extract", judge.path("t.tar"), judge.path("out"), compression=compression)

    assert tarfile.is_tarfile(judge.directory / "t.tar")
    assert (judge.directory / "out" / "tree" / "f").read_text() == "x"


async def test_it_runs_a_job(judge: Judge) -> None:
    script = "#!/bin/bash\n#SBATCH --job-name=judged\necho $WORD\n"

    submitted = await judge.on_system(
        "submit", str(judge.directory), script_str=script, env_vars={"WORD": "hello"}
    )
    job_id = str(submitted["jobId"])
    ended = await judge.on_system("wait_for_job", job_id, timeout=30)
    listed = await judge.on_system("job_info")
    metadata = await judge.on_system("job_metadata", job_id)

    assert ended[0]["status"]["state"] == "COMPLETED"
    assert job_id in [job["jobId"] for job in listed]
    assert metadata[0]["script"] == script
    assert metadata[0]["standardOutput"] == judge.path(f"slurm-{job_id}.out")
    assert (judge.directory / f"slurm-{job_id}.out").read_text() == "hello\n"


async def test_it_cancels_a_job(judge: Judge, replayer: Replayer) -> None:
    script = "#!/bin/bash\nsleep 60\n"
    job_id = str((await judge.on_system("submit", str(judge.directory), script_str=script))["jobId"])
    await asyncio.to_thread(replayer.wait_for_job, job_id, ["RUNNING"])

    await judge.on_system("attach_to_job", job_id, "true")
    await judge.on_system("cancel_job", job_id)
    ended = await judge.on_system("job_info", job_id)

    assert ended[0]["status"]["state"].startswith("CANCELLED by")
    with pytest.raises(firecrest.UnexpectedStatusException) as again:
        await judge.on_system("cancel_job", job_id)
    recorded = load("pyfirecrest_3_10_session").content["cancel_again"][2]
    for text in ("500", "already completing or completed"):
        assert text in str(again.value)
        assert text in recorded


@pytest.mark.parametrize(
    ("recorded", "method", "argument"),
    [("stat_missing", "stat", "nope"), ("job_info_unknown", "job_info", "999999")],
)
async def test_it_is_refused_as_recorded(judge: Judge, recorded: str, method: str, argument: str) -> None:
    kind, _, text = load("pyfirecrest_3_10_session").content[recorded]

    with pytest.raises(firecrest.UnexpectedStatusException) as refused:
        await judge.on_system(method, judge.path(argument) if method == "stat" else argument)

    assert kind == "EXC"
    assert "404" in text
    assert refused.value.responses[-1].status_code == 404


def test_every_call_it_has_was_made() -> None:
    """A new release of the client with new calls must be judged by them, too."""
    known = {name for name, _ in inspect.getmembers(firecrest.v2.Firecrest, inspect.isfunction)}
    source = Path(__file__).read_text()
    without_request = {"log", "set_api_version", "create_new_session"}

    public = {name for name in known if not name.startswith("_")} - without_request
    assert sorted(name for name in public if f'"{name}"' not in source and f".{name}(" not in source) == []
