"""The README's code does what the README says: it is run here, with a local FirecREST for the example's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures_local import FirecrestForTest

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets"


def with_our_names(snippet: str, firecrest: FirecrestForTest, data: Path) -> str:
    code = (SNIPPETS / snippet).read_text()
    for theirs, ours in {
        "https://api.example.org/hpc/firecrest/v2": firecrest.base_url,
        "https://auth.example.org/token": firecrest.token_url,
        "my-id": firecrest.client_id,
        "my-secret": firecrest.client_secret,
        '"daint"': f'"{firecrest.system}"',
        "proj01": "project",
        "/scratch/me": str(firecrest.directory),
        "/data": str(data),
    }.items():
        code = code.replace(theirs, ours)
    return code


def test_the_client_lists_files_and_submits_a_job(
    firecrest: FirecrestForTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given a file on the cluster
    (firecrest.directory / "here.txt").write_text("12345")
    # when
    exec(compile(with_our_names("client.py", firecrest, tmp_path), "client.py", "exec"), {})
    # then
    listed, submitted = capsys.readouterr().out.splitlines()
    assert listed == "here.txt 5"
    assert submitted.split()[0] in {job["id"] for job in firecrest.jobs()}


def test_the_first_dag_sorts_a_file_on_the_cluster_and_brings_it_back(
    firecrest: FirecrestForTest, tmp_path: Path
) -> None:
    # given the file that the DAG expects, and an Airflow of its own
    (tmp_path / "input.csv").write_text("b\nc\na\n")
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "first_dag.py").write_text(with_our_names("first_dag.py", firecrest, tmp_path))
    env = {
        **os.environ,
        **firecrest.connection_env,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
    }

    def airflow(*arguments: str) -> None:
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    # when
    airflow("db", "migrate")
    airflow("dags", "test", "first_dag")
    # then
    assert (tmp_path / "sorted.csv").read_text() == "a\nb\nc\n"
