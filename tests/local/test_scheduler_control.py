"""What can be done to jobs: cancel, limit, hold, requeue, suspend, chain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_firecrest.local.slurm import ScancelError, ScontrolError, SrunError
from airflow_provider_firecrest.local.slurm.views import Filter, sacct, squeue
from tests.local.scheduling import Site, eventually

WAIT = "until [ -e go ]; do sleep 0.02; done"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two CPUs, quick kills, quick requeues."""
    place = Site(tmp_path, cpus=2, kill_wait=0.3, requeue_delay=0.05)
    yield place
    place.scheduler.close()


def _cancel(site: Site, job_id: str) -> None:
    site.scheduler.cancel(job_id, user="fireuser")


def test_a_cancelled_job_gets_sigterm_and_may_clean_up(site: Site) -> None:
    job_id = site.submit("trap 'echo cleaned; exit 0' TERM; echo ready > ready; sleep 300 & wait")
    site.wait_file("ready")
    _cancel(site, job_id)
    site.wait(job_id)
    task = site.task(job_id)
    assert (task["state"], task["exit_code"], task["signal"], task["cancelled_by"]) == (
        "CANCELLED",
        0,
        0,
        2001,
    )
    assert "cleaned" in site.output(job_id)
    assert f"slurmstepd-nid001: error: *** JOB {job_id} ON nid001 CANCELLED AT " in site.output(job_id)


def test_a_job_that_ignores_sigterm_is_killed_and_keeps_its_cpu_until_then(site: Site) -> None:
    job_id = site.submit("trap '' TERM; echo ready > ready; sleep 300", directives="-n 2")
    site.wait_file("ready")
    next_job = site.submit("true")
    _cancel(site, job_id)
    assert site.task(job_id)["state"] == "CANCELLED"
    assert site.task(job_id)["processes_left"]
    (completing,) = squeue(site.scheduler, Filter(job_id=job_id))
    assert completing.state == "COMPLETING"
    site.wait(next_job)
    (row,) = sacct(site.scheduler, Filter(job_id=job_id))
    assert (row.state, row.steps[0].signal) == ("CANCELLED by 2001", 9)
    assert site.task(next_job)["start_time"] >= site.task(job_id)["end_time"] + 0.3


def test_a_cancellation_right_after_the_start_reaches_the_job(tmp_path: Path) -> None:
    # With this long to wait for SIGKILL, a lost SIGTERM shows.
    site = Site(tmp_path / "patient", cpus=2, kill_wait=600)
    try:
        for _ in range(20):
            job_id = site.submit("sleep 300")
            site.wait(job_id, "RUNNING")
            _cancel(site, job_id)
            site.wait(job_id)
            assert site.task(job_id)["state"] == "CANCELLED"
    finally:
        site.scheduler.close()


def test_pending_jobs_are_cancelled_without_ever_having_run(site: Site) -> None:
    job_id = site.submit("true", directives="--hold")
    _cancel(site, job_id)
    task = site.task(job_id)
    assert (task["state"], task["start_time"], task["pids"]) == ("CANCELLED", None, [])


def test_one_element_of_an_array_can_be_cancelled_alone(site: Site) -> None:
    array = site.submit(WAIT, directives="--array=0-3%2")
    site.scheduler.wait_for(lambda: sum(t["state"] == "RUNNING" for t in site.tasks(array)) == 2, 10)
    _cancel(site, f"{array}_3")
    (site.work / "go").touch()
    site.wait(array)
    states = {task["task_index"]: task["state"] for task in site.tasks(array)}
    assert states == {0: "COMPLETED", 1: "COMPLETED", 2: "COMPLETED", 3: "CANCELLED"}


@pytest.mark.parametrize(
    ("job_id", "user", "exit_status", "text"),
    [
        ("abc", "fireuser", 1, "Invalid job id abc"),
        ("99", "fireuser", 0, "Invalid job id specified"),
        ("1", "otheruser", 210, "Access/permission denied"),
        ("2", "fireuser", 0, "Job/step already completing or completed"),
    ],
)
def test_scancel_refuses_in_its_own_words(
    site: Site, job_id: str, user: str, exit_status: int, text: str
) -> None:
    site.submit(WAIT)
    site.wait(site.submit("true"))
    with pytest.raises(ScancelError) as caught:
        site.scheduler.cancel(job_id, user=user)
    assert caught.value.exit_status == exit_status
    assert text in caught.value.stderr
    assert site.task("1")["state"] in ("PENDING", "RUNNING")


def test_a_job_over_its_time_limit_is_a_timeout(site: Site) -> None:
    task = site.run("sleep 300", directives="-t 0:01")
    assert (task["state"], task["exit_code"], task["signal"]) == ("TIMEOUT", 0, 0)
    assert task["end_time"] - task["start_time"] == pytest.approx(1, abs=0.5)
    assert "DUE TO TIME LIMIT ***" in site.output(task["id"])


def test_a_held_job_runs_when_it_is_released(site: Site) -> None:
    job_id = site.submit("true", directives="--hold")
    site.wait_reason(job_id, "JobHeldUser")
    site.scheduler.release(job_id)
    site.wait(job_id)
    assert site.task(job_id)["state"] == "COMPLETED"


def test_a_pending_job_can_be_held(site: Site) -> None:
    blocker = site.submit(WAIT, directives="-n 2")
    job_id = site.submit("true")
    site.wait_reason(job_id, "Resources")
    site.scheduler.hold(job_id)
    site.wait_reason(job_id, "JobHeldUser")
    (row,) = squeue(site.scheduler, Filter(job_id=job_id))
    assert row.priority == 0
    (site.work / "go").touch()
    site.wait(blocker)
    assert site.task(job_id)["state"] == "PENDING"


def test_a_requeued_job_runs_again_under_its_id_and_counts(site: Site) -> None:
    script = 'echo run ${SLURM_RESTART_COUNT:-0} >> runs; [ "$SLURM_RESTART_COUNT" ] || sleep 300'
    job_id = site.submit(script)
    site.wait_file("runs")
    site.scheduler.requeue(job_id)
    assert site.task(job_id)["state"] == "PENDING"
    site.wait(job_id)
    assert (site.work / "runs").read_text() == "run 0\nrun 1\n"
    task = site.task(job_id)
    assert (task["state"], task["restarts"], len(task["pids"])) == ("COMPLETED", 1, 2)


def test_a_job_that_forbids_it_is_not_requeued(site: Site) -> None:
    job_id = site.submit(WAIT, directives="--no-requeue")
    site.wait(job_id, "RUNNING")
    with pytest.raises(ScontrolError):
        site.scheduler.requeue(job_id)
    assert site.task(job_id)["state"] == "RUNNING"


def test_suspended_time_does_not_count_against_the_limit(site: Site) -> None:
    job_id = site.submit("echo start > started; sleep 0.6; echo end", directives="-t 0:03")
    site.wait_file("started")
    site.scheduler.suspend(job_id)
    assert site.task(job_id)["state"] == "SUSPENDED"
    other = site.submit("sleep 3.2")
    site.wait(other)
    site.scheduler.resume(job_id)
    site.wait(job_id)
    assert site.task(job_id)["state"] == "COMPLETED"
    (row,) = sacct(site.scheduler, Filter(job_id=job_id))
    assert row.suspended >= 3
    assert row.elapsed <= 2


def test_a_suspended_job_can_be_cancelled(site: Site) -> None:
    job_id = site.submit("sleep 300")
    site.wait(job_id, "RUNNING")
    site.scheduler.suspend(job_id)
    _cancel(site, job_id)
    site.wait(job_id)
    assert site.task(job_id)["state"] == "CANCELLED"


def test_a_job_starts_at_its_begin_time(site: Site) -> None:
    task = site.run("true", directives="--begin=now+1")
    assert task["start_time"] >= task["submit_time"] + 1


@pytest.mark.parametrize(
    ("kind", "ending", "runs"),
    [
        ("afterok", "exit 0", True),
        ("afterok", "exit 1", False),
        ("afternotok", "exit 1", True),
        ("afternotok", "exit 0", False),
        ("afterany", "exit 1", True),
        ("afterany", "exit 0", True),
    ],
)
def test_a_dependant_waits_and_then_runs_or_never_does(
    site: Site, kind: str, ending: str, runs: bool
) -> None:
    first = site.submit(f"{WAIT}; {ending}")
    second = site.submit("true", directives=f"--dependency={kind}:{first}")
    site.wait_reason(second, "Dependency")
    (site.work / "go").touch()
    site.wait(first)
    if runs:
        site.wait(second)
        assert site.task(second)["start_time"] >= site.task(first)["end_time"]
    else:
        site.wait_reason(second, "DependencyNeverSatisfied")


def test_a_dependant_of_an_array_waits_for_all_its_elements(site: Site) -> None:
    array = site.submit("sleep 0.1", directives="--array=0-3%1")
    reduce = site.submit("true", directives=f"-d afterok:{array}")
    site.wait(reduce)
    last = max(task["end_time"] for task in site.tasks(array))
    assert site.task(reduce)["start_time"] >= last


def test_elements_can_depend_on_their_counterparts(site: Site) -> None:
    first = site.submit("[ $SLURM_ARRAY_TASK_ID = 1 ] && exit 1; exit 0", directives="--array=0-1")
    second = site.submit("true", directives=f"--array=0-1;-d aftercorr:{first}")
    site.wait(first)

    def known() -> bool:
        done, never = site.tasks(second)
        return done["state"] == "COMPLETED" and never["reason"] == "DependencyNeverSatisfied"

    assert site.scheduler.wait_for(known, 10)
    assert site.tasks(second)[1]["state"] == "PENDING"


def test_an_impossible_dependant_is_cancelled_when_it_says_so(site: Site) -> None:
    failed = site.submit("exit 1")
    job_id = site.submit("true", directives=f"-d afterok:{failed};--kill-on-invalid-dep=yes")
    site.wait(job_id)
    task = site.task(job_id)
    assert (task["state"], task["cancelled_by"]) == ("CANCELLED", None)


def test_singletons_of_one_name_run_one_after_the_other(site: Site) -> None:
    jobs = [site.submit("sleep 0.1", name="only", directives="-d singleton") for _ in range(3)]
    for job_id in jobs:
        site.wait(job_id)
    tasks = [site.task(job_id) for job_id in jobs]
    assert all(b["start_time"] >= a["end_time"] for a, b in pairwise(tasks))


def test_attaching_runs_a_command_beside_the_job_with_a_time_limit(site: Site) -> None:
    job_id = site.submit(WAIT)
    site.wait(job_id, "RUNNING")
    out = site.work / "attached"
    site.scheduler.attach(job_id, f"sh -c 'echo $USER > {out}'", user="fireuser", timeout=10)
    assert out.read_text() == "fireuser\n"
    with pytest.raises(SrunError, match="Exited with exit code 4"):
        site.scheduler.attach(job_id, "sh -c 'exit 4'", user="fireuser", timeout=10)
    pid_file = site.work / "pid"
    with pytest.raises(TimeoutError):
        site.scheduler.attach(
            job_id, f"sh -c 'echo $$ > {pid_file}; sleep 300'", user="fireuser", timeout=0.5
        )
    pid = int(pid_file.read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "end of the attached command")
    with pytest.raises(SrunError, match="permission denied"):
        site.scheduler.attach(job_id, "true", user="otheruser", timeout=10)
