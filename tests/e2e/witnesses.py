"""What really happened: the scheduler's list, and the file to which each run of a job adds a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local import LocalFirecrest


def jobs_of(cluster: LocalFirecrest, workspace: Path) -> list[dict[str, Any]]:
    """Jobs that were ever submitted to run in this folder, oldest first."""
    return [job for job in cluster.jobs() if job["working_dir"] == str(workspace)]


def states_of(cluster: LocalFirecrest, workspace: Path) -> list[str]:
    """The first words of their states."""
    return [str(job["state"]).split()[0] for job in jobs_of(cluster, workspace)]


def effects(workspace: Path) -> list[str]:
    """Ids of the jobs whose script got past the fence, one for each time."""
    path = workspace / "effects"
    return path.read_text().split() if path.exists() else []


def wait_until(condition: Callable[[], Any], what: str, *, timeout: float = 60.0) -> Any:
    """Wait until something is true and return it."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(0.1)
    return found
