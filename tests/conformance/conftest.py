"""The server recordings are replayed against: its tree looks as it was recorded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.sandbox import remove_tree
from tests.conformance.harness import Replayer
from tests.conformance.v1_fixtures import v1_replayer, v1_server

__all__ = ["recorded_server", "replayer", "v1_replayer", "v1_server"]


@pytest.fixture(scope="package")
def recorded_server() -> Iterator[LocalFirecrest]:
    """A local FirecREST with the recorded second system and short limits."""
    with LocalFirecrest(
        cpus=8, ops_timeout=2, ingress_interval=0.1, second_system="cluster-streamer", token_ttl=300
    ) as server:
        yield server


@pytest.fixture
def replayer(recorded_server: LocalFirecrest) -> Iterator[Replayer]:
    """A replayer on that server, whose user's scratch is empty."""
    for entry in recorded_server.scratch.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(entry)
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()
    recorded_server.clear_faults()
    replaying = Replayer(recorded_server)
    yield replaying
    replaying.close()
