"""`make bench`: numbers to compare before and after a change. They fail nothing; tests hold the limits."""

from __future__ import annotations

import time
from pathlib import Path

from airflow_provider_firecrest.get_provider_info import get_provider_info
from tests.bench.imports import import_cost

ROOT = Path(__file__).parents[2]


def provider_modules() -> list[str]:
    info = get_provider_info()
    return [
        module
        for kind in ("operators", "sensors", "triggers", "hooks")
        for entry in info[kind]
        for module in entry["python-modules"]
    ]


def dag_parse_times() -> list[tuple[str, float]]:
    from airflow.dag_processing.dagbag import DagBag

    times = []
    for path in sorted((ROOT / "example_dags").glob("*.py")):
        start = time.perf_counter()
        bag = DagBag(dag_folder=str(path), include_examples=False)
        times.append((path.name, (time.perf_counter() - start) * 1000))
        if bag.import_errors:
            raise SystemExit(f"{path.name}: {bag.import_errors}")
    return times


def main() -> None:
    print("import, over airflow.sdk (least of 5 processes)")
    for module in provider_modules():
        milliseconds, modules = import_cost(module)
        print(f"  {milliseconds:7.1f} ms  {modules:4d} modules  {module}")
    print("parse of one DAG file (the first includes Airflow's own start)")
    for name, milliseconds in dag_parse_times():
        print(f"  {milliseconds:7.1f} ms  {name}")


if __name__ == "__main__":
    main()
