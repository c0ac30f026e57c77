"""`make bench`: numbers to compare before and after a change. They fail nothing; tests hold the limits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from airflow_provider_firecrest.get_provider_info import get_provider_info
from tests.bench.imports import import_cost

EXAMPLES = Path(__file__).parents[2] / "example_dags"

# Airflow parses each file in a fork of a process that has Airflow, but no provider, in memory. An empty DAG
# first, so that what Airflow loads at its first parse does not count.
_PARSE = """
import logging, sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
logging.disable(logging.CRITICAL)
for path in map(Path, sys.argv[1:]):
    start = time.perf_counter()
    bag = BundleDagBag(dag_folder=path, bundle_path=path.parent, bundle_name="bench")
    milliseconds = (time.perf_counter() - start) * 1000
    assert bag.dags, bag.import_errors
print(milliseconds)
"""
_EMPTY_DAG = "from airflow.sdk import DAG\n\ndag = DAG('empty', schedule=None)\n"


def provider_modules() -> list[str]:
    """Every module that the provider lists for Airflow."""
    info = get_provider_info()
    kinds = ("operators", "sensors", "triggers", "hooks")
    return [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]


def parse_cost(dag_file: Path, *, runs: int = 3) -> float:
    """Return the least milliseconds that parsing ``dag_file`` took."""
    with tempfile.TemporaryDirectory() as directory:
        empty = Path(directory, "empty.py")
        empty.write_text(_EMPTY_DAG)
        command = [sys.executable, "-c", _PARSE, str(empty), str(dag_file)]
        env = {**os.environ, "AIRFLOW_HOME": directory}
        outputs = [subprocess.check_output(command, env=env, text=True) for _ in range(runs)]
    return min(float(output.split()[-1]) for output in outputs)


def main() -> None:
    """Print all numbers."""
    print("import, over airflow.sdk (least of 5 processes)")
    for module in provider_modules():
        milliseconds, modules = import_cost(module)
        print(f"  {milliseconds:7.1f} ms  {modules:4d} modules  {module}")
    print("parse of one DAG file (least of 3 processes)")
    for path in sorted(EXAMPLES.glob("*.py")):
        print(f"  {parse_cost(path):7.1f} ms  {path.name}")


if __name__ == "__main__":
    main()
