"""Local paths that are empty or relative: a transfer means one place, wherever its process works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest.client import ClientCredentials, FirecrestClient, Settings
from airflow_provider_firecrest.client.errors import InvalidRequestError
from airflow_provider_firecrest.client.transfers import plan_download, plan_upload
from airflow_provider_firecrest.client.transfers.directories.download import directory_target
from airflow_provider_firecrest.client.transfers.directories.start import start_upload
from tests.fixtures_local import FirecrestForTest


@pytest.fixture
def client(firecrest: FirecrestForTest) -> Iterator[FirecrestClient]:
    auth = ClientCredentials(firecrest.token_url, firecrest.client_id, firecrest.client_secret)
    with FirecrestClient(Settings(firecrest.base_url, auth, system=firecrest.system)) as found:
        yield found


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an empty path would be."""
    (tmp_path / "precious").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_empty_path_is_not_the_directory_that_the_worker_works_in(
    client: FirecrestClient, firecrest: FirecrestForTest
) -> None:
    """What a template leaves that has lost its value."""
    there = f"{firecrest.directory}/f"
    (firecrest.directory / "f").write_text("x")
    for upload in (plan_upload, start_upload):
        with pytest.raises(InvalidRequestError, match=r"^source_path: empty"):
            upload(client, "", there)
    with pytest.raises(InvalidRequestError, match=r"^target_path: empty"):
        plan_download(client, there, "", if_exists="overwrite")
    with pytest.raises(InvalidRequestError, match=r"^target_path: empty"):
        directory_target(" ", there)
    assert [each["path"] for each in firecrest.requests() if each["method"] != "GET"][1:] == []


def test_a_relative_path_is_told_and_kept_in_full(
    client: FirecrestClient, firecrest: FirecrestForTest, working_directory: Path
) -> None:
    (firecrest.directory / "f").write_text("x")
    assert plan_download(client, f"{firecrest.directory}/f", "g").target == working_directory / "g"
    assert plan_upload(client, "precious", f"{firecrest.directory}/").source == working_directory / "precious"
    assert directory_target("./", "/scratch/case") == working_directory / "case"
