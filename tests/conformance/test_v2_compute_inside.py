"""Replays that need a hand inside the server: what only an administrator or much time brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_firecrest.local.app import build_app
from airflow_provider_firecrest.local.config import LocalConfig
from airflow_provider_firecrest.local.sandbox import Sandbox
from airflow_provider_firecrest.local.slurm import Scheduler
from airflow_provider_firecrest.local.state import LocalState, build_state
from tests.conformance.harness import load
from tests.conformance.jobs import recorded_job_id, role_row

_OLD = "cancel_old_finished job_old_finished metadata_old_finished"
REPLAYED = frozenset({*_OLD.split(), "job_requeued_pending", "job_suspended"})
OUT_OF_REACH: dict[str, str] = {}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[LocalState]:
    """The parts of a server that forgets finished jobs at once."""
    config = LocalConfig(root=tmp_path / "root", min_job_age=0.0)
    config.root.mkdir()  # type: ignore[union-attr]
    parts = build_state(config, Sandbox(config), "http://testserver")
    yield parts
    parts.close()


class Client:
    """The application, called without a network, as the usual user."""

    def __init__(self, state: LocalState) -> None:
        self._app = build_app(state)
        self._headers = {"Authorization": f"Bearer {state.tokens.mint()}"}

    def request(self, method: str, path: str) -> httpx.Response:
        """One exchange."""

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            url = "http://testserver/v2"
            async with httpx.AsyncClient(transport=transport, base_url=url, headers=self._headers) as http:
                return await http.request(method, path)

        return asyncio.run(exchange())


@pytest.fixture
def client(state: LocalState) -> Client:
    """Requests to the application around ``state``."""
    return Client(state)


def _submit(state: LocalState, script: str, name: str) -> str:
    directory = str(state.sandbox.user_scratch)
    return state.scheduler.submit(script, user="fireuser", working_dir=directory, name=name)


def _wait(scheduler: Scheduler, job_id: str, state: str) -> None:
    def reached() -> bool:
        job = next(job for job in scheduler.job_list() if job["id"] == job_id)
        return bool(job["state"] == state and (state == "RUNNING" or not job["processes_left"]))

    assert scheduler.wait_for(reached, 10), f"job {job_id} did not become {state}"


def _check_row(client: Client, state: LocalState, name: str, job_id: str) -> dict[str, Any]:
    recording = load(name)
    response = client.request("GET", f"/compute/cluster/jobs/{job_id}")
    assert response.status_code == 200, response.text
    (row,) = response.json()["jobs"]
    (recorded,) = recording.response["json"]["jobs"]
    here = {**row, "workingDirectory": recorded["workingDirectory"]}
    assert role_row(here, job_id) == role_row(recorded, recorded_job_id(recording))
    return dict(row)


def test_a_suspended_job_counts_its_suspended_time(client: Client, state: LocalState) -> None:
    job_id = _submit(state, "#!/bin/bash\nsleep 300\n", "requeueme")
    _wait(state.scheduler, job_id, "RUNNING")
    state.scheduler.suspend(job_id)
    _check_row(client, state, "job_suspended", job_id)


def test_a_requeued_job_is_pending_again_under_its_number(client: Client, state: LocalState) -> None:
    job_id = _submit(state, "#!/bin/bash\nsleep 300\n", "requeueme")
    _wait(state.scheduler, job_id, "RUNNING")
    state.scheduler.requeue(job_id)
    _wait(state.scheduler, job_id, "PENDING")
    row = _check_row(client, state, "job_requeued_pending", job_id)
    assert row["time"]["end"] - row["time"]["start"] == 3600


def test_accounting_remembers_what_the_controller_has_forgotten(client: Client, state: LocalState) -> None:
    script = "#!/bin/bash\necho hello; echo err >&2; srun hostname; sleep 1\n"
    job_id = _submit(state, script, "ok-job")
    _wait(state.scheduler, job_id, "COMPLETED")
    _check_row(client, state, "job_old_finished", job_id)

    metadata = client.request("GET", f"/compute/cluster/jobs/{job_id}/metadata")
    recorded = load("metadata_old_finished").response
    assert (metadata.status_code, metadata.json()) == (recorded["status"], recorded["json"])

    cancelled = client.request("DELETE", f"/compute/cluster/jobs/{job_id}")
    recorded = load("cancel_old_finished").response
    expected = {**recorded["json"], "message": recorded["json"]["message"].replace("37", job_id)}
    assert (cancelled.status_code, cancelled.json()) == (recorded["status"], expected)
