"""Small changes on the system whose answer is lost: what is done counts, and what is not done is said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_firecrest.client import FirecrestClient, Settings, StaticToken
from airflow_provider_firecrest.client.errors import AmbiguousError, NotFoundError
from tests.fixtures_local import FirecrestForTest

pytestmark = pytest.mark.parametrize("firecrest", [1, 2], indirect=True, ids=["v1", "v2"])
MKDIR, RM = "/mkdir$", "/rm$"


@pytest.fixture
def client(firecrest: FirecrestForTest) -> Iterator[FirecrestClient]:
    url = firecrest.base_url_v1 if firecrest.generation == 1 else firecrest.base_url
    token = StaticToken(firecrest.mint_token())
    with FirecrestClient(Settings(url, token, system=firecrest.system, retry_budget=5.0)) as client:
        yield client


def test_a_directory_whose_making_was_not_answered_is_made(
    firecrest: FirecrestForTest, client: FirecrestClient
) -> None:
    firecrest.fault("lose_answer", path_regex=MKDIR)
    assert client.mkdir(str(firecrest.directory / "new")).name == str(firecrest.directory / "new")
    assert (firecrest.directory / "new").is_dir()


def test_a_directory_with_something_in_it_is_not_the_one_just_made(
    firecrest: FirecrestForTest, client: FirecrestClient
) -> None:
    (firecrest.directory / "old" / "theirs").mkdir(parents=True)
    firecrest.fault("lose_answer", path_regex=MKDIR)
    with pytest.raises(AmbiguousError, match="may have happened"):
        client.mkdir(str(firecrest.directory / "old"))


def test_a_directory_that_is_not_there_is_not_called_made(
    firecrest: FirecrestForTest, client: FirecrestClient
) -> None:
    firecrest.fault("drop", path_regex=MKDIR)
    with pytest.raises(AmbiguousError, match="may have happened"):
        client.mkdir(str(firecrest.directory / "new"))


def test_what_a_repeated_removal_does_not_find_is_removed(
    firecrest: FirecrestForTest, client: FirecrestClient
) -> None:
    (firecrest.directory / "old").touch()
    firecrest.fault("lose_answer", path_regex=RM)
    client.rm(str(firecrest.directory / "old"))
    assert not (firecrest.directory / "old").exists()


def test_what_a_removal_does_not_find_at_once_was_never_there(
    firecrest: FirecrestForTest, client: FirecrestClient
) -> None:
    with pytest.raises(NotFoundError):
        client.rm(str(firecrest.directory / "never"))
