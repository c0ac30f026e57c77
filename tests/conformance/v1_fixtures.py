"""Fixtures of the v1 conformance tests: a server, and a replayer on a clean home."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.sandbox import remove_tree
from tests.conformance.v1_harness import V1Replayer

SETTINGS = {
    "polling_interval": 0.1,
    "acct_lag": 0.0,
    "account_from_group": False,
    "task_delay": 0.03,
    "array_info_delay": 0.0,
    "url_ttl": None,
    "down": ["downcluster"],
}


@pytest.fixture(scope="package")
def v1_server() -> Iterator[LocalFirecrest]:
    """A local FirecREST with short limits."""
    with LocalFirecrest(cpus=8, ops_timeout=2) as server:
        yield server


@pytest.fixture
def v1_replayer(v1_server: LocalFirecrest) -> Iterator[V1Replayer]:
    """A replayer on that server: no job runs, the user's home is empty, all settings are short."""
    v1_server.clear_faults()
    v1_server.control("PUT", "v1", SETTINGS)
    replayer = V1Replayer(v1_server)
    _cancel_everything(replayer)
    _give_back_group(replayer)
    for entry in v1_server.home.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(entry)
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
    yield replayer
    _cancel_everything(replayer)
    replayer.close()


def _give_back_group(replayer: V1Replayer) -> None:
    # The sandbox remembers groups by inode, and the next test's file may get this one's.
    file = replayer.home / "rig1" / "hello.txt"
    if file.exists():
        form = {"targetPath": str(file), "group": "fireuser"}
        assert replayer.call("PUT", "/utilities/chown", data=form).status_code == 200


def _cancel_everything(replayer: V1Replayer) -> None:
    active = [job for job in replayer.server.jobs() if job["state"] in ("PENDING", "RUNNING", "SUSPENDED")]
    for user in ("fireuser", "otheruser"):
        ids = {job["array_id"] or job["id"] for job in active if job["user"] == user}
        if ids:
            headers = {"Authorization": f"Bearer {replayer.tokens[f'{user}-client']}"}
            replayer.call("DELETE", f"/compute/jobs/{','.join(sorted(ids))}", headers=headers)

    def idle() -> bool | None:
        jobs = replayer.server.jobs()
        return (
            all(job["state"] not in ("PENDING", "RUNNING") and not job["processes_left"] for job in jobs)
            or None
        )

    if active:
        replayer.wait_until(idle, 20, "every job has ended")
