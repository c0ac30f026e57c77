"""Replays of recorded questions about systems."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from airflow_provider_firecrest.local.api_status import describe_reservation
from airflow_provider_firecrest.local.slurm import Reservation
from tests.conformance.harness import Replayer, check_same_answer, load

EXACT = [
    "status_partitions",
    "status_partitions_hidden",
    "status_reservations_empty",
    "status_unknown_system_nodes",
    "status_unknown_system_userinfo",
    "status_uppercase_system",
    "status_userinfo",
]

_BY_HAND = "status_liveness status_liveness_noslash status_nodes status_reservations status_systems"
REPLAYED = frozenset({*EXACT, *_BY_HAND.split()})
OUT_OF_REACH: dict[str, str] = {}


@pytest.fixture(scope="module")
def replayer() -> Iterator[Replayer]:
    """A server of the recorded size, with the recorded second system."""
    with LocalFirecrest(cpus=8, second_system="cluster-streamer") as server:
        replaying = Replayer(server)
        yield replaying
        replaying.close()


def _types(value: Any) -> Any:
    """The shape of a JSON value: keys, and types at the ends (a number is a number)."""
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_types(item) for item in value]
    return "number" if type(value) in (int, float) else type(value).__name__


@pytest.mark.parametrize("name", EXACT)
def test_status_answers_equal_the_recorded_ones(replayer: Replayer, name: str) -> None:
    recording = load(name)
    check_same_answer(replayer, recording, replayer.send(recording))


def test_systems_are_described_as_recorded(replayer: Replayer) -> None:
    recording = load("status_systems")
    got = replayer.anonymise(replayer.send(recording).json()["systems"])
    expected = recording.response["json"]["systems"]
    assert _types(got[0]) == _types(expected[0])
    assert [system["name"] for system in got] == [system["name"] for system in expected]
    for key in ("scheduler", "probing", "fileSystems"):
        assert got[0][key] == expected[0][key]
    assert got[0]["ssh"]["timeout"] == expected[0]["ssh"]["timeout"]
    volatile = ("publicUrl",)
    for key in volatile:
        expected[0]["dataOperation"]["data_transfer"][key] = got[0]["dataOperation"]["data_transfer"][key]
    assert got[0]["dataOperation"] == expected[0]["dataOperation"]
    # The recorded second system moves files in another way; what they share is who must name an account.
    directives = "datatransfer_jobs_directives"
    assert got[1]["dataOperation"][directives] == expected[1]["dataOperation"][directives]
    health = [(service["serviceType"], service["healthy"]) for service in got[0]["servicesHealth"]]
    assert health == [(service["serviceType"], True) for service in expected[0]["servicesHealth"]]


def test_nodes_are_described_as_recorded(replayer: Replayer) -> None:
    recording = load("status_nodes")
    (got,) = replayer.send(recording).json()["nodes"]
    (expected,) = recording.response["json"]["nodes"]
    assert _types(got) == _types(expected)
    for key in (
        "cpus",
        "features",
        "name",
        "state",
        "partitions",
        "weight",
        "allocCpus",
        "idleCpus",
        "allocMemory",
    ):
        assert got[key] == expected[key], key


def test_a_running_job_shows_in_the_nodes_load(replayer: Replayer) -> None:
    script = "#!/bin/bash\n#SBATCH -n 3\nsleep 300\n"
    job = {"workingDirectory": str(replayer.server.scratch), "script": script}
    job_id = replayer.call("POST", "/compute/cluster/jobs", json={"job": job}).json()["jobId"]
    replayer.wait_for_job(job_id, ("RUNNING",))
    (node,) = replayer.send(load("status_nodes")).json()["nodes"]
    assert replayer.call("DELETE", f"/compute/cluster/jobs/{job_id}").status_code == 204
    assert (node["state"], node["allocCpus"], node["idleCpus"]) == (["MIXED"], 3, 5)


def test_a_reservation_is_described_as_recorded() -> None:
    (recorded,) = load("status_reservations").response["json"]["reservations"]
    reservation = Reservation("rigres", "nid001", recorded["startTime"], recorded["endTime"])
    assert describe_reservation(reservation, recorded["startTime"] - 1) == recorded
    assert describe_reservation(reservation, recorded["startTime"])["state"] == "active"


def test_liveness_answers_without_a_token(replayer: Replayer) -> None:
    recording = load("status_liveness")
    assert "Authorization" not in recording.request["headers"]
    response = replayer.send(recording)
    assert response.status_code == 200
    assert _types(response.json()) == _types(recording.response["json"])
    for moment in response.json()["healthcheckRuns"].values():
        assert datetime.fromisoformat(moment).tzinfo is not None


def test_liveness_without_its_slash_redirects(replayer: Replayer) -> None:
    recording = load("status_liveness_noslash")
    response = replayer.send(recording)
    assert response.status_code == recording.response["status"]
    assert response.headers["location"] == f"{replayer.server.base_url}/status/liveness/"
