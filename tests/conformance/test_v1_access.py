"""Replays of what is answered before a service does anything: bad tokens, bad machines, outages in front."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.conformance.v1_harness import (
    V1Replayer,
    check_error_headers,
    check_same_answer,
    load,
    matching,
)

_TASKS = "err-down-machine-storage"
_PLAIN = [name for name in matching("err", "down", "nohost", "gateway") if name != "nohost-status-systems"]
REFUSED = [name for name in _PLAIN if name != _TASKS]
# What the gateway, or a service that lacks another one, answered: the fault switch can answer the same.
FAULTS = [
    name
    for name in matching("rate-limit-429", "tasks-down", "redis-down", "certificator-down")
    if name != "redis-down-get-task"
]
REPLAYED = [*_PLAIN, *FAULTS]
OUT_OF_REACH = {
    "rate-limit-pyfirecrest": "measures how long the official client waits, which is not the server's doing",
    "redis-down-get-task": "the database behind the tasks service was stopped; here tasks live in one memory",
    "concurrency": "measures the threads and SSH connections of the recorded server",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_is_worded_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    recording = load(name)

    response = v1_replayer.send(recording)

    check_same_answer(v1_replayer, recording, response)


def test_wrong_method_names_the_right_one(v1_replayer: V1Replayer) -> None:
    assert "GET" in v1_replayer.send(load("err-wrong-method")).headers["Allow"]


def test_transfer_job_runs_on_the_sites_own_machine_even_when_the_named_one_is_down(
    v1_replayer: V1Replayer,
) -> None:
    recording = load(_TASKS)

    response = v1_replayer.send(recording)

    check_same_answer(v1_replayer, recording, response)
    assert v1_replayer.result(response)["system"] == "cluster"


@pytest.mark.parametrize("name", FAULTS)
def test_outage_can_be_reproduced_with_the_fault_switch(v1_replayer: V1Replayer, name: str) -> None:
    recording = load(name)
    answer = recording.response
    kept = {
        key: value
        for key, value in answer["headers"].items()
        if key.lower() not in ("content-length", "via", "date", "server")
    }
    v1_replayer.server.fault(
        "status", status=answer["status"], headers=kept, body=answer.get("json", answer.get("text"))
    )

    during, after = v1_replayer.send(recording), v1_replayer.send(recording)

    assert during.status_code == answer["status"]
    check_error_headers(v1_replayer, recording, during)
    for header in ("retry-after", "ratelimit-reset"):
        assert during.headers.get(header) == answer["headers"].get(header)
    if "json" in answer:
        assert during.json() == answer["json"]
    assert _is_of_the_server(after)


def _is_of_the_server(response: requests.Response) -> bool:
    try:
        body: Any = response.json()
    except ValueError:
        return response.status_code in (404, 405)
    return bool(set(body) & {"description", "success", "task", "tasks", "error"})
