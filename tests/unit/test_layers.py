"""Imports between the layers point down only, in lazy imports inside functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_firecrest

PACKAGE = Path(airflow_provider_firecrest.__file__).parent
NAME = PACKAGE.name

CLIENT = ("fileops", "transfers", "attempts", "v1", "waiting", "staging", "models")
AIRFLOW_SIDE = ["hooks", "operators", "sensors", "triggers"]
FORBIDDEN = {
    # Usable from plain Python. And a mistake that client and local share would be seen by no test.
    "client": ["airflow", f"{NAME}.local", f"{NAME}._compat", *(f"{NAME}.{layer}" for layer in AIRFLOW_SIDE)],
    "local": [f"{NAME}.client", *(f"{NAME}.{layer}" for layer in AIRFLOW_SIDE)],
    "hooks": [f"{NAME}.local", f"{NAME}.operators", f"{NAME}.sensors", f"{NAME}.triggers"],
    "triggers": [f"{NAME}.local", f"{NAME}.operators", f"{NAME}.sensors"],
    "operators": [f"{NAME}.local", f"{NAME}.sensors"],
    "sensors": [f"{NAME}.local", f"{NAME}.operators"],
    # Inside the client, the same: each place knows those that stand after it here, and none before it.
    **{
        f"client/{place}": [f"{NAME}.client.{above}" for above in CLIENT[:index]]
        for index, place in enumerate(CLIENT)
    },
    "client/v2": [f"{NAME}.client.{place}" for place in ("v1", "fileops", "transfers", "attempts")],
}


def imported_names(path: Path) -> Iterator[str]:
    """Every module that the source at ``path`` imports, by its full name."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(PACKAGE.parent).parent.parts
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_nothing_above_or_beside_it(layer: str) -> None:
    sources = list((PACKAGE / layer).rglob("*.py"))
    assert sources
    wrong = [
        f"{source.relative_to(PACKAGE)} imports {module}"
        for source in sources
        for module in imported_names(source)
        for package in FORBIDDEN[layer]
        if is_in(module, package)
    ]
    assert wrong == []


def test_a_relative_import_is_seen_by_its_full_name() -> None:
    names = set(imported_names(PACKAGE / "__init__.py"))
    assert f"{NAME}.operators.jobs.FirecrestSubmitJobOperator" in names
