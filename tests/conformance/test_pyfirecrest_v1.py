"""The official client's v1 classes, which share no code with this project, find the local server to be a v1.

Every call of both is made, and must succeed or fail as it was recorded.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import random
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import firecrest.v1
import pytest
import pytest_asyncio
from firecrest.FirecrestException import FirecrestException, HeaderException

from tests.conformance.v1_harness import V1Replayer, load

REPLAYED = ["pyfirecrest-run"]
OUT_OF_REACH: dict[str, str] = {}
MACHINE = "cluster"
SCRIPT = "#!/bin/bash\n#SBATCH -J pyf\necho out\nsleep 0.2\n"
RECORDED = load("pyfirecrest-run").content
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


class Judge:
    """Either of the two clients, awaited alike."""

    def __init__(self, client: Any, replayer: V1Replayer) -> None:
        self.client = client
        self.replayer = replayer
        self.directory = replayer.home / "pyf"
        self.directory.mkdir()

    async def call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method of the client."""
        return await _awaited(getattr(self.client, name), *arguments, **keywords)

    async def on_machine(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method whose first argument is the machine."""
        return await self.call(name, MACHINE, *arguments, **keywords)

    def path(self, name: str) -> str:
        """A path in the directory of the test."""
        return str(self.directory / name)

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The scheduler's own record of a job that has ended."""
        deadline = time.monotonic() + 20
        while True:
            job = next(job for job in self.replayer.server.jobs() if job["id"] == job_id)
            if job["state"] not in ("PENDING", "RUNNING") and not job["processes_left"]:
                return job
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def _awaited(method: Any, *arguments: Any, **keywords: Any) -> Any:
    if inspect.iscoroutinefunction(method):
        return await method(*arguments, **keywords)
    return await asyncio.to_thread(method, *arguments, **keywords)


async def _value(thing: Any, name: str) -> Any:
    """A property that may have to be awaited."""
    found = await asyncio.to_thread(getattr, thing, name)
    return await found if inspect.isawaitable(found) else found


@pytest_asyncio.fixture(params=["blocking", "asynchronous"])
async def judge(request: pytest.FixtureRequest, v1_replayer: V1Replayer) -> AsyncIterator[Judge]:
    server = v1_replayer.server
    authorization = firecrest.ClientCredentialsAuth(server.client_id, server.client_secret, server.token_url)
    kind = firecrest.v1.Firecrest if request.param == "blocking" else firecrest.v1.AsyncFirecrest
    client = kind(firecrest_url=server.base_url_v1, authorization=authorization)
    client.polling_sleep_times = [0.05] * 400
    if request.param == "asynchronous":
        client.time_between_calls = dict.fromkeys(client.time_between_calls, 0)
    await _awaited(client.parameters)  # it learns the server's version from them
    yield Judge(client, v1_replayer)
    if request.param == "asynchronous":
        await client.close_session()
    else:
        client._session.close()


async def test_it_sees_the_site(judge: Judge) -> None:
    systems = await judge.call("all_systems")
    parameters = await judge.call("parameters")
    filesystems = await judge.call("filesystems")

    assert {system["system"] for system in systems} == {"cluster", "downcluster", "nohostcluster"}
    assert (await judge.call("system", MACHINE))["status"] == "available"
    assert len(await judge.call("all_services")) == 6
    assert (await judge.call("service", "compute"))["status"] == "available"
    assert sorted(parameters) == ["compute", "general", "storage", "utilities"]
    assert [fs["name"] for fs in filesystems[MACHINE]] == ["HOME", "SCRATCH"]
    assert (await judge.call("filesystems", system_name=MACHINE))[MACHINE] == filesystems[MACHINE]


async def test_it_knows_the_user(judge: Judge) -> None:
    assert await judge.call("whoami") == "fireuser"
    assert await judge.call("whoami", machine=MACHINE) == "fireuser"
    assert await judge.on_machine("groups") == ast.literal_eval(RECORDED["groups"]["result"])


async def test_it_handles_small_files(judge: Judge, tmp_path: Path) -> None:
    source, back = tmp_path / "l.txt", tmp_path / "back"
    source.write_text("a\nb\nc\n")
    directory, file = str(judge.directory), judge.path("l.txt")

    assert await judge.on_machine("mkdir", judge.path("x/y"), p=True) == judge.path("x/y")
    await judge.on_machine("simple_upload", str(source), directory)
    await judge.on_machine("simple_upload", str(source), directory, filename="m.txt")
    await judge.on_machine("simple_download", file, str(back))
    listed = await judge.on_machine("list_files", directory, show_hidden=True, recursive=True)

    assert back.read_bytes() == source.read_bytes()
    assert [entry["name"] for entry in listed] == ["l.txt", "m.txt", "x", "x/y"]
    assert (await judge.on_machine("stat", file, dereference=True))["size"] == 6
    assert repr(await judge.on_machine("checksum", file)) == RECORDED["checksum"]["result"]
    assert repr(await judge.on_machine("file_type", file)) == RECORDED["file_type"]["result"]
    assert repr(await judge.on_machine("head", file, lines="1")) == RECORDED["head"]["result"]
    assert await judge.on_machine("head", file, bytes="3", skip_ending=True) == "a\nb"
    assert repr(await judge.on_machine("tail", file, lines="1")) == RECORDED["tail"]["result"]
    assert await judge.on_machine("tail", file, lines="2", skip_beginning=True) == "b\nc\n"
    assert repr(await judge.on_machine("view", file)) == RECORDED["view"]["result"]


async def test_it_changes_files(judge: Judge) -> None:
    (judge.directory / "l.txt").write_text("x")
    (judge.directory / "x" / "y").mkdir(parents=True)
    file, copied, moved = judge.path("l.txt"), judge.path("l2.txt"), judge.path("l3.txt")

    assert await judge.on_machine("copy", file, copied) == copied
    assert await judge.on_machine("mv", copied, moved) == moved
    assert await judge.on_machine("chmod", moved, "600") is None
    assert await judge.on_machine("chown", moved, group="project") is None
    assert await judge.on_machine("chown", moved, group="fireuser") is None
    assert await judge.on_machine("symlink", moved, judge.path("link")) == moved
    archive = judge.path("x.tar.gz")
    assert await judge.on_machine("compress", judge.path("x"), archive, dereference=True) == archive
    assert await judge.on_machine("extract", archive, judge.path("x/y")) == judge.path("x/y")
    await judge.on_machine("simple_delete", file)

    assert not (judge.directory / "l.txt").exists()
    assert str((judge.directory / "link").readlink()) == moved
    assert (judge.directory / "x" / "y" / "x" / "y").is_dir()
    assert (judge.directory / "l3.txt").stat().st_mode & 0o777 == 0o600


async def test_it_runs_jobs(judge: Judge, tmp_path: Path) -> None:
    local, remote = tmp_path / "j.sh", judge.directory / "j.sh"
    local.write_text(SCRIPT)
    remote.write_text(SCRIPT)

    submitted = [
        await judge.on_machine("submit", script_str=SCRIPT, account="project", env_vars={"A": "1"}),
        await judge.on_machine("submit", script_local_path=str(local)),
        await judge.on_machine("submit", script_remote_path=str(remote)),
    ]

    recorded = ast.literal_eval(RECORDED["submit_script_str"]["result"])
    for job in submitted:
        assert sorted(job) == sorted(recorded)
        assert (await judge.ended(job["jobid"]))["state"] == "COMPLETED"
    ids = [job["jobid"] for job in submitted]
    assert [row["jobid"] for row in await judge.on_machine("poll", jobs=ids)] == ids
    assert len(await judge.on_machine("poll", page_size=2, page_number=0)) == 2
    assert await judge.on_machine("poll", jobs=["999999"]) == []
    assert (judge.directory / f"slurm-{ids[2]}.out").read_text() == "out\n"


async def test_it_watches_and_cancels_jobs(judge: Judge) -> None:
    job = await judge.on_machine("submit", script_str="#!/bin/bash\nsleep 100\n")

    active = await judge.on_machine("poll_active", jobs=[job["jobid"]])
    answer = await judge.on_machine("cancel", job["jobid"])

    assert [row["state"] for row in active] == ["RUNNING"]
    assert answer == f"scancel: Terminating job {job['jobid']}"
    assert (await judge.ended(job["jobid"]))["state"] == "CANCELLED"
    with pytest.raises(FirecrestException, match="already completing or completed"):
        await judge.on_machine("cancel", job["jobid"])
    with pytest.raises(FirecrestException, match="Invalid job id specified"):
        await judge.on_machine("poll_active", jobs=["999999"])
    with pytest.raises(FirecrestException, match="does not look like a batch script"):
        await judge.on_machine("submit", script_str="hostname\n")


async def test_it_describes_the_cluster(judge: Judge) -> None:
    assert [node["NodeName"] for node in await judge.on_machine("nodes")] == ["nid001"]
    assert len(await judge.on_machine("nodes", nodes=["nid001"])) == 1
    partitions = await judge.on_machine("partitions")
    assert str([part["PartitionName"] for part in partitions]) == "['part01', 'part02', 'xfer', 'jupyter']"
    assert await judge.on_machine("reservations") == []


async def test_it_keeps_reservations(judge: Judge) -> None:
    begin = datetime.now() + timedelta(days=3)
    times = [(begin + timedelta(hours=hours)).isoformat(timespec="seconds") for hours in (0, 1, 2)]

    await judge.on_machine("create_reservation", "pyf-rsv", "project", "1", "f7t", times[0], times[1])
    listed = await judge.on_machine("all_reservations")
    await judge.on_machine("update_reservation", "pyf-rsv", "project", "1", "f7t", times[0], times[2])
    updated = await judge.on_machine("all_reservations")
    await judge.on_machine("delete_reservation", "pyf-rsv")

    assert [(row["reservationname"], row["duration"]) for row in listed] == [("pyf-rsv", "01:00:00")]
    assert updated[0]["duration"] == "02:00:00"
    assert await judge.on_machine("all_reservations") == []


TRANSFERS = ["copy", "move", "rsync", "delete", "compress", "extract"]


@pytest.mark.parametrize("kind", TRANSFERS)
async def test_it_submits_transfer_jobs(judge: Judge, kind: str) -> None:
    source, target = judge.directory / "s", judge.directory / "t"
    source.mkdir()
    (source / "f").write_text("x")
    if kind == "extract":
        await judge.on_machine("compress", str(source), judge.path("s.tar.gz"))
        target.mkdir()
    paths = {
        "delete": [str(source)],
        "compress": [str(source), judge.path("s.tar.gz")],
        "extract": [judge.path("s.tar.gz"), str(target)],
    }

    job = await judge.on_machine(
        f"submit_{kind}_job", *paths.get(kind, [str(source), str(target)]), account="project", time="5"
    )

    assert sorted(job) == sorted(ast.literal_eval(RECORDED[f"submit_{kind}_job"]["result"]))
    assert (await judge.ended(job["jobid"]))["state"] == "COMPLETED"
    log = judge.replayer.home / Path(job["job_file_err"]).relative_to(judge.replayer.home)
    assert log.read_text() == ""
    made = {
        "copy": target / "f",
        "move": target / "f",
        "rsync": target / "s" / "f",
        "compress": judge.directory / "s.tar.gz",
        "extract": target / "s" / "f",
    }
    assert source.exists() == (kind not in ("move", "delete"))
    assert kind == "delete" or made[kind].is_file()


async def test_it_moves_large_files_through_the_store(judge: Judge, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the client itself posts the file with curl, which is not installed")
    source, back = tmp_path / "big.bin", tmp_path / "back.bin"
    source.write_bytes(random.Random(1).randbytes(9_000_000))

    upload = await judge.on_machine("external_upload", str(source), str(judge.directory))
    await _awaited(upload.finish_upload)
    await _finished(upload)
    download = await judge.on_machine("external_download", judge.path("big.bin"))
    await _awaited(download.finish_download, str(back))

    assert await _value(upload, "status") == "114"
    assert await _value(download, "status") == "117"
    assert (judge.directory / "big.bin").read_bytes() == source.read_bytes()
    assert back.read_bytes() == source.read_bytes()
    await _awaited(download.invalidate_object_storage_link)
    with pytest.raises(HeaderException, match="is an invalid path"):
        await judge.on_machine("external_download", judge.path("nope"))


async def _finished(transfer: Any) -> None:
    deadline = time.monotonic() + 20
    while await _value(transfer, "in_progress"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_it_is_refused_as_recorded(judge: Judge, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 6_000_000)

    with pytest.raises(HeaderException, match="Machine does not exist"):
        await judge.call("whoami", machine="nope")
    with pytest.raises(FirecrestException, match="The file is over 5242880 bytes"):
        await judge.on_machine("simple_upload", str(large), str(judge.directory))


def test_every_call_of_both_clients_is_made_above() -> None:
    source = inspect.getsource(sys.modules[__name__])
    made = set(re.findall(r'\.(?:call|on_machine)\(\s*"(\w+)"', source))
    made |= {f"submit_{kind}_job" for kind in TRANSFERS}
    helpers = {"set_api_version", "log", "close_session", "create_new_session", "is_session_closed"}
    for kind in (firecrest.v1.Firecrest, firecrest.v1.AsyncFirecrest):
        methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}
        assert methods - helpers - made == set()
