"""Replays of recorded submissions: accepted with an id, or refused in the recorded words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_firecrest.local import LocalFirecrest
from tests.conformance.harness import Replayer, check_same_answer, load
from tests.conformance.jobs import Cluster

_ACCEPTED = """
    submit_account_partition submit_array submit_bad_interpreter submit_cancel_pending
    submit_cancel_running submit_cancel_running_trap submit_cancel_running_trap_exit0 submit_cmd_not_found
    submit_constraints submit_dep_killinvalid submit_dep_never submit_dep_never2
    submit_dependency_unknown_job submit_env_dict submit_env_empty submit_env_newline submit_exit137
    submit_failed3 submit_held submit_name_comma submit_oom submit_pending_begin submit_running
    submit_script submit_script_and_path submit_script_path submit_sigkill_self submit_sigterm_self
    submit_step_fails_job_ok submit_stdio submit_stdio_relative submit_time_over_limit submit_timeout
    submit_too_many_cpus submit_too_many_nodes submit_unknown_field submit_workdir_nonexistent
    submit_workdir_not_writable submit_workdir_relative submit_working_directory_snake
"""

_REFUSED = """
    submit_bad_directive submit_constraints_bad submit_currentWorkingDirectory submit_empty_script
    submit_env_list submit_env_nonstring_value submit_env_null submit_invalid_account
    submit_invalid_partition submit_invalid_reservation submit_missing_workdir submit_neither
    submit_no_shebang submit_script_path_missing submit_shebang_crlf submit_too_much_mem
    submit_unknown_system submit_workdir_null submit_wrong_shape
"""

ACCEPTED, REFUSED = _ACCEPTED.split(), _REFUSED.split()

# Name -> headers and body: recordings whose body is no JSON document.
RAW_BODIES: dict[str, tuple[dict[str, str], bytes | None]] = {
    "submit_form_encoded": ({"Content-Type": "application/x-www-form-urlencoded"}, b"job=x"),
    "submit_malformed_json": ({"Content-Type": "application/json"}, b'{"job": '),
    "submit_no_body": ({}, None),
}

REPLAYED = frozenset({*ACCEPTED, *REFUSED, *RAW_BODIES, "submit_name_special"})

OUT_OF_REACH = {
    "submit_ambiguous_outcomes": "a summary of outages of the controller, which this scheduler cannot have",
    "submit_controller_down": "the controller was stopped; the fault switch can lose answers instead",
    "submit_controller_hung": "the controller was frozen; the fault switch can lose answers instead",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that tests may fill with jobs."""
    with LocalFirecrest(cpus=8, ops_timeout=0.5) as server:
        replayer = Replayer(server)
        yield Cluster(replayer)
        replayer.close()


@pytest.fixture(autouse=True)
def _no_job_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.cancel_everything()


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_submission_accepted_by_the_real_server_gets_an_id(cluster: Cluster, name: str) -> None:
    recording = load(name)
    response = cluster.replayer.send(recording)
    check_same_answer(cluster.replayer, recording, response)
    assert cluster.tasks(response.json()["jobId"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_submission_refused_by_the_real_server_is_refused_in_the_same_words(
    cluster: Cluster, name: str
) -> None:
    recording = load(name)
    check_same_answer(cluster.replayer, recording, cluster.replayer.send(recording))


@pytest.mark.parametrize("name", sorted(RAW_BODIES))
def test_a_body_that_is_no_submission_is_refused_in_the_same_words(cluster: Cluster, name: str) -> None:
    headers, body = RAW_BODIES[name]
    recording = load(name)
    url = cluster.server.base_url + recording.request["path"]
    authorisation = {"Authorization": f"Bearer {cluster.replayer.token}"}
    response = requests.post(url, data=body, headers={**authorisation, **headers}, timeout=30)
    check_same_answer(cluster.replayer, recording, response)


def test_a_submission_without_a_script_takes_the_whole_command_timeout(cluster: Cluster) -> None:
    began = time.monotonic()
    response = cluster.replayer.send(load("submit_neither"))
    assert response.status_code == 408
    assert time.monotonic() - began >= 0.5


def _output(cluster: Cluster, job_id: str, file_name: str) -> str:
    cluster.wait(job_id)
    return (cluster.jobs_dir / file_name.replace("%j", job_id)).read_text()


def test_environment_values_lose_what_follows_a_comma_or_an_odd_quote(cluster: Cluster) -> None:
    output = _output(cluster, cluster.submit("submit_env_dict"), "slurm-%j.out")
    variables = [line for line in output.splitlines() if line[1:3] == "1="]
    # E1 and F1 came after the quote in D1 and are gone; nothing in the 201 says so.
    assert variables == ["A1=plain", "B1=with space", "C1=a"]


def test_an_environment_value_keeps_its_line_break(cluster: Cluster) -> None:
    assert _output(cluster, cluster.submit("submit_env_newline"), "slurm-%j.out") == "[line1\nline2]\n"


def test_an_empty_environment_leaves_the_login_environment(cluster: Cluster) -> None:
    assert "/bin" in _output(cluster, cluster.submit("submit_env_empty"), "slurm-%j.out")


def test_a_script_on_the_cluster_wins_over_the_one_in_the_body(cluster: Cluster) -> None:
    output = _output(cluster, cluster.submit("submit_script_and_path"), "slurm-%j.out")
    assert output.startswith("path ")
    assert output.splitlines()[1] == str(cluster.jobs_dir)


def test_standard_files_go_where_the_request_says(cluster: Cluster) -> None:
    job_id = cluster.submit("submit_stdio")
    assert _output(cluster, job_id, "my.%j.out") == "input\nout\n"
    assert _output(cluster, job_id, "my.%j.err") == "err\n"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("submit_time_over_limit", "PartitionTimeLimit"),
        ("submit_too_many_cpus", "PartitionConfig"),
        ("submit_too_many_nodes", "PartitionNodeLimit"),
        ("submit_held", "JobHeldUser"),
        ("submit_pending_begin", "BeginTime"),
    ],
)
def test_a_job_that_cannot_run_is_accepted_and_stays_pending(
    cluster: Cluster, name: str, reason: str
) -> None:
    job_id = cluster.submit(name)
    cluster.replayer.wait_until(
        lambda: cluster.tasks(job_id)[0]["reason"] == reason or None, 5, f"{name} waiting for {reason}"
    )
    assert cluster.tasks(job_id)[0]["state"] == "PENDING"


@pytest.mark.parametrize(
    "name", ["submit_workdir_nonexistent", "submit_workdir_relative", "submit_stdio_relative"]
)
def test_a_directory_that_is_missing_fails_the_job_not_the_submission(cluster: Cluster, name: str) -> None:
    job_id = cluster.submit(name)
    cluster.wait(job_id)
    (task,) = cluster.tasks(job_id)
    assert (task["state"], task["exit_code"], task["signal"]) == ("FAILED", 0, 53)


def test_a_refusal_for_memory_leaves_a_failed_row_in_accounting(cluster: Cluster) -> None:
    response = cluster.replayer.send(load("submit_too_much_mem"))
    assert response.status_code == 500
    rows: list[dict[str, Any]] = cluster.replayer.call("GET", "/compute/cluster/jobs").json()["jobs"]
    row = rows[-1]
    assert (row["status"]["state"], row["status"]["exitCode"], row["tasks"]) == ("FAILED", 1, [])
