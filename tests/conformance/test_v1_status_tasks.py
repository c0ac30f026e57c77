"""Replays of ``/status`` and ``/tasks``."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.conformance.v1_harness import V1Replayer, check_same_answer, check_same_json, load, matching

_CACHE = matching("status-cache")
STATUS = [*(name for name in matching("status") if name not in _CACHE), "nohost-status-systems"]
PLAIN_TASKS = [
    "tasks-unknown",
    "tasks-unknown-list",
    "tasks-list-bad-input",
    "tasks-no-token",
    "tasks-delete",
]
_OWN_TASKS = [
    *("tasks-all", "tasks-all-trailing-slash", "tasks-one", "tasks-several", "tasks-several-one-unknown"),
    *("tasks-other-user", "tasks-other-user-list", "tasks-same-user-other-client"),
]
REPLAYED = [*STATUS, *_CACHE, *PLAIN_TASKS, *_OWN_TASKS]
_RESTART = "the tasks service was restarted; the local server keeps its tasks only while it runs"
OUT_OF_REACH = {
    "tasks-get-after-tasks-restart": _RESTART,
    "tasks-list-after-tasks-restart": _RESTART,
}
# Of the site, not of the software.
_ACCIDENTAL = ("FIRECREST_BUILD", "UTILITIES_TIMEOUT")


@pytest.mark.parametrize("name", STATUS)
def test_status_answers_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    recording = load(name)

    response = v1_replayer.send(recording)

    assert response.status_code == recording.response["status"]
    got = _sorted(v1_replayer.anonymise(response.json()))
    check_same_json(got, _sorted(recording.response["json"]))


def _sorted(answer: Any) -> Any:
    """Without order and what a site may choose."""
    out = answer.get("out")
    if isinstance(out, list):
        out = sorted(out, key=lambda item: str(item.get("system", item.get("service", item.get("name")))))
    elif isinstance(out, dict) and "cluster" in out:
        # The unknown host was added to the recorded site later.
        out = {name: value for name, value in out.items() if name != "nohostcluster"}
    elif isinstance(out, dict) and "general" in out:
        out = {kind: [_parameter(item) for item in items] for kind, items in out.items()}
    return answer if out is None else {**answer, "out": out}


def _parameter(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "value": type(item["value"]).__name__} if item["name"] in _ACCIDENTAL else item


def test_status_repeats_its_last_answer_unless_told_not_to(v1_replayer: V1Replayer) -> None:
    def replay(name: str) -> None:
        check_same_answer(v1_replayer, load(name), v1_replayer.send(load(name)))

    up, cached, down, cached_down, up_again = _CACHE
    replay(up)
    v1_replayer.settings(down=["downcluster", "cluster"])
    replay(cached)
    replay(down)
    v1_replayer.settings(down=["downcluster"])
    replay(cached_down)
    replay(up_again)


@pytest.mark.parametrize("name", PLAIN_TASKS)
def test_tasks_answer_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    recording = load(name)

    check_same_answer(v1_replayer, recording, v1_replayer.send(recording))


def _asked(replayer: V1Replayer) -> str:
    """Id of a finished task that asked accounting for one job."""
    job = replayer.result(replayer.send(load("submit-upload")))["data"]["jobid"]
    replayer.wait_until(lambda: _ended(replayer, job), 20, "the job has ended")
    return str(replayer.result(replayer.call("GET", "/compute/acct", params={"jobs": job}))["task_id"])


def _ended(replayer: V1Replayer, job_id: str) -> bool | None:
    return any(job["id"] == job_id and job["state"] == "COMPLETED" for job in replayer.server.jobs()) or None


def _waiting(replayer: V1Replayer) -> str:
    """Id of a task that stays at 100."""
    replayer.server.fault("task_hangs_at_100")
    return str(replayer.call("GET", "/compute/acct").json()["task_id"])


def _same_tasks(replayer: V1Replayer, name: str, response: requests.Response) -> None:
    expected = load(name).response["json"]
    assert response.status_code == 200
    check_same_json(replayer.anonymise(response.json()), replayer.anonymise(expected))


def test_a_finished_task_is_shown_as_recorded(v1_replayer: V1Replayer) -> None:
    task = _asked(v1_replayer)

    response = v1_replayer.send(load("tasks-one"), url=f"/tasks/{task}")

    _same_tasks(v1_replayer, "tasks-one", response)


@pytest.mark.parametrize("name", ["tasks-several", "tasks-several-one-unknown"])
def test_a_list_holds_the_known_tasks_only(v1_replayer: V1Replayer, name: str) -> None:
    first = _asked(v1_replayer)
    others = [
        str(v1_replayer.result(v1_replayer.call("GET", "/compute/acct"))["task_id"])
        for _ in load(name).response["json"]["tasks"]
    ][1:]
    wanted = [first, *others, *(["0" * 32] if "unknown" in name else [])]

    tasks = v1_replayer.send(load(name), params={"tasks": ",".join(wanted)}).json()["tasks"]

    assert set(tasks) == {first, *others}
    recorded = next(iter(load(name).response["json"]["tasks"].values()))
    check_same_json(v1_replayer.anonymise(tasks[first]), v1_replayer.anonymise(recorded))


@pytest.mark.parametrize("name", ["tasks-all", "tasks-all-trailing-slash"])
def test_a_list_without_filter_holds_every_task(v1_replayer: V1Replayer, name: str) -> None:
    waiting, done = _waiting(v1_replayer), _asked(v1_replayer)

    tasks = v1_replayer.send(load(name)).json()["tasks"]

    assert {waiting, done} <= set(tasks)
    recorded = next(iter(load(name).response["json"]["tasks"].values()))
    check_same_json(v1_replayer.anonymise(tasks[waiting]), v1_replayer.anonymise(recorded))


def test_a_task_belongs_to_the_unix_user_not_to_the_client(v1_replayer: V1Replayer) -> None:
    task = _waiting(v1_replayer)
    same, other, other_list = (
        load(name) for name in ("tasks-same-user-other-client", "tasks-other-user", "tasks-other-user-list")
    )

    _same_tasks(v1_replayer, same.name, v1_replayer.send(same, url=f"/tasks/{task}"))
    check_same_answer(v1_replayer, other, v1_replayer.send(other, url=f"/tasks/{task}"))
    check_same_answer(v1_replayer, other_list, v1_replayer.send(other_list, params={"tasks": task}))
