"""The file tree behind the server, without the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_firecrest.local.config import LocalConfig
from airflow_provider_firecrest.local.sandbox import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(LocalConfig(root=tmp_path / "root"))
    yield made
    made.close()


def test_a_group_goes_with_its_file_to_another_name(sandbox: Sandbox) -> None:
    file = sandbox.user_scratch / "a"
    file.touch()
    sandbox.set_group(str(file), "project")

    renamed = file.rename(sandbox.user_scratch / "b")

    assert sandbox.group_of(str(renamed)) == "project"


def test_a_new_file_does_not_inherit_the_group_of_one_that_is_gone(sandbox: Sandbox) -> None:
    """File systems give the number of a removed file to the next one."""
    for _ in range(20):
        file = sandbox.user_scratch / "a"
        file.touch()
        assert sandbox.group_of(str(file)) is None
        sandbox.set_group(str(file), "project")
        file.unlink()
