"""``make demo``: a local FirecREST, a real Airflow and the example DAG, from nothing to a figure.

Knows what to start and how to tell the story of a run in plain lines. Must not know how FirecREST or Airflow
are run: ``handle`` and ``airflow`` do. ``KEEP=1`` in the environment leaves both up until Ctrl-C; ``API=1``
runs the same DAG against FirecREST v1: only the connection's host is another one.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from airflow_provider_firecrest.local.airflow import LocalAirflow, LocalAirflowError
from airflow_provider_firecrest.local.airflow_rest import AirflowApiError
from airflow_provider_firecrest.local.handle import LocalFirecrest, LocalFirecrestError

DAG_ID = "stage_in_submit_stage_out"
JOB_TASKS = ("station_statistics", "reduce")
RESULTS = ("temperature.svg", "monthly.csv", "stations.txt")
RUN_TIMEOUT = 600.0
API_VALUES = {"": 2, "2": 2, "v2": 2, "1": 1, "v1": 1}

# What a task does before it runs is of no interest here.
_QUIET_STATES = {None, "scheduled", "queued"}


class DemoError(Exception):
    """The demo cannot start; the message says why."""


def main() -> int:
    """Run the demo and return its exit code: 0 when the DAG run succeeded."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt_once)
    try:
        generation = _generation(os.environ.get("API", ""))
        return run(generation=generation, keep=os.environ.get("KEEP", "") not in ("", "0"))
    except (DemoError, LocalFirecrestError, LocalAirflowError, AirflowApiError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; everything the demo started is gone.")
        return 130


def run(*, generation: int = 2, keep: bool = False) -> int:
    """Start both servers, run the DAG, show what comes out, and stop both."""
    dags = _example_dags()
    clock = Clock()
    say(clock, "Starting a FirecREST on this machine")
    with LocalFirecrest(cpus=2) as firecrest:
        connection = _connection(firecrest, generation)
        where = f"{connection['host']}, system {firecrest.system!r} with 2 CPUs"
        say(clock, f"FirecREST v{generation} answers at {where}")
        say(clock, f"Starting Airflow {importlib.metadata.version('apache-airflow')} (takes a moment)")
        env = {"AIRFLOW_CONN_FIRECREST_DEFAULT": json.dumps(connection)}
        with LocalAirflow([dags], env=env) as airflow:
            say(clock, f"Airflow answers at {airflow.base_url}")
            succeeded = _run_dag(airflow, clock)
            if keep:
                _keep_up(airflow, firecrest)
    return 0 if succeeded else 1


def _run_dag(airflow: LocalAirflow, clock: Clock) -> bool:
    run_id = airflow.trigger_dag(DAG_ID)
    say(clock, f"Started the DAG {DAG_ID}\n")
    report = Reporter(airflow, run_id, clock)
    state = airflow.wait_run(DAG_ID, run_id, timeout=RUN_TIMEOUT, on_change=report.show, interval=0.3)
    print()
    if state == "success":
        _show_result(airflow, run_id)
        return True
    _show_failures(airflow, run_id)
    return False


class Clock:
    """Seconds since the demo began."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __str__(self) -> str:
        return f"{time.monotonic() - self._start:6.1f} s"


class Reporter:
    """Prints one line for each change of a task's state, with the Slurm job the task waits for."""

    def __init__(self, airflow: LocalAirflow, run_id: str, clock: Clock) -> None:
        self._airflow = airflow
        self._run_id = run_id
        self._clock = clock

    def show(self, ti: Mapping[str, Any]) -> None:
        """Tell about a task instance whose state has changed."""
        state = ti["state"]
        if state in _QUIET_STATES:
            return
        say(self._clock, f"{ti['task_id']:<20} {state:<14} {self._details(ti)}".rstrip())

    def _details(self, ti: Mapping[str, Any]) -> str:
        details = []
        if ti["state"] in ("deferred", "success", "failed"):
            job = self._airflow.xcom(DAG_ID, self._run_id, ti["task_id"], key="firecrest_job")
            if isinstance(job, dict) and job.get("job_id"):
                details.append(f"Slurm job {job['job_id']}")
        if ti["state"] in ("success", "failed") and ti.get("duration"):
            details.append(f"in {ti['duration']:.1f} s")
        if ti["try_number"] > 1:
            details.append(f"try {ti['try_number']}")
        return ", ".join(details)


def _show_result(airflow: LocalAirflow, run_id: str) -> None:
    records = airflow.xcom(DAG_ID, run_id, "make_records")
    upload = airflow.xcom(DAG_ID, run_id, "upload_records")
    print(f"{records['rows']:,} rows, {upload['size'] / 1e6:.1f} MB, uploaded and computed:")
    for task_id in JOB_TASKS:
        print(f"  {_job_line(airflow.xcom(DAG_ID, run_id, task_id))}")
    folder = Path(records["folder"])
    print(f"\n{(folder / 'stations.txt').read_text().rstrip()}\n")
    digest = airflow.xcom(DAG_ID, run_id, "check")
    print(f"monthly.csv is, byte by byte, what was computed here (SHA-256 {digest[:16]}...)")
    output = _save(folder)
    print(f"Figure:  {output / RESULTS[0]}")
    print(f"Results: {', '.join(str(output / name) for name in RESULTS[1:])}")


def _job_line(job: Mapping[str, Any]) -> str:
    line = f"Slurm job {job['job_id']} ({job['job_name']}): {job['state']}"
    elements = job.get("elements") or []
    if elements:
        line += f", {len(elements)} array elements"
    if job.get("elapsed"):
        line += f", {job['elapsed']} s"
    return line


def _show_failures(airflow: LocalAirflow, run_id: str) -> None:
    for ti in airflow.task_instances(DAG_ID, run_id):
        if ti["state"] != "failed":
            continue
        print(f"Task {ti['task_id']} failed. The end of its log:", file=sys.stderr)
        log = airflow.task_log(DAG_ID, run_id, ti["task_id"], map_index=ti["map_index"])
        print("\n".join(f"    {line}" for line in log.splitlines()[-40:]), file=sys.stderr)


def _save(folder: Path) -> Path:
    """Copy the results out of the throw-away home: to ./demo-output, or to a temporary folder that stays."""
    output = Path("demo-output").resolve()
    try:
        output.mkdir(exist_ok=True)
        for name in RESULTS:
            shutil.copyfile(folder / name, output / name)
    except PermissionError:
        output = Path(tempfile.mkdtemp(prefix="firecrest-demo-"))
        for name in RESULTS:
            shutil.copyfile(folder / name, output / name)
    return output


def _keep_up(airflow: LocalAirflow, firecrest: LocalFirecrest) -> None:
    print(f"\nAirflow's UI:  {airflow.base_url}  (no login)")
    print(f"FirecREST:     {firecrest.base_url}")
    print(f"Cluster files: {firecrest.scratch}")
    print("Both stay up until Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    print("\nStopping both.", flush=True)


def _example_dags() -> Path:
    folder = Path(__file__).resolve().parents[2] / "example_dags"
    if not (folder / f"{DAG_ID}.py").is_file():
        raise DemoError(f"there is no {DAG_ID}.py in {folder}; run the demo in a checkout: make demo")
    return folder


def _generation(value: str) -> int:
    generation = API_VALUES.get(value.strip().lower())
    if generation is None:
        raise DemoError(f"API={value} is unknown; set API=1 or API=2, or leave it out for FirecREST v2")
    return generation


def _connection(firecrest: LocalFirecrest, generation: int) -> dict[str, Any]:
    connection: dict[str, Any] = json.loads(firecrest.conn_json)
    if generation == 1:
        connection["host"] = firecrest.base_url_v1
    return connection


def _interrupt_once(_signum: int, _frame: FrameType | None) -> None:
    # Cleaning up takes seconds and has its own limits: an impatient second Ctrl-C must not cut it short.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def say(clock: Clock, text: str) -> None:
    """Print a line with the time; at once, because it may go through a pipe."""
    print(f"{clock}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
