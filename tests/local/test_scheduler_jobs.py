"""What jobs are given and how they end: real processes, judged by files and the scheduler's records."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_firecrest.local.slurm import SbatchError
from airflow_provider_firecrest.local.slurm.views import Filter, sacct
from tests.local.scheduling import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two CPUs, quick kills."""
    place = Site(tmp_path, cpus=2, kill_wait=0.3, requeue_delay=0.05)
    yield place
    place.scheduler.close()


@pytest.mark.parametrize(
    ("script", "state", "exit_code", "signal"),
    [
        ("true", "COMPLETED", 0, 0),
        ("exit 3", "FAILED", 3, 0),
        ("exit 137", "FAILED", 9, 0),
        ("kill -9 $$", "FAILED", 0, 9),
        ("kill -TERM $$", "FAILED", 0, 15),
        ("nosuchcommand", "FAILED", 127, 0),
        ("false; true", "COMPLETED", 0, 0),
    ],
)
def test_a_job_ends_in_slurms_state_code_and_signal(
    site: Site, script: str, state: str, exit_code: int, signal: int
) -> None:
    task = site.run(script)
    assert (task["state"], task["exit_code"], task["signal"]) == (state, exit_code, signal)


def test_a_job_that_does_nothing_is_over_in_150_milliseconds(site: Site) -> None:
    site.run("true")  # the node daemon has started by now
    quickest = min(_timed(site) for _ in range(5))
    assert quickest < 0.15


def _timed(site: Site) -> float:
    began = time.monotonic()
    site.run("true")
    return time.monotonic() - began


def test_the_interpreter_of_the_first_line_runs_the_script(site: Site) -> None:
    script = "#!/usr/bin/env python3\nimport sys\nprint(sys.version_info[0], sys.argv[0][-12:])\n"
    job_id = site.scheduler.submit(script, user="fireuser", working_dir=str(site.work))
    site.wait(job_id)
    assert site.output(job_id) == "3 slurm_script\n"


def test_a_missing_interpreter_fails_the_job_with_errno_and_a_note(site: Site) -> None:
    job_id = site.scheduler.submit("#!/no/such/interpreter\n", user="fireuser", working_dir=str(site.work))
    site.wait(job_id)
    assert (site.task(job_id)["state"], site.task(job_id)["exit_code"]) == ("FAILED", 2)
    assert "No such file or directory" in site.output(job_id)


def test_output_and_error_share_a_file_until_they_are_told_apart(site: Site) -> None:
    together = site.submit("echo out; echo err >&2; pwd")
    apart = site.submit("echo out; echo err >&2", directives="-o o.%j;-e e.%x", name="apart")
    site.wait(together)
    site.wait(apart)
    assert site.output(together) == f"out\nerr\n{site.work}\n"
    assert (site.work / f"o.{apart}").read_text() == "out\n"
    assert (site.work / "e.apart").read_text() == "err\n"


def test_standard_input_is_empty_or_a_file(site: Site) -> None:
    (site.work / "in").write_text("line\n")
    nothing = site.submit("cat; echo end")
    something = site.submit("cat; echo end", stdin="in")
    site.wait(nothing)
    site.wait(something)
    assert (site.output(nothing), site.output(something)) == ("end\n", "line\nend\n")


@pytest.mark.parametrize("where", ["missing", "file"])
def test_a_working_directory_that_cannot_be_entered_is_signal_53_without_a_log(
    site: Site, where: str
) -> None:
    (site.work / "file").touch()
    task = site.run("true", working_dir=str(site.work / where))
    assert (task["state"], task["exit_code"], task["signal"]) == ("FAILED", 0, 53)
    assert list(site.work.glob("slurm-*")) == []


def test_a_job_may_write_into_a_pipe_nobody_reads_without_stopping_the_others(site: Site) -> None:
    os.mkfifo(site.work / "pipe")
    task = site.run("echo text", directives="-o pipe")
    assert (task["state"], task["signal"]) == ("FAILED", 53)
    assert site.run("true")["state"] == "COMPLETED"


def test_a_job_knows_who_it_is_and_nothing_of_the_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "do not tell")
    dump = "python3 -c 'import json,os; print(json.dumps(dict(os.environ)))'"
    job_id = site.submit(dump, name="who", directives="-n 2;-p part02", env={"MINE": "1"})
    site.wait(job_id)
    env = json.loads(site.output(job_id))
    expected = {
        "SLURM_JOB_ID": job_id,
        "SLURM_JOBID": job_id,
        "SLURM_JOB_NAME": "who",
        "SLURM_JOB_PARTITION": "part02",
        "SLURM_JOB_ACCOUNT": "project",
        "SLURM_NTASKS": "2",
        "SLURM_CPUS_ON_NODE": "2",
        "SLURM_JOB_NODELIST": "nid001",
        "SLURM_SUBMIT_DIR": str(site.work),
        "USER": "fireuser",
        "MINE": "1",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert Path(env["HOME"]).is_dir()
    assert "SERVER_SECRET" not in env
    assert "SLURM_RESTART_COUNT" not in env
    assert "SLURM_ARRAY_JOB_ID" not in env


def test_what_the_request_names_overrides_the_directives(site: Site) -> None:
    job_id = site.submit("true", directives="--job-name=mine;-p part02", name="theirs", partition="xfer")
    (row,) = sacct(site.scheduler, Filter(job_id=job_id))
    assert (row.name, row.partition) == ("theirs", "xfer")


def test_srun_makes_steps_with_their_own_results(site: Site) -> None:
    ranks = "srun -n 2 sh -c 'echo rank $SLURM_PROCID of $SLURM_NTASKS'"
    script = f"srun true\n{ranks}\nsrun bash -c 'exit 7'\necho $?"
    job_id = site.submit(script)
    site.wait(job_id)
    (row,) = sacct(site.scheduler, Filter(job_id=job_id))
    steps = [(step.id, step.name, step.state, step.exit_code) for step in row.steps]
    assert steps == [
        (f"{job_id}.batch", "batch", "COMPLETED", 0),
        (f"{job_id}.0", "true", "COMPLETED", 0),
        (f"{job_id}.1", "sh", "COMPLETED", 0),
        (f"{job_id}.2", "bash", "FAILED", 7),
    ]
    lines = site.output(job_id).splitlines()
    assert sorted(lines[:2]) == ["rank 0 of 2", "rank 1 of 2"]
    assert lines[2:] == ["srun: error: nid001: task 0: Exited with exit code 7", "7"]


def test_an_array_runs_each_element_with_its_index_and_a_number_of_its_own(site: Site) -> None:
    script = "echo $SLURM_JOB_ID $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_ARRAY_TASK_COUNT"
    array = site.submit(script, directives="--array=1,3,5-6")
    site.wait(array)
    numbers = {task["task_index"]: task["id"] for task in site.tasks(array)}
    assert len(set(numbers.values())) == 4
    assert numbers[6] == array
    for index, number in numbers.items():
        text = (site.work / f"slurm-{array}_{index}.out").read_text()
        assert text == f"{number} {array} {index} 4\n"


def test_an_array_limit_holds_its_elements_back(site: Site) -> None:
    script = "echo >> running; until [ -e go ]; do sleep 0.02; done"
    array = site.submit(script, directives="--array=0-2%1")
    site.wait_file("running")

    def held() -> bool:
        waiting = [task for task in site.tasks(array) if task["state"] == "PENDING"]
        return [task["reason"] for task in waiting] == ["JobArrayTaskLimit"] * 2

    assert site.scheduler.wait_for(held, 10)
    (site.work / "go").touch()
    site.wait(array)
    starts = sorted((task["start_time"], task["end_time"]) for task in site.tasks(array))
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(starts))


def test_jobs_queue_for_cpus_in_the_order_they_came(site: Site) -> None:
    wait = "until [ -e go ]; do sleep 0.02; done"
    first, wide, small = site.submit(wait), site.submit("true", directives="-n 2"), site.submit("true")
    elsewhere = site.submit("true", directives="-p part02")
    site.wait(first, "RUNNING")
    site.wait_reason(wide, "Resources")
    site.wait_reason(small, "Priority")
    # Another partition has a queue of its own.
    site.wait(elsewhere)
    (site.work / "go").touch()
    site.wait(small)
    assert site.task(wide)["start_time"] >= site.task(first)["end_time"]
    assert site.task(small)["start_time"] >= site.task(wide)["end_time"]


def test_never_more_cpus_are_used_than_there_are(site: Site) -> None:
    jobs = [site.submit("sleep 0.01", directives=f"-c {1 + number % 2}") for number in range(20)]
    for job_id in jobs:
        site.wait(job_id)
    events = []
    for number, job_id in enumerate(jobs):
        task = site.task(job_id)
        events += [(task["start_time"], 1 + number % 2), (task["end_time"], -(1 + number % 2))]
    used = highest = 0
    # Of two events at one moment the end comes first.
    for _, change in sorted(events):
        used += change
        highest = max(highest, used)
    assert highest == 2


def test_hundreds_of_jobs_are_cheap(site: Site) -> None:
    began = time.monotonic()
    jobs = [site.submit("true") for _ in range(300)]
    site.wait(jobs[-1])
    assert {task["state"] for task in site.scheduler.job_list()[:-2]} == {"COMPLETED"}
    assert time.monotonic() - began < 15
    assert len(sacct(site.scheduler, Filter(user="fireuser"))) == 300


def test_a_large_array_is_cheap(site: Site) -> None:
    began = time.monotonic()
    array = site.submit("true", directives="--array=0-499;-o /dev/null")
    site.wait(array)
    assert {task["state"] for task in site.tasks(array)} == {"COMPLETED"}
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("directives", "text"),
    [
        ("--array=9-1", "Batch job submission failed: Invalid job array specification"),
        ("--dependency=afterwards:1", "Batch job submission failed: Job dependency problem"),
        ("--time=soon", "Invalid --time specification"),
        ("--ntasks=many", 'Invalid numeric value "many" for --ntasks.'),
        ("--mem=900G", "Requested node configuration is not available"),
        ("--begin=someday", "Invalid --begin specification: someday"),
    ],
)
def test_an_option_without_sense_is_refused_and_leaves_no_job_running(
    site: Site, directives: str, text: str
) -> None:
    with pytest.raises(SbatchError, match=text):
        site.submit("true", directives=directives)
    assert [task for task in site.scheduler.job_list() if task["state"] != "FAILED"] == []


def test_an_empty_script_is_refused(site: Site) -> None:
    with pytest.raises(SbatchError, match="Batch script is empty"):
        site.scheduler.submit("", user="fireuser", working_dir=str(site.work))
