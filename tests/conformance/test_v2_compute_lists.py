"""Replays of recorded lists of jobs and of arrays, where one job is many rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest
from tests.conformance.harness import Replayer, check_same_answer, load
from tests.conformance.jobs import ACTIVE, Cluster, check_same_jobs, role_row

LISTS = [
    "jobs_list",
    "jobs_list_allusers",
    "jobs_list_other_user",
    "jobs_list_unknown_param",
    "jobs_list_window_1h",
    "jobs_list_window_24h",
    "jobs_list_window_3d",
    "jobs_list_window_7d",
    "jobs_list_window_8h",
]

_BY_HAND = """
    cancel_array_whole job_array_after job_array_cancelled job_array_mixed job_array_task_raw_id_other
    job_name_special jobs_list_account jobs_list_name jobs_list_poisoned_by_pipe_in_job_name
    jobs_list_with_array_mixed latency_and_visibility
"""
REPLAYED = frozenset({*LISTS, *_BY_HAND.split()})

OUT_OF_REACH = {
    "array_cli_view": "what squeue and sacct printed, for comparison; no request to the server",
    "job_array_0ms_after_submit": "accounting had not heard of the array yet; ours hears of it at once",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that tests may fill with jobs."""
    with LocalFirecrest(cpus=8) as server:
        replayer = Replayer(server)
        yield Cluster(replayer)
        replayer.close()


@pytest.fixture(autouse=True)
def _no_job_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.cancel_everything()


def _rows(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["jobs"]
    return rows


def _kinds(rows: list[dict[str, Any]]) -> set[str]:
    """What sorts of rows there are: state, and which of the values are there."""
    kinds = set()
    for row in rows:
        times = {key: value is None for key, value in row["time"].items()}
        codes = row["status"]["exitCode"] is None, row["status"]["interruptSignal"] is None
        shape = sorted(row), row["nodes"] == "None assigned", row["nodes"] == ""
        kinds.add(str((row["status"]["state"].split(" by ")[0], codes, times, shape)))
    return kinds


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_only_rows_of_recorded_kinds(cluster: Cluster, name: str) -> None:
    finished = [cluster.submit(s) for s in ("submit_script", "submit_failed3", "submit_workdir_nonexistent")]
    cancelled = cluster.submit("submit_cancel_running")
    cluster.wait(cancelled, "RUNNING")
    assert cluster.ask("cancel_running", cancelled).status_code == 204
    for job_id in (*finished, cancelled):
        cluster.wait(job_id)
    for submission in ("submit_running", "submit_held", "submit_pending_begin", "submit_too_many_nodes"):
        cluster.submit(submission)
    response = cluster.ask(name, "0", cluster.other_users_token() if name == "jobs_list_other_user" else None)
    recorded = _kinds(load("jobs_list").response["json"]["jobs"])
    assert _kinds(_rows(response)) <= recorded
    expected_jobs = 0 if name == "jobs_list_other_user" else 8
    assert len(_rows(response)) >= expected_jobs


def test_only_all_users_lists_show_other_peoples_jobs(cluster: Cluster) -> None:
    job = {"workingDirectory": str(cluster.jobs_dir), "script": "#!/bin/bash\ntrue\n", "name": "theirs"}
    url = f"{cluster.server.base_url}/compute/cluster/jobs"
    headers = {"Authorization": f"Bearer {cluster.other_users_token()}"}
    theirs = requests.post(url, json={"job": job}, headers=headers, timeout=30).json()["jobId"]
    cluster.wait(theirs)
    assert theirs not in {row["jobId"] for row in _rows(cluster.ask("jobs_list", "0"))}
    assert theirs in {row["jobId"] for row in _rows(cluster.ask("jobs_list_allusers", "0"))}
    assert {row["user"] for row in _rows(requests.get(url, headers=headers, timeout=30))} == {"otheruser"}


@pytest.mark.parametrize(
    ("name", "submission", "field", "value"),
    [
        ("jobs_list_name", "submit_failed3", "name", "fail3"),
        ("jobs_list_account", "submit_account_partition", "account", "project2"),
    ],
)
def test_lists_can_be_narrowed(cluster: Cluster, name: str, submission: str, field: str, value: str) -> None:
    mine = cluster.submit(submission)
    cluster.wait(cluster.submit("submit_exit137"))
    cluster.wait(mine)
    rows = _rows(cluster.ask(name, "0"))
    assert mine in {row["jobId"] for row in rows}
    assert {row[field] for row in rows} == {value}
    recorded = load(name).response["json"]["jobs"]
    newest = next(row for row in rows if row["jobId"] == mine)
    assert role_row(cluster.replayer.anonymise(newest), mine) in [
        role_row(row, str(row["jobId"])) for row in recorded
    ]


def test_a_list_leaves_out_what_was_cancelled_before_it_could_run(cluster: Cluster) -> None:
    waited_in_vain = cluster.submit("submit_cancel_pending")
    assert cluster.ask("cancel_pending", waited_in_vain).status_code == 204
    assert waited_in_vain not in {row["jobId"] for row in _rows(cluster.ask("jobs_list", "0"))}
    assert _rows(cluster.ask("job_cancelled_pending", waited_in_vain))[0]["jobId"] == waited_in_vain


def _array(cluster: Cluster) -> str:
    """The recorded array; an element waits for its gate instead of ten seconds."""
    wait = f"until [ -e {cluster.jobs_dir}/gate.$SLURM_ARRAY_TASK_ID ]; do sleep 0.02; done"
    for gate in cluster.jobs_dir.glob("gate.*"):
        gate.unlink()
    job_id = cluster.submit("submit_array", lambda script: script.replace("sleep 10", wait))
    _wait_for_running(cluster, job_id, {0, 1})
    return job_id


def _wait_for_running(cluster: Cluster, job_id: str, indices: set[int]) -> None:
    def reached() -> bool | None:
        running = {task["task_index"] for task in cluster.tasks(job_id) if task["state"] == "RUNNING"}
        return running == indices or None

    cluster.replayer.wait_until(reached, 10, f"elements {indices} of array {job_id} running")


def _open_gates(cluster: Cluster, *indices: int) -> None:
    for index in indices:
        (cluster.jobs_dir / f"gate.{index}").touch()


def test_a_living_array_is_shown_twice_in_two_numberings(cluster: Cluster) -> None:
    array = _array(cluster)
    first = next(task for task in cluster.tasks(array) if task["task_index"] == 0)
    check_same_jobs(cluster.replayer, cluster.ask("job_array_mixed", array), "job_array_mixed", array)
    check_same_jobs(
        cluster.replayer,
        cluster.ask("job_array_task_raw_id_other", first["id"]),
        "job_array_task_raw_id_other",
        array,
    )


def test_a_list_shows_a_living_array_without_its_pending_elements_record(cluster: Cluster) -> None:
    array = _array(cluster)
    name = "jobs_list_with_array_mixed"
    response = cluster.ask(name, array)
    # Arrays of tests before this one had the same name; their rows are over.
    living = [row for row in _rows(response) if row["status"]["state"] in ACTIVE]
    recorded = load(name).response["json"]["jobs"]
    got = [role_row(cluster.replayer.anonymise(row), array) for row in living]
    assert sorted(got, key=str) == sorted((role_row(row, "87") for row in recorded), key=str)


def test_an_array_ends_element_by_element_and_its_last_one_has_the_arrays_number(cluster: Cluster) -> None:
    array = _array(cluster)
    _open_gates(cluster, 0, 1)
    _wait_for_running(cluster, array, {2, 3})
    _open_gates(cluster, 2, 3)
    _wait_for_running(cluster, array, {4, 5})
    check_same_jobs(cluster.replayer, cluster.ask("job_array_after", array), "job_array_after", array)
    numbers = {task["task_index"]: task["id"] for task in cluster.tasks(array)}
    assert numbers[5] == array
    check_same_answer(cluster.replayer, load("cancel_array_whole"), cluster.ask("cancel_array_whole", array))
    cluster.wait(array)
    check_same_jobs(cluster.replayer, cluster.ask("job_array_cancelled", array), "job_array_cancelled", array)


def test_jobs_are_visible_in_both_views_as_soon_as_they_have_an_id(cluster: Cluster) -> None:
    recorded = load("latency_and_visibility").content
    assert recorded["list_right_after_submit_missing"] == "0/10"
    for _ in range(10):
        job_id = cluster.submit("submit_exit137")
        assert _rows(cluster.ask("job_exit137", job_id))[0]["jobId"] == job_id
        assert job_id in {row["jobId"] for row in _rows(cluster.ask("jobs_list", "0"))}


def test_a_bar_in_a_job_name_poisons_every_list_it_is_in() -> None:
    # A server of its own: the damage stays.
    with LocalFirecrest() as server:
        replayer = Replayer(server)
        poisoned = Cluster(replayer)
        job_id = poisoned.submit("submit_name_special")
        poisoned.wait(job_id)
        check_same_answer(replayer, load("job_name_special"), poisoned.ask("job_name_special", job_id))
        name = "jobs_list_poisoned_by_pipe_in_job_name"
        check_same_answer(replayer, load(name), replayer.send(load(name)))
        assert poisoned.ask("jobs_list_allusers", "0").status_code == 500
        innocent = poisoned.submit("submit_exit137")
        assert poisoned.ask("job_exit137", innocent).status_code == 200
        replayer.close()
