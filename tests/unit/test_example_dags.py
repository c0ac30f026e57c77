"""The example DAGs are what a reader copies: they parse clean, and their data is the same everywhere."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"

# In a process of its own: parsing must not depend on what other tests imported. "always", because the default
# filters hide deprecations outside __main__.
PARSE = """
import json, sys, warnings
from airflow.dag_processing.dagbag import BundleDagBag
from pathlib import Path
warnings.simplefilter("always")
bag = BundleDagBag(dag_folder=sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="examples")
print(json.dumps({
    "errors": bag.import_errors,
    "warnings": {file: list(found) for file, found in bag.captured_warnings.items()},
    "dags": {dag_id: sorted(dag.task_ids) for dag_id, dag in bag.dags.items()},
}))
"""


@pytest.fixture(scope="module")
def parsed() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(EXAMPLES)],
        capture_output=True,
        text=True,
        env={**os.environ, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The modules beside the weather example, imported as its tasks do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield {name: importlib.import_module(f"weather.{name}") for name in ("generate", "statistics", "figure")}
    for name in [name for name in sys.modules if name.split(".")[0] == "weather"]:
        del sys.modules[name]


def test_the_examples_import_without_error_and_without_warning(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert parsed["warnings"] == {}


def test_the_examples_are_these_dags_and_their_helpers_are_none(parsed: dict[str, Any]) -> None:
    assert sorted(parsed["dags"]) == [
        "quantum_espresso",
        "stage_in_submit_stage_out",
        "stage_out_after_job",
    ]


def test_every_script_an_example_names_lies_beside_it() -> None:
    for dag_file in EXAMPLES.glob("*.py"):
        for line in dag_file.read_text().splitlines():
            if ".sbatch" in line:
                assert (EXAMPLES / line.split('"')[1]).is_file(), line


def test_the_same_seed_makes_the_same_records_and_another_makes_others(
    weather: dict[str, ModuleType], tmp_path: Path
) -> None:
    generate = weather["generate"]
    one, two, other = tmp_path / "one", tmp_path / "two", tmp_path / "other"

    rows = generate.write_records(one, years=1)
    generate.write_records(two, years=1)
    generate.write_records(other, years=1, seed=1)

    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert rows == 12 * 365 * 24 == len(one.read_text().splitlines()) - 1


def test_the_default_records_are_large_enough_to_need_staging(
    weather: dict[str, ModuleType], tmp_path: Path
) -> None:
    rows = weather["generate"].write_records(tmp_path / "records.csv")

    assert rows > 400_000
    assert (tmp_path / "records.csv").stat().st_size > 5 * 1024 * 1024


def test_the_monthly_statistics_of_a_few_records_are_those_computed_by_hand(
    weather: dict[str, ModuleType], tmp_path: Path
) -> None:
    # given three hours of two stations, below zero too
    records = tmp_path / "records.csv"
    records.write_text(
        "station,time,temperature_c,precipitation_mm,wind_m_s\n"
        "B,2021-01-01T00:00Z,-1.5,0.2,3.0\n"
        "B,2021-01-01T01:00Z,2.0,0.3,3.0\n"
        "A,2021-02-01T00:00Z,-0.1,0.0,3.0\n"
    )

    # when they are summed up, then the lines are sorted and exact
    assert weather["statistics"].expected_monthly(records).decode().splitlines() == [
        "station,month,hours,min_c,mean_c,max_c,rain_mm",
        "A,2021-02,1,-0.1,-0.100,-0.1,0.0",
        "B,2021-01,2,-1.5,0.250,2.0,0.5",
    ]


def test_the_figure_is_well_formed_and_has_title_units_and_a_band_for_each_station(
    weather: dict[str, ModuleType], tmp_path: Path
) -> None:
    month = weather["statistics"].Month
    months = [
        month(station, f"2021-{n:02d}", 744, -5.0 + n, 3.0 + n, 12.0 + n)
        for station in "AB&"
        for n in range(1, 13)
    ]

    weather["figure"].draw(months, tmp_path / "figure.svg", subtitle="a & b")

    svg = "{http://www.w3.org/2000/svg}"
    figure = ET.parse(tmp_path / "figure.svg").getroot()
    texts = [text.text for text in figure.iter(f"{svg}text")]
    assert {
        "Monthly air temperature by station",
        "Air temperature (°C)",
        "Time, by month",
        "a & b",
        "&",
    } <= set(texts)
    assert len(figure.findall(f".//{svg}polygon")) == len(figure.findall(f".//{svg}polyline")) == 3
