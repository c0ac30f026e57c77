"""What is installed is what is meant: names, version, typing marker, no Airflow where none may be."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import pytest

import airflow_provider_firecrest

PACKAGE = Path(airflow_provider_firecrest.__file__).parent

WITHOUT_AIRFLOW = """
import importlib, pkgutil, sys

class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, NoAirflow())
"""

IMPORT_WHAT_MUST_NOT_NEED_IT = """
import airflow_provider_firecrest
import airflow_provider_firecrest.get_provider_info
import airflow_provider_firecrest.client as client

modules = [module.name for module in pkgutil.walk_packages(client.__path__, client.__name__ + ".")]
assert len(modules) > 5, modules
for module in modules:
    importlib.import_module(module)
print("imported", len(modules))
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_package_its_description_and_the_client_need_no_airflow() -> None:
    done = python(WITHOUT_AIRFLOW + IMPORT_WHAT_MUST_NOT_NEED_IT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported ")


def test_the_check_above_sees_an_import_of_airflow() -> None:
    done = python(WITHOUT_AIRFLOW + "import airflow_provider_firecrest.hooks.firecrest")
    assert done.returncode != 0
    assert "must not be imported here" in done.stderr


def test_airflow_sdk_can_be_imported_with_the_provider_installed() -> None:
    done = python("import airflow.sdk; print(airflow.sdk.DAG.__name__)")
    assert (done.returncode, done.stdout) == (0, "DAG\n"), done.stderr


def test_airflow_warns_of_nothing_when_the_public_classes_are_imported() -> None:
    code = """
import warnings
import airflow.sdk
warnings.simplefilter("error")
import airflow_provider_firecrest as package
print([name for name in package.__all__ if getattr(package, name) is None])
"""
    done = python(code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("name", sorted(set(airflow_provider_firecrest.__all__) - {"__version__"}))
def test_a_public_class_is_found_at_the_top_level_and_is_the_one_of_its_module(name: str) -> None:
    found = getattr(airflow_provider_firecrest, name)
    assert found is getattr(import_module(found.__module__), name)
    assert name in dir(airflow_provider_firecrest)


def test_a_misspelt_name_is_an_attribute_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="FirecrestSubmitOperator"):
        airflow_provider_firecrest.FirecrestSubmitOperator  # noqa: B018


def test_the_installed_distribution_carries_the_version_of_the_code() -> None:
    assert distribution("airflow-provider-firecrest").version == airflow_provider_firecrest.__version__


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_changelog_speaks_of_this_version() -> None:
    changelog = (PACKAGE.parent / "CHANGELOG.md").read_text()
    assert f"## {airflow_provider_firecrest.__version__} " in changelog


def test_constraints_are_exact_versions_and_name_no_place() -> None:
    lines = (PACKAGE.parent / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert f"apache-airflow=={distribution('apache-airflow').version}" in pins
    assert [pin for pin in pins if pin.count("==") != 1 or set(pin) & set(" /:@;[")] == []
