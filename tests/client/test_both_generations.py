"""The same calls over {v1, v2} x {blocking, asynchronous}: where both generations know a fact, they agree.

One local cluster answers over all four; the disk and the scheduler's own list are the witnesses. What only
one generation knows is left out field by field, with the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client import (
    AsyncFirecrestClient,
    ClientCredentials,
    FirecrestClient,
    Settings,
)
from airflow_provider_firecrest.client.errors import (
    ConflictError,
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from airflow_provider_firecrest.client.models import FormTicket, Job
from tests.fixtures_local import FirecrestForTest

COMBINATIONS = [(1, "blocking"), (1, "asynchronous"), (2, "blocking"), (2, "asynchronous")]


class Client:
    """Either client at either generation; a call is made and awaited alike."""

    def __init__(self, firecrest: FirecrestForTest, generation: int, kind: str) -> None:
        auth = ClientCredentials(
            auth_url=firecrest.token_url,
            client_id=firecrest.client_id,
            client_secret=firecrest.client_secret,
        )
        url = firecrest.base_url_v1 if generation == 1 else firecrest.base_url
        self.settings = Settings(url, auth, system=firecrest.system, max_requests_per_second=200.0)
        self.generation = generation
        self.kind = kind

    def __call__(self, name: str, /, *arguments: Any, **keywords: Any) -> Any:
        if self.kind == "blocking":
            with FirecrestClient(self.settings) as client:
                return getattr(client, name)(*arguments, **keywords)
        return asyncio.run(self._awaited(name, arguments, keywords))

    async def _awaited(self, name: str, arguments: Any, keywords: Any) -> Any:
        async with AsyncFirecrestClient(self.settings) as client:
            call: Callable[..., Coroutine[Any, Any, Any]] = getattr(client, name)
            return await call(*arguments, **keywords)


@pytest.fixture(params=COMBINATIONS, ids=lambda each: f"v{each[0]}-{each[1]}")
def client(firecrest: FirecrestForTest, request: pytest.FixtureRequest) -> Client:
    return Client(firecrest, *request.param)


@pytest.fixture
def all_four(firecrest: FirecrestForTest) -> list[Client]:
    return [Client(firecrest, *each) for each in COMBINATIONS]


@pytest.fixture
def tree(firecrest: FirecrestForTest) -> Path:
    """A directory with some of everything."""
    root = firecrest.directory / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "text").write_text("".join(f"{number}\n" for number in range(1, 31)))
    (root / "bytes").write_bytes(os.urandom(3000))
    (root / "empty").touch()
    (root / ".hidden").write_text("x")
    (root / "sub" / "größe mit blank").write_text("y")
    (root / "link").symlink_to(root / "text")
    (root / "text").chmod(0o640)
    return root


@pytest.fixture
def jobs(firecrest: FirecrestForTest) -> Iterator[dict[str, str]]:
    """Jobs that ended in several ways, one that runs, one that waits, and an array, by what they are."""
    client = Client(firecrest, 2, "blocking")
    scripts = {
        "completed": "true",
        "failed": "exit 7",
        "killed": "kill -9 $$",
        "running": "sleep 300",
        "waiting": "#SBATCH --begin=now+3600\ntrue",
        "array": "#SBATCH --array=1-3\nexit $((SLURM_ARRAY_TASK_ID == 2))",
        "cancelled": "sleep 300",
    }
    found = {
        name: client("submit_job", f"#!/bin/bash\n{text}\n", working_dir=str(firecrest.directory), name=name)
        for name, text in scripts.items()
    }
    client("cancel_job", found["cancelled"])
    ended = {found[name] for name in ("completed", "failed", "killed", "cancelled", "array")}
    until(
        lambda: all(
            job["state"].split()[0] not in ("PENDING", "RUNNING") and not job["processes_left"]
            for job in firecrest.new_jobs()
            if (job["array_id"] or job["id"]) in ended
        )
    )
    # Accounting shows a job on v1 only after a while.
    until(
        lambda: set(Client(firecrest, 1, "blocking")("find_jobs", list(found.values()))) == {*found.values()}
    )
    yield found
    for name in ("running", "waiting"):
        client("cancel_job", found[name])


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def agree(clients: list[Client], name: str, *arguments: Any, **keywords: Any) -> Any:
    """Make a call with each client; all results must be equal, and one of them is returned."""
    first, *others = [client(name, *arguments, **keywords) for client in clients]
    for client, other in zip(clients[1:], others, strict=True):
        assert other == first, f"v{client.generation} {client.kind}: {name}"
    return first


def test_the_generation_is_found_out(client: Client) -> None:
    with FirecrestClient(client.settings) as blocking:
        assert blocking.api.generation == client.generation


def test_who_one_is(all_four: list[Client], firecrest: FirecrestForTest) -> None:
    names = {client("userinfo").name for client in all_four}
    groups = [sorted(str(group) for group in client("userinfo").groups) for client in all_four]

    assert names == {firecrest.user}
    assert groups[0] == groups[1]
    assert groups[2] == groups[3]


def test_the_system(all_four: list[Client], firecrest: FirecrestForTest) -> None:
    found = [client("system_info") for client in all_four]

    assert {each.name for each in found} == {firecrest.system}
    assert {each.scheduler for each in found} == {"slurm"}
    assert {each.transfer_method for each in found} == {"s3"}
    assert all(each.healthy for system in found for each in system.health)
    paths = [{each.path for each in system.file_systems} for system in found]
    assert paths[0] == paths[1] == paths[2] == paths[3]
    assert {each["name"] if isinstance(each, dict) else each.name for each in all_four[0]("systems")} >= {
        firecrest.system
    }


def test_nodes_and_partitions(all_four: list[Client]) -> None:
    nodes = [[(each.name, each.states) for each in client("nodes")] for client in all_four]
    partitions = [
        [(each.name, each.cpus, each.nodes) for each in client("partitions", show_hidden=True)]
        for client in all_four
    ]

    assert nodes[0] == nodes[1] == nodes[2] == nodes[3]
    assert partitions[0] == partitions[1] == partitions[2] == partitions[3]


def test_a_directory(all_four: list[Client], tree: Path) -> None:
    for options in ({}, {"show_hidden": True}, {"recursive": True}, {"numeric_uid": True}):
        listed = [
            {(f.name, f.file_type, f.size, f.link_target) for f in client("ls", str(tree), **options)}
            for client in all_four
        ]
        assert listed[0] == listed[1] == listed[2] == listed[3], options
    names = {file.name for file in all_four[0]("ls", str(tree), show_hidden=True)}
    assert names == {path.name for path in tree.iterdir()}


def test_a_file(all_four: list[Client], tree: Path) -> None:
    text, data, link = str(tree / "text"), str(tree / "bytes"), str(tree / "link")
    expected = (tree / "text").read_text().splitlines(keepends=True)

    assert agree(all_four, "stat", text).size == (tree / "text").stat().st_size
    assert agree(all_four, "stat", link) == agree(all_four, "stat", text)
    assert agree(all_four, "stat", link, dereference=False).size == len(text)
    assert agree(all_four, "checksum", data) == hashlib.sha256((tree / "bytes").read_bytes()).hexdigest()
    assert agree(all_four, "download", data) == (tree / "bytes").read_bytes()
    assert agree(all_four, "download", str(tree / "empty")) == b""
    assert "text" in agree(all_four, "file_type", text)
    assert agree(all_four, "exists", text) is True
    assert agree(all_four, "exists", str(tree / "nothing")) is False
    assert agree(all_four, "head", text, lines=3).rstrip("\n") == "".join(expected[:3]).rstrip("\n")
    assert agree(all_four, "tail", text, lines=2).rstrip("\n") == "".join(expected[-2:]).rstrip("\n")
    assert agree(all_four, "view", text, size=4, offset=2) == "".join(expected)[2:6]


MISSING = [
    ("stat", ("{}/nothing",), NotFoundError),
    ("checksum", ("{}/nothing",), NotFoundError),
    ("download", ("{}/nothing",), NotFoundError),
    ("ls", ("{}/nothing",), NotFoundError),
    ("rm", ("{}/nothing",), NotFoundError),
    ("chmod", ("{}/nothing", "640"), NotFoundError),
    ("mkdir", ("{}/sub",), ConflictError),
    ("symlink", ("{}/text", "{}/link"), ConflictError),
    ("chmod", ("{}/text", "nonsense"), InvalidRequestError),
    ("checksum", ("{}/sub",), InvalidRequestError),
    ("stat", ("{}/it's",), InvalidRequestError),
    ("get_job", ("999999",), NotFoundError),
    ("cancel_job", ("999999",), NotFoundError),
    ("get_job", ("abc",), InvalidRequestError),
    ("transfer_download", ("{}/nothing",), NotFoundError),
]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"), MISSING, ids=[f"{each[0]} {each[2].__name__}" for each in MISSING]
)
def test_what_cannot_be_done_is_the_same_error(
    client: Client, tree: Path, name: str, arguments: tuple[str, ...], expected: type[FirecrestError]
) -> None:
    with pytest.raises(FirecrestError) as raised:
        client(name, *(each.format(tree) for each in arguments))
    assert type(raised.value) is expected


def test_what_may_not_be_seen_is_the_same_error(client: Client, firecrest: FirecrestForTest) -> None:
    with pytest.raises(PermissionDeniedError):
        client("ls", str(firecrest.scratch.parent / "otheruser"))


def test_files_are_changed_alike(client: Client, tree: Path) -> None:
    client("upload", str(tree), "up.bin", b"\x00\xff" * 500)
    assert (tree / "up.bin").read_bytes() == b"\x00\xff" * 500
    client("upload", str(tree), "nothing.bin", b"")
    assert (tree / "nothing.bin").stat().st_size == 0

    client("mkdir", str(tree / "x" / "y"), parents=True)
    assert (tree / "x" / "y").is_dir()
    client("chmod", str(tree / "up.bin"), "600")
    assert (tree / "up.bin").stat().st_mode & 0o777 == 0o600
    client("symlink", str(tree / "up.bin"), str(tree / "there"))
    assert (tree / "there").readlink() == tree / "up.bin"
    client("compress", str(tree / "sub"), str(tree / "sub.tar.gz"))
    client("extract", str(tree / "sub.tar.gz"), str(tree / "x" / "y"))
    assert (tree / "x" / "y" / "sub" / "größe mit blank").read_text() == "y"
    client("rm", str(tree / "x"))
    assert not (tree / "x").exists()


# What both generations tell of a job.
SHARED_FIELDS = ("job_id", "name", "state", "user", "partition", "is_final", "succeeded")
ENDED_FIELDS = (*SHARED_FIELDS, "exit_code", "signal", "start_time", "end_time", "elapsed", "nodes")


def facts(job: Job) -> dict[str, Any]:
    known = ENDED_FIELDS if job.is_final else SHARED_FIELDS
    return {name: getattr(job, name) for name in known}


def test_one_job(all_four: list[Client], jobs: dict[str, str]) -> None:
    for what in ("completed", "failed", "killed", "running", "waiting", "cancelled"):
        found = [client("get_job", jobs[what]) for client in all_four]
        for each in found[1:]:
            assert facts(each) == facts(found[0]), what
    assert all_four[0]("get_job", jobs["failed"]).exit_code == 7
    assert all_four[0]("get_job", jobs["killed"]).signal == 9


def test_an_array(all_four: list[Client], jobs: dict[str, str]) -> None:
    for client in all_four:
        job = client("get_job", jobs["array"])
        assert (job.job_id, job.state, job.is_final) == (jobs["array"], "FAILED", True)
        assert [(each.task_index, each.state, each.exit_code) for each in job.elements] == [
            (1, "COMPLETED", 0),
            (2, "FAILED", 1),
            (3, "COMPLETED", 0),
        ]


def test_many_jobs(all_four: list[Client], jobs: dict[str, str]) -> None:
    ids = [*jobs.values(), "999999"]
    found = [{key: job.state for key, job in client("find_jobs", ids).items()} for client in all_four]

    assert found[0] == found[1] == found[2] == found[3]
    assert set(found[0]) == set(jobs.values())


def test_the_list(all_four: list[Client], jobs: dict[str, str]) -> None:
    listed = [{job.job_id: job.state for job in client("jobs", name="failed")} for client in all_four]

    for each in listed:
        assert each[jobs["failed"]] == "FAILED"


def test_the_streams_of_a_running_job(all_four: list[Client], jobs: dict[str, str], tree: Path) -> None:
    out = str(tree.parent / f"slurm-{jobs['running']}.out")

    assert {client("job_metadata", jobs["running"]).stdout for client in all_four} == {out}


def test_a_job_is_submitted_waited_for_and_cancelled(client: Client, firecrest: FirecrestForTest) -> None:
    where = str(firecrest.directory)
    script = '#!/bin/bash\necho "$PWD $TITLE"\necho oops >&2\n'
    job_id = client(
        "submit_job",
        script,
        working_dir=where,
        name="a job",
        stdout="out.txt",
        stderr="err.txt",
        env={"TITLE": "x y"},
    )

    job = client("wait_for_job", job_id, poll_interval=0.1, timeout=30.0)

    assert (job.job_id, job.name, job.state, job.exit_code) == (job_id, "a job", "COMPLETED", 0)
    assert (firecrest.directory / "out.txt").read_text() == f"{where} x y\n"
    assert (firecrest.directory / "err.txt").read_text() == "oops\n"

    sleeper = client("submit_job", "#!/bin/bash\nsleep 300\n", working_dir=where)
    assert client("cancel_job", sleeper) is True
    ended = client("wait_for_job", sleeper, poll_interval=0.1, timeout=30.0)
    assert ended.state.startswith("CANCELLED")
    assert client("cancel_job", sleeper) is False


def _script_of(size: int) -> str:
    """A shell script of so many bytes, more than one of them in a character."""
    head = "#!/bin/bash\nexit 0\n# ü"
    return head + "x" * (size - len(head.encode()) - 1) + "\n"


def test_a_script_that_slurm_would_refuse_for_its_size_is_not_sent(
    client: Client, firecrest: FirecrestForTest
) -> None:
    before = len(firecrest.requests())

    with pytest.raises(
        InvalidRequestError, match=r"script: 419\d{4} bytes as it is sent; Slurm takes 4194304 at most"
    ):
        client("submit_job", _script_of(4 * 1024**2 + 1), working_dir=str(firecrest.directory))

    assert not [each for each in firecrest.requests()[before:] if "/jobs" in each["path"]]


def test_the_largest_script_that_slurm_takes_runs(client: Client, firecrest: FirecrestForTest) -> None:
    where = str(firecrest.directory)
    added = 1024 if client.generation == 1 else 0  # directives in the place of v1's missing parameters

    job_id = client("submit_job", _script_of(4 * 1024**2 - added), working_dir=where)

    assert client("wait_for_job", job_id, poll_interval=0.1, timeout=30.0).succeeded


def test_a_site_that_takes_less_than_the_connection_says_refuses_in_its_own_words(
    client: Client, firecrest: FirecrestForTest
) -> None:
    client.settings = client.settings.with_changes(max_script_size=8 * 1024**2)

    with pytest.raises(InvalidRequestError, match="Pathname of a file, directory or other parameter too"):
        client("submit_job", _script_of(4 * 1024**2 + 1), working_dir=str(firecrest.directory))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"partition": "nowhere"}, "Invalid partition name specified"),
        ({"account": "nobody"}, "Invalid account or account/partition combination specified"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(
    client: Client, firecrest: FirecrestForTest, given: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        client("submit_job", "#!/bin/bash\ntrue\n", working_dir=str(firecrest.directory), **given)


FILE_JOBS = ["transfer_cp", "transfer_mv", "transfer_rm", "transfer_compress", "transfer_extract"]


@pytest.mark.parametrize("name", FILE_JOBS)
def test_a_file_job_is_submitted_and_its_logs_are_where_it_says(
    client: Client, tree: Path, name: str
) -> None:
    target = tree / ("x.tar.gz" if name == "transfer_compress" else "target")
    arguments = [str(tree / "sub"), str(target)]
    if name == "transfer_extract":
        client("compress", str(tree / "sub"), str(tree / "sub.tar.gz"))
        target.mkdir()
        arguments[0] = str(tree / "sub.tar.gz")
    transfer = client(name, *(arguments[:1] if name == "transfer_rm" else arguments))

    job = client("wait_for_job", transfer.job_id, poll_interval=0.1, timeout=30.0)

    assert job.state == "COMPLETED"
    assert Path(transfer.output_log).is_file()
    assert Path(transfer.error_log).read_text() == ""
    assert target.exists() is (name != "transfer_rm")
    assert (tree / "sub").exists() is (name not in ("transfer_rm", "transfer_mv"))


def test_a_ticket_for_an_upload_shows_no_secret(client: Client, tree: Path) -> None:
    ticket = client("transfer_upload", str(tree / "big"), 6 * 2**20)

    assert isinstance(ticket, FormTicket) is (client.generation == 1)
    assert "ignature" not in repr(ticket)
    if client.generation == 2:
        client("cancel_job", ticket.transfer.job_id)


V1_ONLY = ["services", "parameters", "service_file_systems", "managed_reservations"]


@pytest.mark.parametrize("name", V1_ONLY)
def test_a_call_that_one_generation_has_alone_is_refused_by_the_other_in_one_line(
    client: Client, name: str
) -> None:
    if client.generation == 1:
        assert client(name) is not None
        return
    with pytest.raises(InvalidRequestError, match=f"FirecREST v2 has no call '{name}'"):
        client(name)


def test_every_field_of_a_job_is_compared_or_left_out_on_purpose() -> None:
    """A new field has to be put on one of the lists."""
    left_out = {
        "account",  # v1 does not tell this, nor the next two
        "working_dir",
        "steps",
        "state_reason",  # v1: of waiting jobs only, out of the queue
        "time_limit",  # v1: of jobs in the queue only
        "allocated_nodes",
        "waiting",  # this and the next: in the test of the array
        "elements",
    }
    assert {each.name for each in fields(Job)} - set(ENDED_FIELDS) - left_out == set()
