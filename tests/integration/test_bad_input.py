"""Bad input:

refused or repaired before anything is sent, and one line that says which field, without a secret.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_firecrest.hooks.firecrest import FirecrestHook
from airflow_provider_firecrest.operators.jobs import FirecrestSubmitJobOperator
from airflow_provider_firecrest.operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import run_task

SCRIPT = "#!/bin/bash\ntrue\n"


def failure_of(make: Any) -> str:
    """The message a task fails with, for good: no retry changes the input."""
    with pytest.raises(AirflowFailException) as failure:
        run_task(make)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__, "the message stands alone"
    return str(failure.value)


def posts(firecrest: FirecrestForTest) -> list[str]:
    """What was sent that changes something."""
    return [f"{each['method']} {each['path']}" for each in firecrest.requests() if each["method"] != "GET"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"script": "  \n"}, "script: empty."),
        (
            {"script": "nowhere.sbatch"},
            "script: the file 'nowhere.sbatch' cannot be used: no loader for this environment specified.",
        ),
        (
            {"script": "echo hello\n"},
            "script: the first line must name an interpreter, for example '#!/bin/bash -l';"
            " it is 'echo hello'. Slurm refuses such a script.",
        ),
        (
            {"script": SCRIPT, "job_name": "a|b"},
            "job_name: 'a|b' contains '|'; it breaks the job list for everybody.",
        ),
        (
            {"script": SCRIPT, "job_name": "a,b"},
            "job_name: 'a,b' contains ','; such a job cannot be looked up by name.",
        ),
        (
            {"script": "#!/bin/bash\n#SBATCH --job-name=x|y\ntrue\n"},
            "job_name: 'x|y' contains '|'; it breaks the job list for everybody.",
        ),
        (
            {"script": "#!/usr/bin/env python3\nprint(1)\n", "env": {"LEVELS": "1,2"}},
            "env: LEVELS holds a comma, a quote or another character that FirecREST loses,"
            " and a python3 script cannot be given an export line. Set it inside the script.",
        ),
        (
            {"script": None, "remote_script": "/x.sh", "env": {"LEVELS": "1,2"}},
            "env: LEVELS holds a comma, a quote or another character that FirecREST loses,"
            " and a script on the system cannot be given an export line. Set it inside the script.",
        ),
        ({"script": SCRIPT, "env": {"N": [4]}}, "env: N is list, not text; write str([4])."),
        ({"script": SCRIPT, "env": {"1A": "x"}}, "env: '1A' is not a variable name."),
        ({"script": SCRIPT, "working_dir": "run"}, "working_dir: 'run' is not an absolute path."),
        (
            {"script": SCRIPT, "array": "a-b"},
            "array: 'a-b' is not an array such as '0-9', '1,3,7' or '0-99%10'.",
        ),
        (
            {"script": None, "remote_script": "/x.sh", "array": "0-1"},
            "array: works with script only; put '#SBATCH --array' into the remote script.",
        ),
        ({"script": None, "remote_script": "x.sh"}, "remote_script: 'x.sh' is not an absolute path."),
    ],
)
def test_a_job_that_cannot_be_sent_is_refused_before_the_submit(
    firecrest: FirecrestForTest, arguments: dict[str, Any], message: str
) -> None:
    def make() -> FirecrestSubmitJobOperator:
        return FirecrestSubmitJobOperator(
            **{"task_id": "simulate", "working_dir": str(firecrest.directory), **arguments}
        )

    assert failure_of(make) == message
    assert posts(firecrest) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "script, remote_script: neither is given; give one."),
        (
            {"script": SCRIPT, "remote_script": "/x.sh"},
            "script, remote_script: both are given; give one.",
        ),
    ],
)
def test_script_and_remote_script_exclude_each_other_when_the_dag_is_parsed(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        FirecrestSubmitJobOperator(task_id="simulate", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"account": "nobody"}, "Invalid account or account/partition combination specified"),
        ({"reservation": "never"}, "Requested reservation is invalid"),
    ],
)
def test_what_the_scheduler_refuses_fails_at_once_in_its_own_words(
    firecrest: FirecrestForTest, arguments: dict[str, Any], words: str
) -> None:
    def make() -> FirecrestSubmitJobOperator:
        return FirecrestSubmitJobOperator(
            task_id="simulate", script=SCRIPT, working_dir=str(firecrest.directory), **arguments
        )

    assert words in failure_of(make)


def connection(firecrest: FirecrestForTest, **changes: Any) -> str:
    """The connection's JSON with changes; None removes a field."""
    fields = json.loads(firecrest.conn_json)
    for key, value in changes.items():
        place = fields if key in ("host", "login", "password") else fields["extra"]
        place[key] = value
        if value is None:
            del place[key]
    return json.dumps(fields)


CONNECTIONS = pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"host": None},
            "Connection 'firecrest_default': host is missing; it is FirecREST's URL,"
            " such as https://api.example.org/firecrest/v2.",
        ),
        ({"login": None}, "Connection 'firecrest_default': login is missing; it is the client id."),
        ({"password": None}, "Connection 'firecrest_default': password is missing; it is the client secret."),
        (
            {"auth_url": None},
            "Connection 'firecrest_default': auth_url is missing in extra; it is the token endpoint's URL.",
        ),
        (
            {"auth_url": None, "auth_ulr": "http://x/token"},
            "Connection 'firecrest_default': auth_url is missing in extra; it is the token endpoint's URL."
            " There is an unknown field 'auth_ulr'; is that what it should be?",
        ),
        (
            {"timeout": "soon"},
            "Connection 'firecrest_default': timeout: 'soon' is not a number.",
        ),
        ({"timeout": 0}, "Connection 'firecrest_default': timeout: must be greater than 0."),
        (
            {"api_version": 3},
            "Connection 'firecrest_default': api_version: '3' is not one of auto, 1, 2.",
        ),
        (
            {"verify": "/etc/ca.pem"},
            "Connection 'firecrest_default': verify: must be true or false; a CA bundle goes into ca_bundle.",
        ),
        (
            {"auth_method": "magic"},
            "Connection 'firecrest_default': auth_method: 'magic' is not one of client_secret_post,"
            " client_secret_basic, static_token, token_command, api_key.",
        ),
        (
            {"system": "clutser"},
            "There is no system 'clutser' behind this FirecREST; it has: {system}.",
        ),
    ],
)


@CONNECTIONS
def test_a_wrong_connection_is_one_line_that_names_the_field(
    firecrest: FirecrestForTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "x").write_text("x")
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", connection(firecrest, **changes))

    def make() -> FirecrestUploadOperator:
        return FirecrestUploadOperator(
            task_id="simulate", source_path=str(tmp_path / "x"), target_path=f"{firecrest.directory}/x"
        )

    assert failure_of(make) == message.format(system=firecrest.system)


@pytest.mark.parametrize(
    ("changes", "hop"),
    [
        ({"password": "wrong-secret"}, "Login failed"),
        ({"login": "nobody"}, "Login failed"),
        ({"auth_url": "http://127.0.0.1:9/token"}, "Token server failed"),
        ({"host": "http://127.0.0.1:9/v2"}, "API failed"),
        ({"system": "clutser"}, "System failed: there is no system 'clutser'"),
    ],
)
def test_the_connection_test_names_the_hop_that_fails(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], hop: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", connection(firecrest, **changes))
    works, message = FirecrestHook().test_connection()
    assert not works
    assert message.startswith(hop)
    assert "\n" not in message
    assert "secret" not in message.replace("client id or secret", "")


def test_the_connection_test_says_who_one_is(firecrest: FirecrestForTest) -> None:
    works, message = FirecrestHook().test_connection()
    assert works
    assert firecrest.user in message
    assert firecrest.system in message


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("{local}/none.bin", "{remote}/x", "source_path: there is no local file {local}/none.bin."),
        (
            "{local}/x",
            "{remote}/none/x",
            "target_path: there is no directory {remote}/none on {system}.",
        ),
        ("{local}/x", "x", "target_path:"),
        ("{local}/x", "/etc/x", "target_path: '/etc/x' is outside the file systems of {system}"),
        ("{local}/x", "{remote}/it's", "target_path:"),
    ],
)
def test_an_upload_that_cannot_work_is_refused_before_bytes_move(
    firecrest: FirecrestForTest, tmp_path: Path, source: str, target: str, message: str
) -> None:
    (tmp_path / "x").write_text("x")
    names = {"local": tmp_path, "remote": firecrest.directory, "system": firecrest.system}

    def make() -> FirecrestUploadOperator:
        return FirecrestUploadOperator(
            task_id="simulate", source_path=source.format(**names), target_path=target.format(**names)
        )

    assert failure_of(make).startswith(message.format(**names))
    assert posts(firecrest) == []


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("{remote}/none", "{local}/x", "source_path: there is no file {remote}/none on {system}."),
        (
            "{remote}/data",
            "{local}/none/x",
            "target_path: there is no local directory {local}/none.",
        ),
        (
            "{remote}/data",
            "{local}/there",
            "target_path: {local}/there exists; if_exists='overwrite' replaces it,"
            " if_exists='skip' accepts the same file.",
        ),
    ],
)
def test_a_download_that_cannot_work_is_refused_before_bytes_move(
    firecrest: FirecrestForTest, tmp_path: Path, source: str, target: str, message: str
) -> None:
    (firecrest.directory / "data").write_text("data")
    (tmp_path / "there").write_text("mine")
    names = {"local": tmp_path, "remote": firecrest.directory, "system": firecrest.system}

    def make() -> FirecrestDownloadOperator:
        return FirecrestDownloadOperator(
            task_id="simulate", source_path=source.format(**names), target_path=target.format(**names)
        )

    assert failure_of(make) == message.format(**names)
    assert (tmp_path / "there").read_text() == "mine"


def test_without_any_directory_to_work_in_the_task_says_where_to_name_one(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_firecrest.client.models.System.default_work_dir", None)
    with pytest.raises(AirflowFailException, match="working_dir is missing, and the system names no default"):
        run_task(lambda: FirecrestSubmitJobOperator(task_id="t", script=SCRIPT, deferrable=False))
