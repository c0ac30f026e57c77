"""Where a script comes from: text, or a file beside the DAG; and what is never taken for a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, literal

from airflow_provider_firecrest.client import FirecrestClient, Settings, StaticToken
from airflow_provider_firecrest.client.attempts import Attempt, marked_name
from airflow_provider_firecrest.client.attempts.marker import plain_name
from airflow_provider_firecrest.client.attempts.request import JobRequest, build_request, safe_name
from airflow_provider_firecrest.client.errors import InvalidRequestError
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator

FILE = "#!/bin/bash\n#SBATCH --time=5\n./icon --date {{ ds }}\n"
# Jinja drops the last line break; what is sent gets it back.
RENDERED = "#!/bin/bash\n#SBATCH --time=5\n./icon --date 2026-11-20"
CONTEXT = {"ds": "2026-11-20", "params": {"model": "icon"}}


@pytest.fixture
def dag(tmp_path: Path) -> DAG:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "icon.sbatch").write_text(FILE)
    return DAG("d", schedule=None, template_searchpath=str(tmp_path))


def script_of(dag: DAG, **arguments: Any) -> str | None:
    """The text that is sent, after all that Airflow does to a task before it runs."""
    task = FirecrestSubmitJobOperator(task_id="t", dag=dag, **arguments)
    task.resolve_template_files()
    task.render_template_fields(CONTEXT)
    return task._script_text(CONTEXT)


def test_a_script_file_is_read_and_rendered(dag: DAG) -> None:
    assert script_of(dag, script="jobs/icon.sbatch") == RENDERED


def test_the_files_text_is_in_the_dag_once_it_is_parsed(dag: DAG) -> None:
    task = FirecrestSubmitJobOperator(task_id="t", dag=dag, script="jobs/icon.sbatch")
    dag.resolve_template_files()
    assert task.script == FILE


def test_the_files_name_can_be_a_template(dag: DAG) -> None:
    text = script_of(dag, script="jobs/{{ params.model }}.sbatch")
    assert text == RENDERED


def test_a_script_whose_last_line_ends_like_a_file_name_is_a_script(dag: DAG) -> None:
    text = "#!/bin/bash\n./run.sh"
    assert script_of(dag, script=text) == text


def test_a_script_on_the_system_is_not_looked_for_beside_the_dag(dag: DAG) -> None:
    task = FirecrestSubmitJobOperator(
        task_id="t", dag=dag, remote_script="/scratch/{{ ds }}/run.sh", env={"NEXT": "next.sh"}, stdin="x.sh"
    )
    task.resolve_template_files()
    task.render_template_fields(CONTEXT)
    assert task.remote_script == "/scratch/2026-11-20/run.sh"
    assert (task.env, task.stdin) == ({"NEXT": "next.sh"}, "x.sh")


def test_literal_keeps_bash_from_being_read_as_jinja(dag: DAG) -> None:
    text = '#!/bin/bash\necho "${#files[@]}"\n'
    assert script_of(dag, script=literal(text)) == text


def test_a_missing_file_does_not_break_the_dag_but_the_task(dag: DAG) -> None:
    with pytest.raises(InvalidRequestError, match=r"script: the file 'jobs/none\.sh' cannot be used"):
        script_of(dag, script="jobs/none.sh")


def request(**arguments: Any) -> JobRequest:
    settings = Settings("https://api.example.org/v2", StaticToken("t"), working_dir="/scratch/me")
    defaults: dict[str, Any] = {
        "script_text": "#!/bin/bash\ntrue\n",
        "remote_script": None,
        "job_name": None,
        "default_name": "dag.task",
        "working_dir": None,
        "array": None,
        "env": None,
    }
    with FirecrestClient(settings) as client:
        return build_request(client, **{**defaults, **arguments})


def test_the_connections_working_directory_is_the_default() -> None:
    assert request().working_dir == "/scratch/me"
    assert request(working_dir="/else").working_dir == "/else"


def test_what_is_not_given_is_not_sent() -> None:
    assert request(partition=None, account="", reservation="r").options == {"reservation": "r"}


def test_the_array_parameter_overrides_the_scripts() -> None:
    text = "#!/bin/bash\n#SBATCH --array=0-9\n#SBATCH --time=5\ntrue\n"
    sent = request(script_text=text, array="0-3%2").script
    assert sent == "#!/bin/bash\n#SBATCH --array=0-9\n#SBATCH --time=5\n#SBATCH --array=0-3%2\ntrue\n"


def test_numbers_made_by_native_rendering_are_texts_again() -> None:
    sent = request(array=7, env={"N": 4, "DT": 0.5})
    assert sent.options["env"] == {"N": "4", "DT": "0.5"}
    assert "#SBATCH --array=7\n" in str(sent.script)


@pytest.mark.parametrize(
    ("arguments", "stdout", "stderr"),
    [
        ({}, "/scratch/me/slurm-%j.out", "/scratch/me/slurm-%j.out"),
        ({"array": "0-1"}, "/scratch/me/slurm-%A_%a.out", "/scratch/me/slurm-%A_%a.out"),
        ({"stdout": "o.txt", "stderr": "/e.txt"}, "/scratch/me/o.txt", "/e.txt"),
        (
            {"script_text": "#!/bin/sh\n#SBATCH -o logs/%x.out\n"},
            "/scratch/me/logs/%x.out",
            "/scratch/me/logs/%x.out",
        ),
        ({"script_text": None, "remote_script": "/x.sh"}, None, None),
    ],
)
def test_it_is_known_where_the_output_will_be(
    arguments: dict[str, Any], stdout: str | None, stderr: str | None
) -> None:
    sent = request(**arguments)
    assert (sent.stdout, sent.stderr) == (stdout, stderr)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("weather.simulate", "weather.simulate"),
        ("group.a|b,c d", "group.a_b_c_d"),
        ("x" * 400 + ".12", "x" * 215 + ".12"),
        ("mät.é", "m_t._"),
    ],
)
def test_a_default_name_can_always_be_sent(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert plain_name(marked_name(safe, Attempt(("dag",), 0))) == safe, "the mark cuts nothing off it"
