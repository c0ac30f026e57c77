"""Waiting for what the scheduler itself says."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_firecrest.local import LocalFirecrest


def wait_for_job(cluster: LocalFirecrest, name: str, state: str, *, timeout: float = 60.0) -> dict[str, Any]:
    """Wait until the scheduler's own list has a job of this name in this state, and return it."""
    deadline = time.monotonic() + timeout
    while True:
        named = [job for job in cluster.jobs() if job["name"] == name]
        for job in named:
            if str(job["state"]).split()[0] == state:
                return job
        if time.monotonic() > deadline:
            seen = [(job["id"], job["state"]) for job in named]
            raise AssertionError(f"no job {name!r} became {state} within {timeout:.0f} s: {seen}")
        time.sleep(0.2)
