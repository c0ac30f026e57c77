"""No secret is left in anything that Airflow keeps, after all end-to-end tests that ran before this one.

Searched are every file in Airflow's home (task logs, logs of the components) and every row of its database
(XComs, rendered fields, serialized DAGs, triggers, log entries), for every token and signature that the local
server made, and for anything of their form.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.airflow import LocalAirflow
from tests.faults.judge import secrets_in

pytestmark = pytest.mark.e2e

# Airflow's own sessions and connections: not ours to judge, and they hold nothing of FirecREST.
_NOT_SEARCHED = {"session", "ab_user", "job"}


def test_no_secret_is_in_a_log_or_in_the_database(
    airflow: LocalAirflow, cluster: LocalFirecrest, workspace: Path, tmp_path: Path
) -> None:
    # given runs that need tokens and presigned URLs both ways, and defer with both
    source = tmp_path / "input.bin"
    source.write_bytes(os.urandom(6 * 1024 * 1024 + 1))
    for dag_id in ("round_trip_deferrable_v2", "round_trip_deferrable_v1"):
        folder = workspace / dag_id
        folder.mkdir()
        (folder / "go").touch()
        conf = {"source": str(source), "workspace": str(folder), "target": str(tmp_path / dag_id)}
        run_id = airflow.trigger_dag(dag_id, conf)
        assert airflow.wait_run(dag_id, run_id, timeout=120) == "success"
    known = cluster.secrets()
    assert len(known) > 5, "there are secrets to look for"

    # when all that is left of it is searched
    places = dict(left_behind(airflow))
    found = {place: secrets_in(data, known) for place, data in places.items()}

    # then there is none; and the places are those that would have had one
    assert {place: what for place, what in found.items() if what} == {}
    assert sum("logs" in place for place in places) > 3
    for table in ("xcom", "rendered_task_instance_fields", "serialized_dag", "trigger", "task_instance"):
        assert any(place.startswith(f"table {table}") for place in places), f"{table} was searched"
    assert b"firecrest_job" in b"".join(data for place, data in places.items() if "table xcom" in place)


def left_behind(airflow: LocalAirflow) -> Iterator[tuple[str, bytes]]:
    """Every file in the home but the database itself, and every table."""
    for path in airflow.home.rglob("*"):
        if path.is_file() and not path.name.startswith("airflow.db"):
            yield str(path.relative_to(airflow.home)), path.read_bytes()
    with closing(sqlite3.connect(f"file:{airflow.home / 'airflow.db'}?mode=ro", uri=True)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table not in _NOT_SEARCHED:
                rows = database.execute(f'SELECT * FROM "{table}"').fetchall()
                yield f"table {table}", repr(rows).encode()
