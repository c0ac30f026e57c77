"""What the tests of file operators share: the connection to either generation, trees on disk, operators."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.client.fileops import looks, once
from airflow_provider_firecrest.operators.internal import (
    FirecrestCompressOperator,
    FirecrestExtractOperator,
    FirecrestInternalCopyOperator,
    FirecrestInternalDeleteOperator,
    FirecrestInternalMoveOperator,
    FirecrestInternalRsyncOperator,
)
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import Run, TaskInstance, run_task

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])

OPERATORS: dict[str, Callable[..., Any]] = {
    "mv": FirecrestInternalMoveOperator,
    "cp": FirecrestInternalCopyOperator,
    "rsync": FirecrestInternalRsyncOperator,
    "rm": FirecrestInternalDeleteOperator,
    "compress": FirecrestCompressOperator,
    "extract": FirecrestExtractOperator,
}


class Cluster:
    """The local server through one generation of its API, and the test's directory on it."""

    def __init__(self, firecrest: FirecrestForTest, generation: int) -> None:
        self.firecrest = firecrest
        self.generation = generation
        self.directory = firecrest.directory

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def jobs(self) -> list[dict[str, Any]]:
        """The scheduler's own list."""
        return self.firecrest.jobs()

    def job(self, job_id: str) -> dict[str, Any]:
        return next(job for job in self.jobs() if job["id"] == job_id)

    def next_file_job_lies(self) -> None:
        """The next file job says all it says when it succeeds, and does nothing."""
        self.firecrest.fault("file_job_does_nothing", path_regex="transfer|xfer-internal")

    def quick_call_times_out(self, call: str = "", *, after_acting: bool = False) -> None:
        """The next direct call that changes something is stopped by the server, before or after its work."""
        calls = call or "rm|compress|extract|copy|rename"
        self.firecrest.fault(
            "status_after_acting" if after_acting else "status",
            path_regex=f"/(ops|utilities)/({calls})$",
            status=408 if self.generation == 2 else 400,
            headers={} if self.generation == 2 else {"X-Timeout": "Command has finished with timeout signal"},
            body={"errorType": "error", "message": "Command execution timeout limit exceeded."}
            if self.generation == 2
            else {"description": "Failed", "error": "Command has finished with timeout signal"},
        )

    def asks_for_server_job(self, kind: str) -> dict[str, Any]:
        """Arrange that the next operation is done by the server's own job; return arguments for it."""
        if self.generation == 1:
            return {"job_name": f"{kind} of {self.directory.name}"}
        if kind in ("rm", "compress", "extract"):
            self.quick_call_times_out(kind)
        return {}

    def submit(self, commands: str) -> str:
        """Put a production job into the queue, past the provider."""
        from airflow_provider_firecrest.hooks.firecrest import FirecrestHook

        with FirecrestHook().get_conn() as client:
            return client.submit_job(f"#!/bin/bash\n{commands}\n", working_dir=str(self.directory))

    def leftovers(self) -> list[str]:
        """Logs of the provider's own jobs in the test's directory."""
        return [str(path) for path in self.directory.rglob(".firecrest-*.log*")]


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def cluster(
    request: pytest.FixtureRequest, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    """The cluster behind the connection ``firecrest_default``, by either generation of the API.

    Which one it is, the client has to find out.
    """
    connection = json.loads(firecrest.conn_json)
    if request.param == 1:
        connection["host"] = firecrest.base_url_v1
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))
    # A test that expects something to be missing need not wait for a slow file system.
    monkeypatch.setattr(looks, "PATIENCE", 0.5)
    monkeypatch.setattr(once, "ADOPT_WITHIN", 5.0)
    return Cluster(firecrest, request.param)


def operator(kind: str, source: str, target: str | None = None, **arguments: Any) -> Any:
    """An operator of that kind, quick to ask."""
    where = {"path": source} if target is None else {"source_path": source, "target_path": target}
    defaults = {"task_id": "simulate", "poll_interval": 0.2, "deferrable": False}
    return OPERATORS[kind](**{**defaults, **where, **arguments})


def run(
    kind: str, source: str, target: str | None = None, ti: TaskInstance | None = None, **arguments: Any
) -> Run:
    """Run such a task to its end."""
    return run_task(lambda: operator(kind, source, target, **arguments), ti)


def grow(root: Path) -> Path:
    """Make a directory with some of everything below it."""
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "a file").write_bytes(b"one\n" * 1000)
    (root / ".hidden").write_bytes(b"two")
    (root / "sub" / "nothing").write_bytes(b"")
    (root / "sub" / "größe").write_bytes(b"three")
    (root / "sub" / "link").symlink_to("nothing")
    return root


def digest(root: Path) -> dict[str, str]:
    """What stands below a path, by an own walk: type, and content of files and links."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"link {path.readlink()}"
        elif path.is_dir():
            found[name] = "directory"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
