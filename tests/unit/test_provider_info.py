"""Airflow accepts what the provider says about itself, and every name in it exists."""

from __future__ import annotations

import json
import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.sdk._shared.secrets_masker.secrets_masker import DEFAULT_SENSITIVE_FIELDS

import airflow_provider_firecrest
from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.get_provider_info import get_provider_info
from airflow_provider_firecrest.hooks import _settings

INFO = get_provider_info()
CONNECTION_TYPE = INFO["connection-types"][0]
EXTRA_FIELDS = CONNECTION_TYPE["conn-fields"]
SECRET_FIELDS = {"access_token", "api_key"}


def airflow_schema(name: str) -> dict[str, Any]:
    return json.loads((Path(airflow.__file__).parent / name).read_text())


def test_the_schema_airflow_checks_at_run_time_accepts_it() -> None:
    jsonschema.validate(INFO, airflow_schema("provider_info.schema.json"))


def test_the_connection_form_is_declared_as_airflow_s_own_providers_declare_theirs() -> None:
    # The run-time schema lets any form through, and a typo there just draws no field.
    schema = airflow_schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(INFO["connection-types"], schema)


def test_airflow_finds_it_through_the_entry_point() -> None:
    # given the installed distribution
    (entry_point,) = [
        point
        for point in entry_points(group="apache_airflow_provider")
        if point.dist is not None and point.dist.name == INFO["package-name"]
    ]
    # then
    assert entry_point.load()() == INFO
    assert entry_point.dist is not None
    assert INFO["versions"] == [entry_point.dist.version]


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_it_lists_can_be_imported(kind: str) -> None:
    modules = [module for entry in INFO[kind] for module in entry["python-modules"]]
    assert modules
    for module in modules:
        import_module(module)


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_it_lists_every_module_that_defines_one(kind: str) -> None:
    # given the modules with a class such as FirecrestJobSensor
    public_class = re.compile(rf"^class Firecrest\w*{kind[:-1].capitalize()}\b", re.MULTILINE)
    package = Path(airflow_provider_firecrest.__file__).parent
    defining = {
        f"airflow_provider_firecrest.{kind}.{path.stem}"
        for path in (package / kind).glob("*.py")
        if not path.stem.startswith("_") and public_class.search(path.read_text())
    }
    # then
    assert defining == {module for entry in INFO[kind] for module in entry["python-modules"]}


def test_the_hook_it_names_serves_the_connection_type_it_names() -> None:
    module, _, name = CONNECTION_TYPE["hook-class-name"].rpartition(".")
    hook_class = getattr(import_module(module), name)
    assert hook_class.conn_type == CONNECTION_TYPE["connection-type"]
    assert hook_class.hook_name == CONNECTION_TYPE["hook-name"]


@pytest.mark.parametrize("field", EXTRA_FIELDS)
def test_airflow_hides_a_field_s_value_if_and_only_if_it_is_a_secret(field: str) -> None:
    # Airflow goes by the name alone: `token_url` would read *** in the form, and `hush` would be shown.
    hidden = any(word in field.lower() for word in DEFAULT_SENSITIVE_FIELDS)
    assert hidden == (field in SECRET_FIELDS)


def test_the_form_asks_for_nothing_that_the_hook_does_not_read() -> None:
    assert set(EXTRA_FIELDS) - set(_settings.FIELDS) == set()


@pytest.mark.parametrize("field", ["auth_method", "api_version"])
def test_the_hook_accepts_every_choice_the_form_offers(field: str) -> None:
    filled_in = {"auth_url": "https://a.example", "access_token": "t", "auth_command": "c", "api_key": "k"}
    for choice in EXTRA_FIELDS[field]["schema"]["enum"]:
        extra = json.dumps({**filled_in, field: choice})
        connection = SimpleNamespace(
            conn_id="a", host="b.example", login="id", password="pw", schema=None, port=None, extra=extra
        )
        assert FirecrestClient(_settings.settings_from_connection(connection)).base_url == "https://b.example"


@pytest.mark.parametrize("field", EXTRA_FIELDS)
def test_a_field_may_be_left_empty_and_has_a_help_text(field: str) -> None:
    declared = EXTRA_FIELDS[field]
    assert declared["schema"]["type"][1:] == ["null"]
    assert declared["description"].endswith(".")
