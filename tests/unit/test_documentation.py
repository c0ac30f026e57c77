"""What the documentation says is in the code, and what it links to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import airflow_provider_firecrest
from airflow_provider_firecrest.client import errors
from airflow_provider_firecrest.hooks import _settings
from airflow_provider_firecrest.operators._results import JobResult

ROOT = Path(airflow_provider_firecrest.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def text_of(page: Path) -> str:
    return page.read_text()


@pytest.mark.parametrize("snippet", ["first_dag.py", "client.py"])
def test_the_readme_shows_the_snippets_that_tests_run(snippet: str) -> None:
    assert f"```python\n{text_of(DOCS / 'snippets' / snippet)}```" in text_of(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page)):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


FOR_DAGS = sorted(set(airflow_provider_firecrest.__all__) - {"__version__", "FirecrestHook"})


@pytest.mark.parametrize("name", FOR_DAGS)
def test_an_operator_or_sensor_has_a_page_of_its_own(name: str) -> None:
    titles = {text_of(page).partition("\n")[0] for page in DOCS.rglob("*.md")}
    assert f"# {name}" in titles


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Error")])
def test_an_error_class_has_its_line_about_what_to_do(name: str) -> None:
    assert f"`{name}`" in text_of(DOCS / "errors.md")


def test_a_result_key_of_a_job_is_explained() -> None:
    page = text_of(DOCS / "operators" / "submit_job.md")
    assert [key for key in JobResult.__annotations__ if f"`{key}`" not in page] == []


@pytest.mark.parametrize("field", _settings.FIELDS)
def test_a_field_of_the_connection_is_explained(field: str) -> None:
    assert f"`{field}`" in text_of(DOCS / "connection.md")


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for page in PAGES:
        mentioned = set(re.findall(r"(?:`|^|\d )make ([a-z-]+)", text_of(page), re.MULTILINE))
        assert mentioned - targets == set(), page


def test_nothing_is_left_to_be_written() -> None:
    unfinished = [page.name for page in PAGES if re.search(r"\b(TODO|FIXME|TBD)\b", text_of(page))]
    assert unfinished == []
