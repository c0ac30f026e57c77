"""The example DAGs do what they say."""

from __future__ import annotations

import hashlib
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.e2e.waiting import plain

pytestmark = pytest.mark.e2e
WEATHER_DAG = "stage_in_submit_stage_out"

FAKE_PW = f"""#!{sys.executable}
# Stands in for Quantum ESPRESSO's pw.x: checks that both inputs are there and writes both outputs.
import pathlib, sys
assert sys.argv[1:] == ["-in", "si.scf.in"], sys.argv
assert "'scf'" in pathlib.Path("si.scf.in").read_text()
assert pathlib.Path("Si.upf").read_text() == "a pseudopotential"
out = pathlib.Path("out/silicon.save")
out.mkdir(parents=True)
(out / "data-file-schema.xml").write_text("<espresso/>")
print("convergence has been achieved in 5 iterations")
"""


def test_the_weather_example_brings_back_what_an_independent_count_says(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, tmp_path: Path
) -> None:
    # given two years of records and an array of three
    conf = {"years": 2, "array_size": 3, "remote_dir": str(workspace), "local_dir": str(tmp_path)}

    # when the example DAG runs
    run_id = airflow.trigger_dag(WEATHER_DAG, conf)
    assert airflow.wait_run(WEATHER_DAG, run_id, timeout=180) == "success"

    # then the records are on the cluster as they were made, and went there through the object storage
    folder = Path(airflow.xcom(WEATHER_DAG, run_id, "make_records")["folder"])
    remote = Path(airflow.xcom(WEATHER_DAG, run_id, "make_workspace"))
    assert _sha256(remote / "records.csv") == _sha256(folder / "records.csv")
    assert (folder / "records.csv").stat().st_size > 5 * 1024 * 1024
    assert airflow.xcom(WEATHER_DAG, run_id, "upload_records")["way"] == "staged"
    # and the files that came back are those of the cluster
    for name in ("monthly.csv", "stations.txt"):
        assert _sha256(folder / name) == _sha256(remote / name)
    # and a plain count of one month agrees with the jobs' statistics
    assert _line(folder / "monthly.csv", "Elmsee,2022-07,") == _count_month(folder / "records.csv")
    # and three array elements and one reduce job ran at the scheduler
    array = airflow.xcom(WEATHER_DAG, run_id, "station_statistics")
    reduce = airflow.xcom(WEATHER_DAG, run_id, "reduce")
    assert [element["state"] for element in array["elements"]] == ["COMPLETED"] * 3
    rows = {plain(job): [] for job in cluster.jobs()}
    for job in cluster.jobs():
        rows[plain(job)].append(job["state"])
    assert rows["weather-statistics"] == ["COMPLETED"] * 3
    assert rows["weather-reduce"] == ["COMPLETED"]
    assert reduce["state"] == "COMPLETED"
    # and there is a figure with a panel for each station
    figure = ET.parse(airflow.xcom(WEATHER_DAG, run_id, "figure"))
    assert len(figure.findall(".//{http://www.w3.org/2000/svg}polyline")) == 12


def test_the_quantum_espresso_example_waits_uploads_computes_and_downloads(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, tmp_path: Path
) -> None:
    # given a pseudopotential, a program in place of pw.x, and the file that starts the workflow
    (tmp_path / "Si.upf").write_text("a pseudopotential")
    pw = workspace / "pw.x"
    pw.write_text(FAKE_PW)
    pw.chmod(0o755)
    (workspace / "ready").write_text("ready")
    conf = {
        "remote_dir": str(workspace),
        "wait_for": str(workspace / "ready"),
        "local_dir": str(tmp_path),
        "setup": "true",
        "command": str(pw),
        "tasks_per_node": 2,
    }

    # when the DAG runs
    run_id = airflow.trigger_dag("quantum_espresso", conf)

    # then it succeeds and both outputs are here
    assert airflow.wait_run("quantum_espresso", run_id, timeout=180) == "success"
    assert "convergence has been achieved" in (tmp_path / "si.scf.out").read_text()
    assert (tmp_path / "silicon.xml").read_text() == "<espresso/>"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _line(path: Path, start: str) -> str:
    return next(line for line in path.read_text().splitlines() if line.startswith(start))


def _count_month(records: Path) -> str:
    rows = [
        line.split(",") for line in records.read_text().splitlines() if line.startswith("Elmsee,2022-07-")
    ]
    temperatures = [float(row[2]) for row in rows]
    mean = sum(temperatures) / len(temperatures)
    rain = sum(float(row[3]) for row in rows)
    low, high = min(temperatures), max(temperatures)
    return f"Elmsee,2022-07,{len(rows)},{low:.1f},{mean:.3f},{high:.1f},{rain:.1f}"
