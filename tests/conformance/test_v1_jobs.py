"""Replays of accounting, the queue and cancellations."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.conformance.v1_harness import (
    V1Replayer,
    check_same_answer,
    check_same_task,
    load,
    matching,
    names,
)
from tests.conformance.v1_jobs import Jobs, check_same_row

_REFUSED = [
    *("acct-forbidden-char", "jobs-invalid-id", "jobs-list-empty-item", "jobs-list-invalid-id"),
    "jobs-list-step-id",
]
# Their answers hold whatever else the recorded user ran that day.
_WINDOWS = [
    *("acct-time", "acct-timebad", "acct-timefull", "acct-now-1hour"),
    *("acct-starttime-future-datetime", "acct-starttime-future-mmdd"),
]
_PAGES = [
    f"{kind}-page-{page}"
    for kind in ("acct", "squeue")
    for page in ("p0", "p1", "sizeonly", "beyond", "neg", "nonint")
]
_ENDLESS = ["acct-page-zero", "squeue-page-zero", "jobs-single-get-finished", "jobs-single-get-unknown"]
_DOWN = ["slurmdown-acct", "slurmdown-cancel", "slurmdown-squeue"]
_LATENCY = [
    *("acct-latency-after-submit", "acct-latency-fine", "acct-held-and-begin-jobs", "acct-running-row"),
    *("array-job-acct-squeue-rows", "squeue-latency-pending-array"),
    "squeue-latency-pending-array-userJobs-false",
]
_PAIRS = [
    name
    for name in matching("acct", "squeue", "jobs", "cancel")
    if f"{name}-task" in names() and name not in [*_WINDOWS, *_PAGES, *_ENDLESS]
]
_CLUSTER = [name for name in matching("compute") if "crash" not in name and not name.endswith("-task")]
REPLAYED = [
    *_REFUSED,
    *_LATENCY,
    *(name for pair in [*_WINDOWS, *_PAGES, *_ENDLESS, *_DOWN, *_PAIRS] for name in (pair, f"{pair}-task")),
    *(name for pair in _CLUSTER if pair != "compute-reservations-one" for name in (pair, f"{pair}-task")),
]
OUT_OF_REACH: dict[str, str] = {}


@pytest.fixture
def jobs(v1_replayer: V1Replayer) -> Jobs:
    return Jobs(v1_replayer)


def _replay(jobs: Jobs, name: str, **changes: Any) -> tuple[requests.Response, list[dict[str, Any]]]:
    """The answer, and the statuses of its task."""
    response = jobs.replayer.send(load(name), **changes)
    check_same_answer(jobs.replayer, load(name), response)
    return response, jobs.replayer.statuses(response.json()["task_id"])


@pytest.mark.parametrize("name", _REFUSED)
def test_bad_job_ids_are_refused_as_recorded(jobs: Jobs, name: str) -> None:
    check_same_answer(jobs.replayer, load(name), jobs.replayer.send(load(name)))


# Name -> the jobs behind the ids in its request, as (recorded id, how ours comes about).
ARRANGE: dict[str, dict[str, Callable[[Jobs], str]]] = {
    "acct-one": {"7": lambda jobs: jobs.run("ok")},
    "acct-several": {
        "21": lambda jobs: jobs.run("ok"),
        "22": lambda jobs: jobs.run("fail"),
        "29": lambda jobs: jobs.running("cancelrun"),
    },
    "acct-several-one-unknown": {"21": lambda jobs: jobs.run("ok")},
    "acct-other-users-job": {"35": lambda jobs: _other(jobs)},
    "acct-array_task": {"36_1": lambda jobs: f"{jobs.run('arr2')}_1"},
    "acct-array_bracket": {"36_[1-3]": lambda jobs: f"{jobs.run('arr2')}_[1-3]"},
    "acct-invalid-id": {},
    "jobs-array_task": {"36_1": lambda jobs: f"{jobs.run('arr2')}_1"},
    "jobs-array_bracket": {"36_[1-3]": lambda jobs: f"{jobs.run('arr2')}_[1-3]"},
    "jobs-unknown-id-acct": {},
    "jobs-unknown-id-squeue": {},
    "squeue-empty": {},
    "squeue-finished-job": {"7": lambda jobs: jobs.run("ok")},
    "squeue-other-users-job": {"35": lambda jobs: _other(jobs)},
    "squeue-running": {"481": lambda jobs: _printed(jobs)},
    "squeue-several-one-unknown": {"29": lambda jobs: jobs.running("cancelrun")},
    # The controller forgets ended jobs after a while; to it they are unknown then.
    "squeue-purged-one": {"7": lambda _jobs: "888888"},
    "squeue-purged-two": {"7": lambda _jobs: "888888", "8": lambda _jobs: "888889"},
    "squeue-purged-purged-and-garbage": {"7": lambda _jobs: "888888"},
    "cancel-running": {"29": lambda jobs: jobs.running("cancelrun")},
    "cancel-pending": {"33": lambda jobs: jobs.submit("begin")},
    "cancel-again": {"29": lambda jobs: _cancelled(jobs)},
    "cancel-finished": {"21": lambda jobs: jobs.run("ok")},
    "cancel-array-task": {"25_3": lambda jobs: f"{jobs.run('array')}_3"},
    "cancel-array-whole": {"36": lambda jobs: jobs.run("array")},
    "cancel-other-user": {"35": lambda jobs: _other(jobs)},
    "cancel-invalid-id": {},
    "cancel-unknown": {},
    "cancel-several": {"30": lambda jobs: jobs.submit("hold"), "32": lambda jobs: jobs.submit("begin")},
}
_OWN_TESTS = [
    "acct-states",
    "acct-pending-job",
    "acct-starttime-future-date",
    "squeue-many",
    "squeue-all-users",
]


def _other(jobs: Jobs) -> str:
    job_id = jobs.submit_as_other()
    jobs.wait(job_id, "RUNNING")
    return job_id


def _printed(jobs: Jobs) -> str:
    job_id = jobs.running("shape")
    rows = jobs.ask("/compute/jobs", jobs=job_id)
    path = rows["0"]["job_file_out"]

    def complete() -> bool | None:
        with open(path) as file:  # noqa: PTH123 - a path as the server wrote it
            return file.read().endswith("err 3\n") or None

    jobs.replayer.wait_until(complete, 10, "the job has printed")
    return job_id


def _cancelled(jobs: Jobs) -> str:
    job_id = jobs.running("cancelrun")
    jobs.replayer.result(jobs.replayer.call("DELETE", f"/compute/jobs/{job_id}"))
    return job_id


def test_every_pair_of_recordings_has_its_jobs() -> None:
    assert sorted([*ARRANGE, *_OWN_TESTS]) == sorted(_PAIRS)


@pytest.mark.parametrize("name", ARRANGE)
def test_question_about_jobs_is_answered_as_recorded(jobs: Jobs, name: str) -> None:
    ids = {recorded: make(jobs) for recorded, make in ARRANGE[name].items()}
    recorded = load(name).request
    changes: dict[str, Any] = {}
    if recorded["params"]:
        changes["params"] = {**recorded["params"], "jobs": _translated(recorded["params"]["jobs"], ids)}
    elif "/jobs/" in recorded["url"]:
        path, _, last = recorded["url"].rpartition("/")
        changes["url"] = f"{path}/{_translated(last, ids)}"

    _, seen = _replay(jobs, name, **changes)

    check_same_task(jobs.replayer, load(f"{name}-task"), seen)


def _translated(recorded: str, ids: dict[str, str]) -> str:
    return ",".join(ids.get(job_id, job_id) for job_id in recorded.split(","))


@pytest.mark.parametrize("name", ["cancel-running", "cancel-pending", "cancel-several"])
def test_cancelled_jobs_are_cancelled(jobs: Jobs, name: str) -> None:
    ids = [make(jobs) for make in ARRANGE[name].values()]

    _replay(jobs, name, url=f"/compute/jobs/{','.join(ids)}")

    for job_id in ids:
        assert [task["state"] for task in jobs.tasks(job_id)] == ["CANCELLED"]


def test_accounting_shows_every_kind_of_end_as_recorded(jobs: Jobs) -> None:
    pipe = jobs.submit("shape", "sleep 0.1\n", job_name="rig1 a|b")
    made = {name: jobs.submit(name) for name in ("short", "ok", "fail", "signal", "array", "steps")}
    cancelled = {name: jobs.submit(name) for name in ("cancelrun", "hold", "begin")}
    jobs.wait(cancelled["cancelrun"], "RUNNING")
    for job_id in cancelled.values():
        jobs.replayer.result(jobs.replayer.call("DELETE", f"/compute/jobs/{job_id}"))
    order = [*made.values(), *cancelled.values(), pipe]
    for job_id in order:
        jobs.wait(job_id)

    _, seen = _replay(jobs, "acct-states", params={"jobs": ",".join(order)})

    recorded = {
        row["name"]: row for row in load("acct-states-task").tasks[-1]["data"] if "_" not in row["jobid"]
    }
    elements = [row for row in load("acct-states-task").tasks[-1]["data"] if "_" in row["jobid"]]
    same = {"rig1-short": "rig1-timeout"}
    for row in seen[-1]["data"]:
        if "_" not in row["jobid"]:
            expected = recorded[same.get(row["name"], row["name"])]
            check_same_row(jobs.replayer, {**row, "name": expected["name"]}, expected)
    ours = [row for row in seen[-1]["data"] if "_" in row["jobid"]]
    check_same_row(jobs.replayer, sorted(ours, key=_id), sorted(elements, key=_id))
    assert len(seen[-1]["data"]) == len(order) + 3


def _id(row: dict[str, Any]) -> str:
    return str(row["jobid"].partition("_")[2])


@pytest.mark.parametrize("name", _WINDOWS)
def test_only_a_plain_date_limits_accounting(jobs: Jobs, name: str) -> None:
    mine = jobs.run("ok")
    params = dict(load(name).request["params"])
    if name == "acct-time":
        params["starttime"] = date.today().isoformat()
    if name == "acct-starttime-future-datetime":
        params["starttime"] = (datetime.now() + timedelta(days=9)).isoformat(timespec="seconds")

    _, seen = _replay(jobs, name, params=params)

    rows = {row["jobid"]: row for row in seen[-1]["data"]}
    everything = {row["jobid"] for row in jobs.ask("/compute/acct")}
    assert set(rows) == everything
    recorded = next(row for row in load(f"{name}-task").tasks[-1]["data"] if row["jobid"].isdecimal())
    check_same_row(jobs.replayer, {**rows[mine], "name": ""}, {**recorded, "name": ""})


def test_a_window_that_begins_in_the_future_is_refused_by_sacct(jobs: Jobs) -> None:
    day = (date.today() + timedelta(days=11)).isoformat()

    _, seen = _replay(jobs, "acct-starttime-future-date", params={"starttime": day})

    check_same_task(jobs.replayer, load("acct-starttime-future-date-task"), seen)


@pytest.mark.parametrize("name", [name for name in _PAGES if name.startswith("acct")])
def test_accounting_is_cut_into_pages_as_recorded(jobs: Jobs, name: str) -> None:
    for _ in range(5):
        jobs.submit("ok")
    recorded = load(f"{name}-task")

    _, seen = _replay(jobs, name)

    assert seen[-1]["status"] == recorded.tasks[-1]["status"]
    if seen[-1]["status"] == "400":
        check_same_task(jobs.replayer, recorded, seen)
        return
    data, everything = seen[-1]["data"], jobs.ask("/compute/acct")
    page, size = (1, 2) if name.endswith("p1") else (0, 25 if "nonint" in name else 2)
    assert [row["jobid"] for row in data] == [
        row["jobid"] for row in everything[page * size : (page + 1) * size]
    ]
    assert sorted(data[0]) == sorted(recorded.tasks[-1]["data"][0])


def _queue(jobs: Jobs) -> None:
    """The three jobs of the paging recordings, in the order squeue shows them."""
    jobs.submit("manynodes", job_name="job.sh")
    jobs.running("timeout")
    jobs.wait(jobs.submit("shape", "sleep 100\n", job_name="rig1 a|b"), "RUNNING")


@pytest.mark.parametrize("name", [name for name in _PAGES if name.startswith("squeue")])
def test_the_queue_is_cut_into_pages_as_recorded(jobs: Jobs, name: str) -> None:
    _queue(jobs)

    _, seen = _replay(jobs, name)

    check_same_task(jobs.replayer, load(f"{name}-task"), seen)


def test_the_queue_of_everybody_tells_no_file_names(jobs: Jobs) -> None:
    _queue(jobs)
    _other(jobs)

    _, seen = _replay(jobs, "squeue-all-users")

    check_same_task(jobs.replayer, load("squeue-all-users-task"), seen)


def test_a_queue_of_many_kinds_is_listed_as_recorded(jobs: Jobs) -> None:
    failed = jobs.run("fail")
    jobs.submit("manynodes", job_name="job.sh")
    jobs.submit("shape", f"#SBATCH --dependency=afterok:{failed}\ntrue\n", job_name="rig1-dep")
    jobs.submit("begin")
    jobs.submit("hold")
    jobs.running("timeout")
    array = jobs.submit("lastarray", job_name="rig1-array")
    jobs.replayer.wait_until(lambda: _last_runs(jobs, array), 10, "only the last element runs")
    jobs.running("cancelrun")
    jobs.wait(jobs.submit("shape", "sleep 100\n", job_name="rig1 a|b"), "RUNNING")

    _, seen = _replay(jobs, "squeue-many")

    check_same_task(jobs.replayer, load("squeue-many-task"), seen)


def _last_runs(jobs: Jobs, array: str) -> bool | None:
    states = [task["state"] for task in sorted(jobs.tasks(array), key=lambda task: int(task["task_index"]))]
    return (
        states[-1] == "RUNNING" and not any(state in ("PENDING", "RUNNING") for state in states[:-1])
    ) or None


@pytest.mark.parametrize("name", _ENDLESS)
def test_some_questions_are_never_answered(jobs: Jobs, name: str) -> None:
    job_id = jobs.run("ok")
    changes = {"url": f"/compute/jobs/{job_id}"} if name == "jobs-single-get-finished" else {}

    response = jobs.replayer.send(load(name), **changes)

    check_same_answer(jobs.replayer, load(name), response)
    jobs.ask("/compute/jobs")  # asked later and answered
    check_same_task(jobs.replayer, load(f"{name}-task"), [jobs.replayer.task(response.json()["task_id"])])


@pytest.mark.parametrize("name", _DOWN)
def test_an_outage_of_slurm_is_a_task_at_400(jobs: Jobs, name: str) -> None:
    text = load(f"{name}-task").tasks[-1]["data"]
    jobs.replayer.server.fault("task_400", path_regex="/v1/compute", body=text)

    _, seen = _replay(jobs, name)

    check_same_task(jobs.replayer, load(f"{name}-task"), seen)


def test_accounting_learns_of_a_new_job_late(jobs: Jobs) -> None:
    jobs.replayer.settings(acct_lag=0.6)
    began = time.monotonic()
    job_id = jobs.running("cancelrun")

    while (row := jobs.ask("/compute/acct", jobs=job_id)) == {}:
        queued = jobs.ask("/compute/jobs", jobs=job_id)
        assert [one["state"] for one in queued.values()] == ["RUNNING"]
        assert time.monotonic() - began < 10
    seen_after = time.monotonic() - began

    assert seen_after >= 0.6
    recorded = load("acct-latency-after-submit").content["rows"]
    assert recorded[0]["acct"] == {}
    expected = recorded[1]["acct"]
    check_same_row(jobs.replayer, [{**row[0], "name": expected[0]["name"]}], expected)
    # The other recording holds how long it took: never at once.
    assert all(one["first_seen"][0] > 0.5 for one in load("acct-latency-fine").content["rows"])


def test_a_waiting_job_is_as_absent_as_an_unknown_one(jobs: Jobs) -> None:
    jobs.replayer.settings(acct_lag=30)
    job_id = jobs.submit("begin")

    _, seen = _replay(jobs, "acct-pending-job", params={"jobs": job_id})

    check_same_task(jobs.replayer, load("acct-pending-job-task"), seen)
    assert [row["state"] for row in jobs.ask("/compute/jobs", jobs=job_id).values()] == ["PENDING"]


def test_held_and_later_jobs_are_shown_as_recorded(jobs: Jobs) -> None:
    held, begin = jobs.submit("held"), jobs.submit("begin")
    recorded = load("acct-held-and-begin-jobs").content

    rows, queue = jobs.ask("/compute/acct", jobs=f"{held},{begin}"), jobs.ask("/compute/jobs")

    check_same_row(jobs.replayer, rows, recorded["acct_rows"][1][1])
    check_same_row(jobs.replayer, queue, recorded["squeue"]["data"])


def test_a_running_job_has_no_end_yet(jobs: Jobs) -> None:
    job_id = jobs.running("shape")

    rows = jobs.ask("/compute/acct", jobs=job_id)

    check_same_row(jobs.replayer, rows, load("acct-running-row").content["task"]["data"])


def test_rows_of_an_array_are_those_recorded(jobs: Jobs) -> None:
    recorded = load("array-job-acct-squeue-rows").content["rows"]
    known = {
        kind: [jobs.replayer.anonymise(row) for poll in recorded for row in _rows(poll[kind])]
        for kind in ("acct", "squeue")
    }
    array = jobs.submit("arr2")
    seen: dict[str, list[str]] = {"acct": [], "squeue": []}

    while any(task["state"] in ("PENDING", "RUNNING") for task in jobs.tasks(array)):
        for kind, path in (("acct", "/compute/acct"), ("squeue", "/compute/jobs")):
            for row in _rows(jobs.ask(path, jobs=array)):
                # Which elements still wait depends on when one looks.
                assert _kind(jobs.replayer.anonymise(row)) in [_kind(one) for one in known[kind]], row
                seen[kind].append(row["jobid"])

    for kind, ids in seen.items():
        assert any("_[" in one and one.endswith("%1]") for one in ids), (kind, ids)
        assert any(one == f"{array}_1" for one in ids), (kind, ids)
    final = jobs.ask("/compute/acct", jobs=array)
    check_same_row(jobs.replayer, final, recorded[-1]["acct"])


def _rows(answer: Any) -> list[dict[str, Any]]:
    return list(answer.values()) if isinstance(answer, dict) else list(answer)


def _kind(row: dict[str, Any]) -> dict[str, Any]:
    is_group = "[" in row["jobid"]
    return {
        **row,
        "jobid": "GROUP" if is_group else "ELEMENT",
        "nodelist": row["nodelist"] if not is_group else "-",
    }


@pytest.mark.parametrize("own", ["true", "false"])
def test_a_waiting_array_is_shown_as_recorded(jobs: Jobs, own: str) -> None:
    name = "squeue-latency-pending-array" + ("" if own == "true" else "-userJobs-false")
    array = jobs.submit("parr")
    jobs.replayer.wait_until(
        lambda: any(task["state"] == "RUNNING" for task in jobs.tasks(array)) or None, 10, "one element runs"
    )

    rows = jobs.ask("/compute/jobs", jobs=array, userJobs=own)

    recorded = load(name).content["task"]["data"]
    if own == "true":
        # Recorded a moment before the first element had started.
        check_same_row(jobs.replayer, _kind(rows["0"]), _kind(recorded["0"]))
    else:
        check_same_row(jobs.replayer, rows, recorded)


@pytest.mark.parametrize("name", [name for name in _CLUSTER if name != "compute-reservations-one"])
def test_the_cluster_is_described_as_recorded(jobs: Jobs, name: str) -> None:
    jobs.running("cancelrun")

    _, seen = _replay(jobs, name)

    check_same_task(jobs.replayer, load(f"{name}-task"), seen)
