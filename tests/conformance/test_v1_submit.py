"""Replays of submissions: the answer, the statuses of the task, the description of the job."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_firecrest.local import LocalFirecrestError
from tests.conformance.v1_harness import V1Replayer, check_same_answer, check_same_task, load, names
from tests.conformance.v1_jobs import Jobs, check_same_row
from tests.conformance.v1_trees import add_scripts, make_home

_SPECIAL = ("submit-upload-warning-orphan-squeue", "submit-answer-lost", "submit-answer-lost-squeue")
_ALL = [name for name in names() if name.startswith("submit-") and name not in _SPECIAL]
WITH_TASK = [name.removesuffix("-task") for name in _ALL if name.endswith("-task")]
REFUSED = [name for name in _ALL if name not in WITH_TASK and not name.endswith("-task")]
_CRASH, _DOWN = "compute-crash-submit", "slurmdown-submit"
REPLAYED = [
    *_ALL,
    *_SPECIAL,
    *(_CRASH, f"{_CRASH}-task", _DOWN, f"{_DOWN}-task", "token-expires-during-submit"),
]
OUT_OF_REACH: dict[str, str] = {}


def _arrange(replayer: V1Replayer) -> None:
    add_scripts(make_home(replayer.home))


@pytest.mark.parametrize("name", WITH_TASK)
def test_submission_goes_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    _arrange(v1_replayer)

    response = v1_replayer.send(load(name))

    check_same_answer(v1_replayer, load(name), response)
    seen = v1_replayer.statuses(response.json()["task_id"])
    check_same_task(v1_replayer, load(f"{name}-task"), seen)


@pytest.mark.parametrize("name", REFUSED)
def test_submission_is_refused_as_recorded(v1_replayer: V1Replayer, name: str) -> None:
    _arrange(v1_replayer)
    changes: dict[str, Any] = {}
    if name == "submit-upload-latin1-bytes":
        # The recorder could not write the byte down.
        changes = {"files": {"file": ("job.sh", b"#!/bin/bash\n# \xe9\n")}}
    before = len(v1_replayer.server.jobs())

    response = v1_replayer.send(load(name), **changes)

    check_same_answer(v1_replayer, load(name), response)
    assert len(v1_replayer.server.jobs()) == before


def test_a_job_sbatch_warned_about_runs_although_the_task_says_400(v1_replayer: V1Replayer) -> None:
    v1_replayer.result(v1_replayer.send(load("submit-upload-too-many-nodes")))
    task = v1_replayer.result(v1_replayer.send(load("submit-upload-warning-orphan")))

    rows = Jobs(v1_replayer).ask("/compute/jobs")

    assert task["status"] == "400"
    expected = load("submit-upload-warning-orphan-squeue").content["task"]["data"]
    check_same_row(v1_replayer, rows, expected)


def test_a_job_whose_answer_was_lost_runs(v1_replayer: V1Replayer) -> None:
    lost = load("submit-answer-lost")
    v1_replayer.server.fault("lose_answer", method="POST", path_regex="/compute/jobs/upload$")

    with pytest.raises(OSError, match=r"Connection|closed|aborted|reset"):
        v1_replayer.send(lost)

    jobs = Jobs(v1_replayer)
    v1_replayer.wait_until(lambda: jobs.ask("/compute/jobs") or None, 10, "the job is in the queue")
    v1_replayer.wait_until(lambda: _runs(jobs), 10, "the job runs")
    expected = load("submit-answer-lost-squeue").content["task"]["data"]
    check_same_row(v1_replayer, jobs.ask("/compute/jobs"), expected)


def _runs(jobs: Jobs) -> bool | None:
    return any(row["state"] == "RUNNING" for row in jobs.ask("/compute/jobs").values()) or None


@pytest.mark.parametrize(
    ("fault", "submitted"), [("task_hangs_at_100", False), ("task_hangs_after_acting", True)]
)
def test_a_task_whose_worker_died_stays_at_100(v1_replayer: V1Replayer, fault: str, submitted: bool) -> None:
    before = len(v1_replayer.server.jobs())
    v1_replayer.server.fault(fault, method="POST", path_regex="/compute/jobs/upload$")

    response = v1_replayer.send(load(_CRASH))

    check_same_answer(v1_replayer, load(_CRASH), response)
    after = v1_replayer.result(v1_replayer.send(load("submit-upload")))
    seen = v1_replayer.task(response.json()["task_id"])
    check_same_task(v1_replayer, load(f"{_CRASH}-task"), [seen])
    assert len(v1_replayer.server.jobs()) - before == 1 + submitted, after


def test_an_outage_of_slurm_is_a_task_at_400(v1_replayer: V1Replayer) -> None:
    text = load(f"{_DOWN}-task").tasks[-1]["data"]
    before = len(v1_replayer.server.jobs())
    v1_replayer.server.fault("task_400", path_regex="/v1/compute", body=text)

    response = v1_replayer.send(load(_DOWN))

    check_same_answer(v1_replayer, load(_DOWN), response)
    check_same_task(v1_replayer, load(f"{_DOWN}-task"), v1_replayer.statuses(response.json()["task_id"]))
    assert len(v1_replayer.server.jobs()) == before


def test_a_submitted_job_can_be_reported_as_a_failure(v1_replayer: V1Replayer) -> None:
    before = len(v1_replayer.server.jobs())
    v1_replayer.server.fault("task_400_although_submitted", body="sbatch: Warning: any")

    task = v1_replayer.result(v1_replayer.send(load("submit-upload")))

    assert (task["status"], task["data"]) == ("400", "sbatch: Warning: any")
    assert len(v1_replayer.server.jobs()) == before + 1


def test_a_submission_outlives_its_token(v1_replayer: V1Replayer) -> None:
    recorded = load("token-expires-during-submit").content["results"][0]["task"]
    headers = {"Authorization": f"Bearer {v1_replayer.server.mint_token(ttl=1)}"}

    task = v1_replayer.result(v1_replayer.send(load("submit-upload"), headers=headers))

    check_same_row(v1_replayer, task, recorded)


def test_uploaded_script_is_kept_in_the_home_and_runs_there(v1_replayer: V1Replayer) -> None:
    script = b"#!/bin/bash\npwd\n"
    files = {"file": ("job.sh", script)}
    task = v1_replayer.result(v1_replayer.call("POST", "/compute/jobs/upload", files=files))

    directory = v1_replayer.home / "firecrest" / task["task_id"]
    Jobs(v1_replayer).wait(task["data"]["jobid"])

    assert (directory / "job.sh").read_bytes() == script
    assert (directory / f"slurm-{task['data']['jobid']}.out").read_text() == f"{directory}\n"


def test_a_comma_cuts_a_value_of_the_environment(v1_replayer: V1Replayer) -> None:
    task = v1_replayer.result(v1_replayer.send(load("submit-upload-env")))
    Jobs(v1_replayer).wait(task["data"]["jobid"])

    with open(task["data"]["job_file_out"]) as file:  # noqa: PTH123 - a path as the server wrote it
        output = file.read()

    assert sorted(re.findall(r"RIG.=.*", output)) == ["RIGA=1", "RIGB=x y", "RIGC=a"]


def test_the_control_endpoint_refuses_settings_it_does_not_know(v1_replayer: V1Replayer) -> None:
    with pytest.raises(LocalFirecrestError, match="unknown settings: speed"):
        v1_replayer.settings(speed=1)
