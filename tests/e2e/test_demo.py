"""The demo as its user meets it: a command, lines on a pipe, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

DEMO = [sys.executable, "-m", "airflow_provider_firecrest.local.demo"]

# The demo with another DAG in place of the example.
DEMO_OF_A_FAILING_DAG = """
import sys
from pathlib import Path
from airflow_provider_firecrest.local import demo
demo.DAG_ID = "falls"
demo._example_dags = lambda: Path(sys.argv[1])
sys.exit(demo.main())
"""
FAILING_DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def falls():
    @task
    def stumble():
        raise ValueError("there was a stone")
    stumble()

falls()
"""


def test_an_unknown_api_generation_is_refused_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(DEMO, env={**os.environ, "API": "7"}, capture_output=True, text=True, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "The demo failed: API=7 is unknown; set API=1 or API=2, or leave it out for FirecREST v2"
    ]


@pytest.mark.parametrize(("api", "generation"), [("", "v2"), ("1", "v1")], ids=["v2", "v1"])
def test_the_demo_tells_what_happens_and_leaves_a_figure(tmp_path: Path, api: str, generation: str) -> None:
    # when the demo runs with its output in a pipe
    env = {**os.environ, "API": api}
    done = subprocess.run(DEMO, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=280)

    # then it succeeds and tells of the jobs while they run, and of the result
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert re.search(rf"FirecREST {generation} answers at http://\S+/{generation},", lines[1])
    assert any("station_statistics   deferred       Slurm job" in line for line in lines)
    job = r"\(weather-statistics-af[0-9a-f]{14}\): COMPLETED, 4 array elements"
    assert any(re.search(job, line) for line in lines)
    assert any(line.startswith("Gratspitz") for line in lines)
    # and the results stay
    figure = tmp_path / "demo-output" / "temperature.svg"
    assert f"Figure:  {figure}" in lines
    assert ET.parse(figure).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert len((tmp_path / "demo-output" / "monthly.csv").read_text().splitlines()) == 1 + 12 * 48


def test_a_failed_task_shows_the_end_of_its_log_and_the_exit_code_says_so(tmp_path: Path) -> None:
    # given a DAG with a task that fails
    (tmp_path / "falls.py").write_text(FAILING_DAG)

    # when the demo runs it
    command = [sys.executable, "-c", DEMO_OF_A_FAILING_DAG, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    # then the log's end is shown
    assert done.returncode == 1
    assert "Task stumble failed. The end of its log:" in done.stderr
    assert "ValueError: there was a stone" in done.stderr


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks for processes in /proc, which is not there"
)
@pytest.mark.parametrize(
    ("moment", "signum"), [("Starting Airflow", signal.SIGINT), ("deferred", signal.SIGTERM)]
)
def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path, moment: str, signum: int) -> None:
    # given a demo in the middle of its work
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=env, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if moment in line:
                break
        running = set(_descendants(demo.pid))
        assert running

        # when it is told to stop, as a terminal does: the whole group at once, and again by an impatient user
        began = time.monotonic()
        os.killpg(demo.pid, signum)
        time.sleep(0.2)
        os.killpg(demo.pid, signum)
        rest = demo.stdout.read()

    # then it says so, soon, and its processes and folders are gone
    assert demo.returncode == 130
    assert time.monotonic() - began < 20
    assert rest.splitlines()[-1] == "Stopped; everything the demo started is gone."
    deadline = time.monotonic() + 5  # a guard that finds its parent gone takes a moment
    while (left := [pid for pid in running if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert list(temporary.iterdir()) == []


def _descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
