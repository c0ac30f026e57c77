"""Every call of pyfirecrest's clients has a counterpart here, or a reason; and the page is true."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import airflow_provider_firecrest
from airflow_provider_firecrest.client import AsyncFirecrestClient, FirecrestClient
from airflow_provider_firecrest.client.calls import Call, Calls
from airflow_provider_firecrest.client.v1 import V1
from airflow_provider_firecrest.client.v2 import V2
from tests import parity

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
CLASSES = list(parity.METHODS)
CALLED = sorted(
    {
        (name.split(".")[0], call)
        for name, table in parity.METHODS.items()
        for line in table.values()
        for call in line.calls.split(", ")
        if call
    }
)
# What the client has beyond pyfirecrest, and why.
OURS = {"default_working_dir": "the user's own directory, out of three answers"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_of_pyfirecrest_has_a_line(name: str) -> None:
    assert parity.methods(name) - set(parity.METHODS[name]) == set()


@pytest.mark.parametrize("name", CLASSES)
def test_no_line_is_about_a_method_that_is_gone(name: str) -> None:
    shared = set(parity.SHARED) if name.endswith(".Firecrest") else set()

    assert set(parity.METHODS[name]) - parity.methods(name) - shared == set()


@pytest.mark.parametrize("name", CLASSES)
def test_a_line_names_a_call_or_gives_a_reason(name: str) -> None:
    for line in parity.METHODS[name].values():
        assert bool(line.calls) is not bool(line.why)
        assert not line.why or len(line.why.split()) > 4


@pytest.mark.parametrize(("generation", "call"), CALLED)
def test_a_call_of_the_table_is_there_on_both_clients_and_has_an_endpoint(generation: str, call: str) -> None:
    assert isinstance(inspect.getattr_static(FirecrestClient, call), Call)
    assert isinstance(inspect.getattr_static(AsyncFirecrestClient, call), Call)
    found = parity.endpoints(generation, call)
    assert found or "as :meth:`get_job`" in str(getattr(V1 if generation == "v1" else V2, call).__doc__)


def test_operators_and_sensors_of_the_table_can_be_imported() -> None:
    for table in parity.METHODS.values():
        for line in table.values():
            for name in filter(None, line.airflow.split(", ")):
                assert name in airflow_provider_firecrest.__all__


def test_every_call_of_ours_is_in_the_table_or_is_more_than_pyfirecrest_has() -> None:
    calls = {name for name, value in vars(Calls).items() if isinstance(value, Call)}

    assert calls - {call for _, call in CALLED} == set(OURS)


@pytest.mark.parametrize("api", [V1, V2], ids=["v1", "v2"])
def test_every_flow_with_an_endpoint_is_a_call_of_the_clients(api: type) -> None:
    flows = {
        name
        for name, value in inspect.getmembers(api, inspect.isfunction)
        if not name.startswith("_") and ":endpoint:" in (value.__doc__ or "")
    }
    calls = {name for name, value in vars(Calls).items() if isinstance(value, Call)}

    assert flows - calls == set()


def test_the_page_is_what_the_table_makes() -> None:
    message = "run: python -m tests.parity > docs/parity.md"

    assert PAGE.read_text() == parity.page(), message


def test_the_page_holds_each_method_as_often_as_pyfirecrest_has_it() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]

    assert len(rows) == sum(len(parity.methods(name)) for name in CLASSES)
