"""One real Airflow and one local FirecREST for all end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow

ROOT = Path(__file__).resolve().parents[2]
DAG_FOLDERS = [ROOT / "example_dags", Path(__file__).parent / "dags"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalFirecrest]:
    """A FirecREST with four CPUs."""
    with LocalFirecrest(cpus=4) as server:
        yield server


@pytest.fixture(scope="session")
def airflow(cluster: LocalFirecrest) -> Iterator[LocalAirflow]:
    """An Airflow with connections to the cluster: the default one to FirecREST v2, ``firecrest_v1`` to v1."""
    v1 = {**json.loads(cluster.conn_json), "host": cluster.base_url_v1}
    env = {
        "AIRFLOW_CONN_FIRECREST_DEFAULT": cluster.conn_json,
        "AIRFLOW_CONN_FIRECREST_V1": json.dumps(v1),
    }
    with LocalAirflow(DAG_FOLDERS, env=env) as running:
        yield running


@pytest.fixture
def workspace(cluster: LocalFirecrest, request: pytest.FixtureRequest) -> Path:
    """A folder of this test's own on the cluster."""
    folder = cluster.scratch / request.node.name.replace("[", "-").replace("]", "")
    folder.mkdir()
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of Airflow's component logs to the report of a failed test."""
    report = yield
    running = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and isinstance(running, LocalAirflow):
        report.sections.append(("Airflow's components", running.logs(lines=25)))
    return report
