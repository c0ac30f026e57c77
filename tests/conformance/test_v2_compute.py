"""Replays of recorded questions about one job, of cancelling it and of attaching to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_firecrest.local import LocalFirecrest
from tests.conformance.harness import Replayer, check_headers, check_same_answer, load
from tests.conformance.jobs import Cluster, check_same_jobs

# Questions whose answer depends on nothing.
FIXED = [
    "cancel_alpha",
    "cancel_array_task_underscore",
    "cancel_unknown",
    "attach_unknown",
    "job_alpha_id",
    "job_array_brackets",
    "job_array_task_underscore",
    "job_negative_id",
    "job_too_big_id",
    "job_unknown",
    "job_unknown_zero",
    "jobs_list_account_unknown",
    "jobs_list_name_comma",
    "jobs_list_name_none",
    "jobs_list_name_special",
    "jobs_list_window_2h",
    "jobs_list_window_empty",
    "metadata_unknown",
]

# Recorded job -> the recorded submission it came from; it must end like the recorded one.
ENDED = {
    "job_bad_interpreter": "submit_bad_interpreter",
    "job_cmd_not_found": "submit_cmd_not_found",
    "job_completed": "submit_script",
    "job_exit137": "submit_exit137",
    "job_failed_exit3": "submit_failed3",
    "job_name_comma": "submit_name_comma",
    "job_sigkill": "submit_sigkill_self",
    "job_sigterm": "submit_sigterm_self",
    "job_with_steps_failed_step": "submit_step_fails_job_ok",
    "job_workdir_missing": "submit_workdir_nonexistent",
    "job_workdir_ro": "submit_workdir_not_writable",
}

# Recorded pending job -> submission and reason.
PENDING = {
    "job_held": ("submit_held", "JobHeldUser"),
    "job_pending": ("submit_pending_begin", "BeginTime"),
}

# Recorded job after its cancellation -> submission, recorded cancellation.
CANCELLED = {
    "job_cancelled_running": ("submit_cancel_running", "cancel_running"),
    "job_cancelled_running_trap": ("submit_cancel_running_trap", "cancel_running_trap"),
    "job_cancelled_running_trap_exit0": ("submit_cancel_running_trap_exit0", "cancel_running_trap_exit0"),
}

# Recorded right after the cancellation, while processes may still be dying.
JUST_CANCELLED = {
    "job_cancelled_running_immediately": ("submit_cancel_running", "cancel_running"),
    "job_cancelled_running_trap_immediately": ("submit_cancel_running_trap", "cancel_running_trap"),
}

_BY_HAND = """
    attach_failing attach_finished attach_long attach_no_command attach_other_users_job attach_pending
    attach_running cancel_finished cancel_other_users_job cancel_pending cancel_twice
    job_cancelled_pending job_cancelled_pending_immediately job_dep_kill_invalid job_dep_unknown
    job_dependency_never_satisfied job_other_users_job job_running job_timeout metadata_array
    metadata_completed metadata_other_users_job metadata_pending metadata_running metadata_script_path
"""

REPLAYED = frozenset(
    {*FIXED, *ENDED, *PENDING, *CANCELLED, *JUST_CANCELLED}
    | {cancellation for _, cancellation in CANCELLED.values()}
    | set(_BY_HAND.split())
)

OUT_OF_REACH = {
    "job_oom": "nothing limits memory here, so nothing can run out of it",
    "job_dep_kill_invalid_12s": "accounting's first, incomplete note; ours is complete from the start",
    "metadata_ingress_transfer_job": "the script of the real server's transfer job: not ours to copy",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that tests may fill with jobs; the command timeout is short, because one test waits for it."""
    with LocalFirecrest(cpus=8, ops_timeout=1) as server:
        replayer = Replayer(server)
        yield Cluster(replayer)
        replayer.close()


@pytest.fixture(autouse=True)
def _no_job_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.cancel_everything()


@pytest.mark.parametrize("name", FIXED)
def test_a_question_without_a_job_gets_the_recorded_answer(cluster: Cluster, name: str) -> None:
    recording = load(name)
    check_same_answer(cluster.replayer, recording, cluster.replayer.send(recording))


@pytest.mark.parametrize("name", sorted(ENDED))
def test_a_job_ends_as_recorded(cluster: Cluster, name: str) -> None:
    job_id = cluster.submit(ENDED[name])
    cluster.wait(job_id)
    check_same_jobs(cluster.replayer, cluster.ask(name, job_id), name, job_id)


@pytest.mark.parametrize("name", sorted(PENDING))
def test_a_job_waits_as_recorded(cluster: Cluster, name: str) -> None:
    submission, reason = PENDING[name]
    job_id = cluster.submit(submission)
    _wait_for_reason(cluster, job_id, reason)
    check_same_jobs(cluster.replayer, cluster.ask(name, job_id), name, job_id)


def test_a_job_over_its_time_limit_is_a_timeout_with_exit_code_zero(cluster: Cluster) -> None:
    # The recorded limit is a minute; the answer's limit is therefore the one value that differs.
    job_id = cluster.submit("submit_timeout", lambda script: script.replace("-t 1\n", "-t 0:01\n"))
    cluster.wait(job_id)
    response = cluster.ask("job_timeout", job_id)
    assert response.json()["jobs"][0]["time"]["limit"] == 1
    check_same_jobs(cluster.replayer, response, "job_timeout", job_id, ignore=("limit",))


def test_a_running_job_shows_its_open_step(cluster: Cluster) -> None:
    job_id = _running(cluster)
    check_same_jobs(cluster.replayer, cluster.ask("job_running", job_id), "job_running", job_id)


@pytest.mark.parametrize(
    ("name", "submission", "reason"),
    [
        ("job_dependency_never_satisfied", "submit_dep_never", "DependencyNeverSatisfied"),
        ("job_dep_kill_invalid", "submit_dep_killinvalid", None),
    ],
)
def test_a_dependency_on_a_failed_job_blocks_for_ever_or_cancels(
    cluster: Cluster, name: str, submission: str, reason: str | None
) -> None:
    failed = cluster.submit("submit_failed3")
    cluster.wait(failed)
    job_id = cluster.submit(submission, lambda script: script.replace("afterok:62", f"afterok:{failed}"))
    if reason:
        _wait_for_reason(cluster, job_id, reason)
    else:
        cluster.wait(job_id)
    check_same_jobs(cluster.replayer, cluster.ask(name, job_id), name, job_id)


def test_a_dependency_on_an_unknown_job_counts_as_satisfied(cluster: Cluster) -> None:
    # Recorded while the machine was full: an older job waits for CPUs, so this one waits for its turn.
    whole = "#SBATCH -n 8\nsleep 300\n"
    for _ in range(2):
        cluster.submit("submit_cancel_running", lambda script: script.replace("sleep 300\n", whole))
    job_id = cluster.submit("submit_dependency_unknown_job")
    _wait_for_reason(cluster, job_id, "Priority")
    check_same_jobs(cluster.replayer, cluster.ask("job_dep_unknown", job_id), "job_dep_unknown", job_id)


@pytest.mark.parametrize("name", sorted(CANCELLED))
def test_a_cancelled_job_looks_as_recorded_when_its_processes_are_gone(cluster: Cluster, name: str) -> None:
    submission, cancellation = CANCELLED[name]
    job_id = _started(cluster, submission)
    check_same_answer(cluster.replayer, load(cancellation), cluster.ask(cancellation, job_id))
    cluster.wait(job_id)
    check_same_jobs(cluster.replayer, cluster.ask(name, job_id), name, job_id)


@pytest.mark.parametrize("name", sorted(JUST_CANCELLED))
def test_a_cancellation_shows_at_once(cluster: Cluster, name: str) -> None:
    submission, cancellation = JUST_CANCELLED[name]
    job_id = _started(cluster, submission)
    assert cluster.ask(cancellation, job_id).status_code == 204
    # Whether the batch step's signal is known yet is a matter of milliseconds here.
    response = cluster.ask(name, job_id)
    check_same_jobs(cluster.replayer, response, name, job_id, ignore=("interruptSignal",))


def test_a_pending_job_can_be_cancelled_and_says_what_it_waited_for(cluster: Cluster) -> None:
    job_id = cluster.submit("submit_cancel_pending")
    _wait_for_reason(cluster, job_id, "BeginTime")
    check_same_answer(cluster.replayer, load("cancel_pending"), cluster.ask("cancel_pending", job_id))
    for name in ("job_cancelled_pending_immediately", "job_cancelled_pending"):
        check_same_jobs(cluster.replayer, cluster.ask(name, job_id), name, job_id)


def _check_text(cluster: Cluster, name: str, job_id: str, token: str | None = None) -> None:
    """The answer is the recorded one but for the job's id."""
    recording = load(name)
    response = cluster.ask(name, job_id, token)
    assert response.status_code == recording.response["status"], response.text
    check_headers(recording.response, response)
    if recording.response["status"] == 204:
        assert response.content == b""
        return
    recorded_id = recording.request["path"].split("/")[4]
    text = cluster.replayer.anonymise(response.json())
    assert _renumbered(text, job_id) == _renumbered(recording.response["json"], recorded_id)


def _renumbered(value: Any, job_id: str) -> Any:
    if isinstance(value, str):
        for before, after in ((" ", ""), ("", "_"), ("-", "."), ("", "\n"), ("", ":")):
            value = value.replace(f"{before}{job_id}{after}", f"{before}JOB{after}")
        return value
    if isinstance(value, dict):
        return {key: "JOB" if key == "jobId" else _renumbered(item, job_id) for key, item in value.items()}
    return [_renumbered(item, job_id) for item in value] if isinstance(value, list) else value


def test_cancelling_what_has_ended_is_a_500_with_the_words_of_scancel(cluster: Cluster) -> None:
    finished = cluster.submit("submit_failed3")
    cluster.wait(finished)
    _check_text(cluster, "cancel_finished", finished)
    cancelled = _started(cluster, "submit_cancel_running")
    assert cluster.ask("cancel_twice", cancelled).status_code == 204
    _check_text(cluster, "cancel_twice", cancelled)


def test_another_user_may_look_at_a_job_but_not_touch_it(cluster: Cluster) -> None:
    job_id = _running(cluster)
    token = cluster.other_users_token()
    response = cluster.ask("job_other_users_job", job_id, token)
    check_same_jobs(cluster.replayer, response, "job_other_users_job", job_id)
    for name in ("cancel_other_users_job", "attach_other_users_job", "metadata_other_users_job"):
        _check_text(cluster, name, job_id, token)


@pytest.mark.parametrize(
    ("name", "submission"),
    [
        ("metadata_array", "submit_array"),
        ("metadata_completed", "submit_script"),
        ("metadata_pending", "submit_pending_begin"),
        ("metadata_running", "submit_running"),
        ("metadata_script_path", "submit_script_path"),
    ],
)
def test_metadata_holds_script_and_file_names(cluster: Cluster, name: str, submission: str) -> None:
    script = load(name).response["json"]["jobs"][0]["script"]
    job_id = cluster.submit(submission, lambda _: script)
    _check_text(cluster, name, job_id)


def test_a_command_can_be_attached_to_a_running_job_only(cluster: Cluster) -> None:
    running = _running(cluster)
    pending = cluster.submit("submit_pending_begin")
    finished = cluster.submit("submit_failed3")
    cluster.wait(finished)
    _check_text(cluster, "attach_running", running)
    assert (cluster.jobs_dir / "attach.out").read_text() == "attached\n"
    for name in ("attach_failing", "attach_long", "attach_no_command"):
        _check_text(cluster, name, running)
    _check_text(cluster, "attach_pending", pending)
    _check_text(cluster, "attach_finished", finished)


def test_attached_commands_are_steps_of_the_job(cluster: Cluster) -> None:
    job_id = _running(cluster)
    assert cluster.ask("attach_running", job_id).status_code == 204
    steps = cluster.ask("job_running", job_id).json()["jobs"][0]["tasks"]
    assert [step["name"] for step in steps] == ["batch", "sleep", "bash"]


def _wait_for_reason(cluster: Cluster, job_id: str, reason: str) -> None:
    cluster.replayer.wait_until(
        lambda: cluster.tasks(job_id)[0]["reason"] == reason or None, 10, f"job {job_id} waiting for {reason}"
    )


def _started(cluster: Cluster, submission: str, change: Callable[[str], str] = str) -> str:
    """A running job that has come past its first line, where traps are set."""
    marker = f"#!/bin/bash\n{{}}\ntouch {cluster.jobs_dir}/started.$SLURM_JOB_ID\n"

    def with_marker(script: str) -> str:
        first, second, rest = change(script).split("\n", 2)
        is_trap = second.startswith("trap")
        assert first == "#!/bin/bash"
        return marker.format(second if is_trap else "") + ("" if is_trap else f"{second}\n") + rest

    job_id = cluster.submit(submission, with_marker)
    started = cluster.jobs_dir / f"started.{job_id}"
    cluster.replayer.wait_until(lambda: started.exists() or None, 10, f"start of job {job_id}")
    return job_id


def _running(cluster: Cluster) -> str:
    """The recorded running job, its step begun."""
    job_id = cluster.submit("submit_running")

    def has_step() -> bool | None:
        jobs = cluster.ask("job_running", job_id).json()["jobs"]
        return len(jobs[0]["tasks"]) == 2 or None

    cluster.replayer.wait_until(has_step, 10, f"first step of job {job_id}")
    return job_id
