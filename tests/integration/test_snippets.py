"""The code that README and documentation show does what they say: it is run here, with a local FirecREST for
the example's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import AirflowCommand

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


def test_a_program_that_is_started_again_goes_on_with_its_job(
    firecrest: FirecrestForTest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(with_our_names("submit_once.py", firecrest, tmp_path), "submit_once.py", "exec")
    # when
    exec(code, {})
    exec(code, {})
    # then
    first, second = capsys.readouterr().out.splitlines()
    [job] = [job["id"] for job in firecrest.new_jobs()]
    assert (first, second) == (f"{job} submitted", f"{job} adopted")


def test_the_first_dag_sorts_a_file_on_the_cluster_and_brings_it_back(
    firecrest: FirecrestForTest, tmp_path: Path, airflow_database: Path
) -> None:
    # given the file that the DAG expects, and an Airflow of its own
    (tmp_path / "input.csv").write_text("b\nc\na\n")
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "first_dag.py").write_text(with_our_names("first_dag.py", firecrest, tmp_path))
    env = {**firecrest.connection_env, "AIRFLOW__CORE__DAGS_FOLDER": str(dags)}
    airflow = AirflowCommand(tmp_path / "airflow", airflow_database, env)
    # when
    done = airflow("dags", "test", "first_dag")
    # then
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "sorted.csv").read_text() == "a\nb\nc\n"
