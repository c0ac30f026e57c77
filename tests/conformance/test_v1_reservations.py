"""Replays of ``/reservations``, and of the listing under ``/compute``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from tests.conformance.v1_harness import V1Replayer, check_same_answer, check_same_task, load, matching
from tests.conformance.v1_jobs import Jobs

REPLAYED = [*matching("reservations"), "compute-reservations-one", "compute-reservations-one-task"]
OUT_OF_REACH: dict[str, str] = {}
NAME = "rig1-rsv"


@pytest.fixture
def replayer(v1_replayer: V1Replayer) -> Iterator[V1Replayer]:
    yield v1_replayer
    v1_replayer.call("DELETE", f"/reservations/{NAME}")


def _send(replayer: V1Replayer, name: str) -> requests.Response:
    """Replay, with the recorded moments as far from now as they were then."""
    recording = load(name)
    form = {key: _shifted(text) for key, text in (recording.request["form"] or {}).items()}
    return replayer.send(recording, data=form)


def _shifted(text: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT.*", text) is None:
        return text
    moment = datetime.fromisoformat(text) - datetime(2026, 11, 20, 5, 55, 15) + datetime.now()
    return moment.isoformat(timespec="seconds")


def _check(replayer: V1Replayer, name: str) -> None:
    response, recording = _send(replayer, name), load(name)
    if response.status_code == 204:
        assert recording.response["status"] == 204
        return
    check_same_answer(replayer, recording, response)


def test_life_of_a_reservation_is_as_recorded(replayer: V1Replayer) -> None:
    for name in ("list-empty", "create", "create-dup", "list", "update", "delete", "delete-unknown"):
        _check(replayer, f"reservations-{name}")


@pytest.mark.parametrize("name", ["bad-account", "missing", "past"])
def test_reservation_is_refused_as_recorded(replayer: V1Replayer, name: str) -> None:
    _check(replayer, f"reservations-create-{name}")

    assert replayer.call("GET", "/reservations").json() == {"success": []}


def test_compute_lists_reservations_as_recorded(replayer: V1Replayer) -> None:
    _send(replayer, "reservations-create")
    recording = load("compute-reservations-one")

    response = replayer.send(recording)

    check_same_answer(replayer, recording, response)
    seen = replayer.statuses(response.json()["task_id"])
    check_same_task(replayer, load("compute-reservations-one-task"), seen)


def test_a_job_may_name_a_reservation_while_it_exists(replayer: V1Replayer) -> None:
    script = f"#!/bin/bash\n#SBATCH --reservation={NAME}\ntrue\n".encode()

    def submit() -> Any:
        files = {"file": ("job.sh", script)}
        return replayer.result(replayer.call("POST", "/compute/jobs/upload", files=files))

    assert submit()["status"] == "400"
    _send(replayer, "reservations-create")
    task = submit()
    assert task["status"] == "200"
    Jobs(replayer).wait(task["data"]["jobid"])


def test_only_the_owner_may_end_a_reservation(replayer: V1Replayer) -> None:
    _send(replayer, "reservations-create")
    headers = {"Authorization": f"Bearer {replayer.tokens['otheruser-client']}"}

    response = replayer.call("DELETE", f"/reservations/{NAME}", headers=headers)

    assert response.status_code == 400
    later = datetime.now() + timedelta(days=40)
    times = {"starttime": _iso(later), "endtime": _iso(later + timedelta(hours=1))}
    form = {"numberOfNodes": "9", "nodeType": "f7t", **times}
    assert "not available" in replayer.call("PUT", f"/reservations/{NAME}", data=form).json()["description"]


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
