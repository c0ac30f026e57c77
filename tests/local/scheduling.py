"""A scheduler in a test's own directory, and bounded waiting for what its jobs do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local.slurm import Scheduler, SchedulerConfig

LIMIT = 20.0


class Site:
    """A scheduler and a working directory.

    Args:
        directory: an empty directory.
        settings: fields of `SchedulerConfig`.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.work = directory / "work"
        self.work.mkdir(parents=True)
        self.scheduler = Scheduler(directory / "state", SchedulerConfig(**settings))

    def submit(self, script: str, *, directives: str = "", **arguments: Any) -> str:
        """Queue a bash script with ``#SBATCH`` options; returns the job's id."""
        lines = "".join(f"#SBATCH {line}\n" for line in directives.split(";") if line)
        arguments = {"user": "fireuser", "working_dir": str(self.work), **arguments}
        return self.scheduler.submit(f"#!/bin/bash\n{lines}{script}\n", **arguments)

    def tasks(self, job_id: str) -> list[dict[str, Any]]:
        """The scheduler's own records of a job or array."""
        return [task for task in self.scheduler.job_list() if job_id in (task["id"], task["array_id"])]

    def task(self, job_id: str) -> dict[str, Any]:
        """The one record of a job."""
        (task,) = self.tasks(job_id)
        return task

    def wait(self, job_id: str, *states: str) -> None:
        """Until all tasks of the job are in one of the states (default: over, processes gone)."""

        def reached() -> bool:
            tasks = self.tasks(job_id)
            if states:
                return all(task["state"] in states for task in tasks)
            return all(task["end_time"] and not task["processes_left"] for task in tasks)

        assert self.scheduler.wait_for(reached, LIMIT), f"{job_id}: {self.tasks(job_id)}"

    def wait_reason(self, job_id: str, reason: str) -> None:
        """Until the job is pending for a reason."""

        def reached() -> bool:
            return all((t["state"], t["reason"]) == ("PENDING", reason) for t in self.tasks(job_id))

        assert self.scheduler.wait_for(reached, LIMIT), self.tasks(job_id)

    def run(self, script: str, **arguments: Any) -> dict[str, Any]:
        """Submit, wait, and return the record."""
        job_id = self.submit(script, **arguments)
        self.wait(job_id)
        return self.task(job_id)

    def wait_file(self, name: str) -> str:
        """Content of a file in the working directory once it has some."""
        path = self.work / name
        eventually(lambda: path.exists() and path.read_text().endswith("\n"), f"content in {name}")
        return path.read_text()

    def output(self, job_id: str) -> str:
        """Default output file of a job."""
        return (self.work / f"slurm-{job_id}.out").read_text()


def eventually(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Until ``condition()`` holds, for things no event tells about."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text()
        return text.rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    with contextlib.suppress(ProcessLookupError):
        if not Path("/proc").is_dir():
            os.kill(pid, 0)
            return True
    return False
