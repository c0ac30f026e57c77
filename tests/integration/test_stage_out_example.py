"""The example that stages out on the cluster, run by Airflow against either generation of the API."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.integration.conftest import AirflowCommand
from tests.integration.file_tasks import Cluster, cluster, digest

__all__ = ["cluster"]

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "stage_out_after_job.py"


def run_example(
    cluster: Cluster, home: Path, database: Path, *, script: str = ""
) -> subprocess.CompletedProcess[str]:
    dags = home / "dags"
    dags.mkdir()
    text = EXAMPLE.read_text()
    # A retry would wait for five minutes.
    for theirs, ours in (('"retries": 2', '"retries": 0'), ('echo "member $member"', script)):
        assert theirs in text
        text = text.replace(theirs, ours or theirs)
    (dags / EXAMPLE.name).write_text(text)
    params = {
        "scratch_dir": str(cluster.directory / "scratch"),
        "store_dir": str(cluster.directory / "store"),
    }
    # The connection stands in the environment already.
    airflow = AirflowCommand(home / "airflow", database, {"AIRFLOW__CORE__DAGS_FOLDER": str(dags)})
    return airflow("dags", "test", "stage_out_after_job", "--conf", json.dumps(params))


def test_results_are_in_the_store_and_scratch_is_clean(
    cluster: Cluster, tmp_path: Path, airflow_database: Path
) -> None:
    scratch = cluster.directory / "scratch"
    scratch.mkdir()
    done = run_example(cluster, tmp_path, airflow_database)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    store = cluster.directory / "store"
    assert {path.name: path.read_text() for path in store.iterdir()} == {
        f"member-{n}.txt": f"member {n}\n" for n in (1, 2, 3)
    }
    assert not (scratch / "run").exists()
    assert cluster.leftovers() == []


def test_a_failed_production_keeps_scratch_and_stores_nothing(
    cluster: Cluster, tmp_path: Path, airflow_database: Path
) -> None:
    scratch = cluster.directory / "scratch"
    scratch.mkdir()
    done = run_example(cluster, tmp_path, airflow_database, script="exit 3; echo")

    assert "which this one waits for, ended FAILED with exit code 3" in done.stdout + done.stderr
    assert digest(cluster.directory / "store") == {}
    assert (scratch / "run" / "results").is_dir()
    assert all(job["state"] != "PENDING" for job in cluster.jobs())
