"""Fixtures that give tests a local FirecREST: one server for the session, a directory for each test."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest


@dataclass(frozen=True)
class Urls:
    """Regular expressions of the paths under which a generation of the API has a kind of call."""

    submit: str
    look: str
    list: str
    stat: str
    upload: str


URLS = {
    1: Urls(
        submit="/compute/jobs/(upload|path)$",
        look="/compute/(jobs|acct)",
        list="/compute/(jobs|acct)$",
        stat="/utilities/stat$",
        upload="/xfer-external/upload$",
    ),
    2: Urls(submit="/jobs$", look="/jobs", list="/jobs$", stat="ops/stat", upload="transfer/upload"),
}


@dataclass(frozen=True)
class FirecrestForTest:
    """The session's server as one test sees it.

    ``directory`` is the test's own directory on the cluster's scratch, ``first_request`` the number of the
    last request before the test, ``began`` when it began, ``generation`` the API that the test's connection
    leads to, ``staged_before`` what earlier tests left in the object store. Everything else is the server's
    (`LocalFirecrest`).
    """

    server: LocalFirecrest
    directory: Path
    first_request: int
    generation: int = 2
    began: float = field(default_factory=time.time)
    staged_before: frozenset[str] = frozenset()

    @property
    def conn_json(self) -> str:
        """The Airflow connection. It does not name the generation: the client has to find out.

        Its pace is not that of a real site, which all tests of a process would have to keep together.
        """
        connection = json.loads(self.server.conn_json)
        connection["extra"]["max_requests_per_second"] = 1000
        if self.generation == 1:
            connection["host"] = self.server.base_url_v1
        return json.dumps(connection)

    @property
    def urls(self) -> Urls:
        """Where the generation has its calls, for faults and for counting requests."""
        return URLS[self.generation]

    @property
    def connection_env(self) -> dict[str, str]:
        """Environment that defines the Airflow connection ``firecrest_default``."""
        return {"AIRFLOW_CONN_FIRECREST_DEFAULT": self.conn_json}

    def new_jobs(self) -> list[dict[str, Any]]:
        """The scheduler's own list, restricted to the jobs submitted since the test began."""
        return [job for job in self.server.jobs() if job["submit_time"] >= self.began]

    def new_uploads(self) -> list[dict[str, Any]]:
        """The uploads that were begun since the test began and are still open."""
        return [each for each in self.server.objects()["uploads"] if each["key"] not in self.staged_before]

    def lose_new_objects(self) -> None:
        """Remove what was staged since the test began."""
        for each in self.server.objects()["objects"]:
            if each["key"] not in self.staged_before:
                key = quote(each["key"], safe="")
                self.server.control("DELETE", f"objects?bucket={each['bucket']}&key={key}")

    def requests(self) -> list[dict[str, Any]]:
        """The requests that came since the test began, and are answered.

        One that the test before gave up waiting for is written down when the server is done with it.
        """
        return [each for each in self.server.requests(self.first_request) if each["time"] >= self.began]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


@pytest.fixture(scope="session")
def firecrest_server() -> Iterator[LocalFirecrest]:
    """A local FirecREST on a free port, in a process of its own."""
    settings = {"ingress_interval": 0.1, "ops_timeout": 2, "v1_polling_interval": 0.1, "v1_acct_lag": 0.3}
    with LocalFirecrest(cpus=4, **settings) as server:
        yield server


@pytest.fixture
def firecrest(firecrest_server: LocalFirecrest, request: pytest.FixtureRequest) -> Iterator[FirecrestForTest]:
    """The session's server with a directory of the test's own and without faults.

    Its parameter is the generation of the API; 2 where a test gives none.
    """
    directory = firecrest_server.scratch / f"test-{uuid.uuid4().hex[:12]}"
    directory.mkdir()
    firecrest_server.clear_faults()
    seen = firecrest_server.requests()
    last = seen[-1]["number"] if seen else 0
    store = firecrest_server.objects()
    staged = frozenset(each["key"] for each in (*store["objects"], *store["uploads"]))
    ours = FirecrestForTest(
        firecrest_server, directory, last, getattr(request, "param", 2), staged_before=staged
    )
    yield ours
    firecrest_server.clear_faults()
    end_jobs(ours)


def end_jobs(firecrest: FirecrestForTest) -> None:
    """Cancel what the test left in the queue: it would take the next test's CPUs."""
    active = [job for job in firecrest.new_jobs() if job["state"] in ("PENDING", "RUNNING", "SUSPENDED")]
    for job_id in {job["array_id"] or job["id"] for job in active if job["user"] == firecrest.user}:
        url = f"{firecrest.base_url}/compute/{firecrest.system}/jobs/{job_id}"
        headers = {"Authorization": f"Bearer {firecrest.mint_token()}"}
        requests.delete(url, headers=headers, timeout=10).close()
