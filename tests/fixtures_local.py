"""Fixtures that give tests a local FirecREST: one server for the session, a directory for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_firecrest.local import LocalFirecrest


@dataclass(frozen=True)
class FirecrestForTest:
    """The session's server as one test sees it.

    ``directory`` is the test's own directory on the cluster's scratch, ``first_request`` the number of the
    last request before the test. Everything else is the server's (`LocalFirecrest`).
    """

    server: LocalFirecrest
    directory: Path
    first_request: int

    @property
    def connection_env(self) -> dict[str, str]:
        """Environment that defines the Airflow connection ``firecrest_default``."""
        return {"AIRFLOW_CONN_FIRECREST_DEFAULT": self.server.conn_json}

    def requests(self) -> list[dict[str, Any]]:
        """The requests the server answered since the test began."""
        return self.server.requests(self.first_request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


@pytest.fixture(scope="session")
def firecrest_server() -> Iterator[LocalFirecrest]:
    """A local FirecREST on a free port, in a process of its own."""
    with LocalFirecrest(cpus=4, ingress_interval=0.1, ops_timeout=2) as server:
        yield server


@pytest.fixture
def firecrest(firecrest_server: LocalFirecrest) -> Iterator[FirecrestForTest]:
    """The session's server with a directory of the test's own and without faults."""
    directory = firecrest_server.scratch / f"test-{uuid.uuid4().hex[:12]}"
    directory.mkdir()
    firecrest_server.clear_faults()
    seen = firecrest_server.requests()
    yield FirecrestForTest(firecrest_server, directory, seen[-1]["number"] if seen else 0)
    firecrest_server.clear_faults()
