"""A DAG file is parsed again and again, each time in a process that has Airflow but not this provider."""

from __future__ import annotations

import pytest

from tests.bench.imports import import_cost

BUDGET_MS = 15
MODULES = [
    "operators.jobs",
    "operators.transfers",
    "operators.internal",
    "operators.filesystem",
    "sensors.jobs",
    "sensors.files",
    "sensors.systems",
]


@pytest.mark.parametrize("module", MODULES)
def test_importing_it_into_a_dag_file_costs_next_to_nothing(module: str) -> None:
    milliseconds, modules = import_cost(f"airflow_provider_firecrest.{module}", runs=10, enough=BUDGET_MS)
    assert milliseconds <= BUDGET_MS, f"{milliseconds:.1f} ms, {modules} modules"
