"""What a connection with a slip of the pen in it says about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_firecrest.client.errors import ConfigurationError
from airflow_provider_firecrest.hooks._settings import FIELDS, misspelt, settings_from_connection
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook

EXTRA = {"auth_url": "https://auth.example.org/token", "system": "daint"}


def connection(**extra: Any) -> Connection:
    return Connection(
        conn_id="hpc",
        conn_type="firecrest",
        host="https://api.example.org/v2",
        login="my-id",
        password="s3cr3t",
        extra=json.dumps({**EXTRA, **extra}),
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("acount", "account"),
        ("workingdir", "working_dir"),
        ("max_request_per_second", "max_requests_per_second"),
    ],
)
def test_a_field_that_is_almost_one_of_ours_is_named(written: str, meant: str) -> None:
    [told] = misspelt(connection(**{written: "x"}))
    assert f"{written!r} in extra is not used; is {meant!r} meant?" in told


def test_fields_of_ours_and_of_somebody_else_are_nothing_to_speak_of() -> None:
    known = dict.fromkeys(FIELDS, "x")
    assert misspelt(connection(**known, team="weather", ticket="OPS-17", extra__firecrest__scope="y")) == []


def test_the_connection_test_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HPC", connection(acount="proj01").as_json())
    monkeypatch.setattr(
        "airflow_provider_firecrest.client.health.check_connection", lambda client, within: (True, "Fine.")
    )
    works, message = FirecrestHook("hpc").test_connection()
    assert works
    assert message == "Fine. The field 'acount' in extra is not used; is 'account' meant?"


def test_an_environment_variable_that_is_no_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow takes what it cannot read for a connection that is not there."""
    monkeypatch.setenv("AIRFLOW_CONN_HPC", '{"conn_type": "firecrest", ')
    works, message = FirecrestHook("hpc").test_connection()
    assert not works
    assert "AIRFLOW_CONN_HPC" in message


def test_a_working_directory_that_is_not_absolute_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="working_dir: 'scratch' is not an absolute path"):
        settings_from_connection(connection(working_dir="scratch"))
