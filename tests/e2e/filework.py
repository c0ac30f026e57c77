"""One run of a DAG of ``crashing_files``: a directory of each task's own, here and on the cluster."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.client.transferring import client_of
from tests.e2e.witnesses import wait_until
from tests.trees import seen, written_tree

PARTS = 3
SIZE = (PARTS - 1) * 8 * 1024 * 1024 + 17
BLOCKER = "#!/bin/bash\n#SBATCH --ntasks=4\nsleep 300\n"


@dataclass(frozen=True)
class FileWork:
    """One run, and what the witnesses say of it: the disks, the scheduler, the server's list of requests.

    ``first_request`` is the number of the last request before it began.
    """

    airflow: LocalAirflow
    cluster: LocalFirecrest
    dag_id: str
    run_id: str
    here: Path
    there: Path
    first_request: int

    def task(self, task_id: str) -> dict[str, Any]:
        """The task instance, as Airflow's API tells it."""
        return self.airflow.task_instance(self.dag_id, self.run_id, task_id)

    def died(self, task_id: str) -> float | None:
        """When its worker was killed, in seconds since the epoch."""
        path = self.here / f"{task_id}.died"
        return path.stat().st_mtime if path.exists() else None

    def log(self, task_id: str) -> str:
        """What its tries have logged, in files: those of a try that Airflow has lost sight of, too.

        Under load it can count a task's tries on while the task is deferred, and then shows no log of before.
        """
        folder = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        files = sorted((folder / f"task_id={task_id}").glob("attempt=*.log*"))
        return "\n".join(path.read_text() for path in files)

    def result(self, task_id: str) -> dict[str, Any]:
        return dict(self.airflow.xcom(self.dag_id, self.run_id, task_id))

    def states(self, task_id: str) -> list[str]:
        """States of the jobs whose script names the task's directory, oldest first."""
        jobs = self.cluster.jobs(mentioning=f"{self.there / task_id}/")
        return [str(job["state"]).split()[0] for job in jobs]

    def requests(self, method: str, ending: str) -> list[dict[str, Any]]:
        """Requests that were carried out."""
        return [
            each
            for each in self.cluster.requests(self.first_request)
            if (each["method"], (each["status"] or 500) < 300) == (method, True)
            and each["path"].endswith(ending)
        ]

    def names(self, task_id: str) -> list[str]:
        """What stands in the task's directories, here and on the cluster."""
        both = (self.here / task_id, self.there / task_id)
        return [path.name for directory in both for path in sorted(directory.iterdir())]

    def is_moved(self, task_id: str) -> bool:
        """Whether the file, or the tree, is the same on both sides, and nothing is beside it."""
        name = f"{task_id}.dat"
        here, there = self.here / task_id / name, self.there / task_id / name
        same = seen(here) == seen(there) if here.is_dir() else here.read_bytes() == there.read_bytes()
        return same and self.names(task_id) == [name, name]


def content(task_id: str) -> bytes:
    """What the file of a task holds."""
    return random.Random(task_id).randbytes(SIZE)


def begin(
    airflow: LocalAirflow, cluster: LocalFirecrest, dag_id: str, here: Path, crash_at: Mapping[str, str]
) -> FileWork:
    """Make what the tasks need, and start the DAG.

    :param crash_at: a crash point for each task, or an empty text.
    """
    there = cluster.scratch / here.name
    for task_id in crash_at:
        for place in (here, there):
            (place / task_id).mkdir(parents=True)
        source = (here if task_id.startswith("upload") else there) / task_id / f"{task_id}.dat"
        if task_id.endswith("directory"):
            written_tree(source)
        else:
            source.write_bytes(content(task_id))
    before = cluster.requests()
    conf = {"here": str(here), "there": str(there), "crash_at": dict(crash_at)}
    run_id = airflow.trigger_dag(dag_id, conf)
    return FileWork(airflow, cluster, dag_id, run_id, here, there, before[-1]["number"] if before else 0)


@contextmanager
def occupied(cluster: LocalFirecrest) -> Iterator[Callable[[], object]]:
    """Fill the cluster, so that whatever is submitted waits in the queue; gives what frees it."""
    with client_of(cluster) as client:  # type: ignore[arg-type]
        job_id = client.submit_job(BLOCKER, working_dir=str(cluster.scratch), stdout="/dev/null")
        try:
            wait_until(lambda: client.get_job(job_id).state == "RUNNING", "the cluster is full")
            yield lambda: client.cancel_job(job_id)
        finally:
            client.cancel_job(job_id)
