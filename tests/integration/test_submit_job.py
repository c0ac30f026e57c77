"""A batch job as a task, from submit to result, in both ways of waiting.

The scheduler's own list is the witness.
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_firecrest.client.attempts.marker import plain_name
from airflow_provider_firecrest.operators import _taken_over
from airflow_provider_firecrest.operators._deferral import XCOM_KEY
from airflow_provider_firecrest.operators.jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import Run, TaskInstance, defer, first_event, revived, run_task, until

BOTH_WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "blocking"])
SLEEPER = "#!/bin/bash\nsleep 300\n"


def submit(firecrest: FirecrestForTest, **arguments: Any) -> FirecrestSubmitJobOperator:
    defaults: dict[str, Any] = {
        "task_id": "simulate",
        "working_dir": str(firecrest.directory),
        "poll_interval": 0.2,
        "deferrable": False,
    }
    return FirecrestSubmitJobOperator(**{**defaults, **arguments})


def run(firecrest: FirecrestForTest, ti: TaskInstance | None = None, **arguments: Any) -> Run:
    return run_task(lambda: submit(firecrest, **arguments), ti)


def scheduled(firecrest: FirecrestForTest) -> list[dict[str, Any]]:
    """The scheduler's own list, restricted to this test's jobs."""
    return firecrest.new_jobs()


@BOTH_WAYS
def test_a_job_runs_and_its_result_says_how(firecrest: FirecrestForTest, deferrable: bool) -> None:
    done = run(
        firecrest,
        script='#!/bin/bash\necho "wind $WIND"\nsleep 0.5\n',
        env={"WIND": "north"},
        deferrable=deferrable,
    )

    [job] = scheduled(firecrest)
    assert done.result["job_id"] == job["id"]
    assert (done.result["state"], done.result["exit_code"], done.result["signal"]) == ("COMPLETED", 0, 0)
    assert done.result["system"] == firecrest.system
    assert done.result["job_name"] == job["name"]
    assert plain_name(job["name"]) == "weather.simulate"
    assert done.result["stdout"] == str(firecrest.directory / f"slurm-{job['id']}.out")
    assert (firecrest.directory / f"slurm-{job['id']}.out").read_text() == "wind north\n"
    assert (done.trigger is not None) is deferrable


@BOTH_WAYS
def test_the_end_of_the_output_is_in_the_tasks_log(
    firecrest: FirecrestForTest, deferrable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run(firecrest, script="#!/bin/bash\nseq 1 200\necho finished\n", deferrable=deferrable)
    log = capsys.readouterr().out
    assert "\n200\nfinished" in log
    assert "\n100\n" not in log


@BOTH_WAYS
def test_a_failed_job_fails_the_task_with_state_exit_code_and_stderr(
    firecrest: FirecrestForTest, deferrable: bool
) -> None:
    script = "#!/bin/bash\necho fine\necho 'no column named pressure' >&2\nexit 3\n"
    with pytest.raises(AirflowException) as failure:
        run(firecrest, script=script, stderr="errors-%j.txt", deferrable=deferrable)

    assert not isinstance(failure.value, AirflowFailException), "Airflow may retry it"
    [job] = scheduled(firecrest)
    text = str(failure.value)
    assert f"Job {job['id']} ({job['name']}) ended FAILED with exit code 3" in text
    assert f"{firecrest.directory}/errors-{job['id']}.txt:\nno column named pressure" in text


@BOTH_WAYS
def test_an_array_is_one_result_with_its_elements(firecrest: FirecrestForTest, deferrable: bool) -> None:
    script = "#!/bin/bash\necho part $SLURM_ARRAY_TASK_ID\nsleep 0.3\n"
    done = run(firecrest, script=script, array="0-3", deferrable=deferrable)

    assert len(scheduled(firecrest)) == 4
    assert done.result["state"] == "COMPLETED"
    assert [(each["task_index"], each["state"]) for each in done.result["elements"]] == [
        (index, "COMPLETED") for index in range(4)
    ]
    assert done.result["stdout"].endswith("slurm-" + done.result["job_id"] + "_%a.out")


def test_one_failed_element_fails_the_array_and_shows_that_elements_output(
    firecrest: FirecrestForTest,
) -> None:
    script = '#!/bin/bash\necho "I am $SLURM_ARRAY_TASK_ID" >&2\n[ $SLURM_ARRAY_TASK_ID != 2 ]\n'
    with pytest.raises(AirflowException, match="1 of 3 array elements failed") as failure:
        run(firecrest, script=script, array="1-3")
    assert str(failure.value).endswith("\nI am 2")


def test_a_script_on_the_system_runs_and_its_output_is_found(
    firecrest: FirecrestForTest, capsys: pytest.CaptureFixture[str]
) -> None:
    script = firecrest.directory / "job.sbatch"
    script.write_text("#!/bin/bash\n#SBATCH --output=here.txt\nsleep 0.5\necho from the system\n")
    done = run(firecrest, script=None, remote_script=str(script))
    assert done.result["stdout"] == str(firecrest.directory / "here.txt")
    assert "from the system" in capsys.readouterr().out


def test_the_scripts_own_name_is_the_jobs_name(firecrest: FirecrestForTest) -> None:
    done = run(firecrest, script="#!/bin/bash\n#SBATCH -J 'icon run'\ntrue\n")
    assert plain_name(scheduled(firecrest)[0]["name"]) == "icon run"
    assert done.result["job_name"] == scheduled(firecrest)[0]["name"]


@pytest.mark.generation(2, reason="v1 marks no file system as the one to work on")
def test_without_a_directory_the_job_starts_in_ones_own_on_the_systems_work_file_system(
    firecrest: FirecrestForTest,
) -> None:
    done = run(firecrest, script="#!/bin/bash\ntrue\n", working_dir=None)
    assert done.result["working_dir"] == str(firecrest.scratch)
    [job] = [each for each in firecrest.jobs() if each["id"] == done.result["job_id"]]
    assert job["working_dir"] == str(firecrest.scratch)


def test_a_mapped_tasks_index_is_in_the_jobs_name(firecrest: FirecrestForTest) -> None:
    done = run(firecrest, TaskInstance(map_index=7), script="#!/bin/bash\ntrue\n")
    assert plain_name(done.result["job_name"]) == "weather.simulate.7"


def test_values_that_the_server_would_cut_arrive_whole(
    firecrest: FirecrestForTest, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {"LEVELS": "1000,850,500", "TITLE": 'the "big" one', "PLAIN": "x"}
    script = '#!/bin/bash\nprintf "%s|%s|%s" "$LEVELS" "$TITLE" "$PLAIN"\n'
    done = run(firecrest, script=script, env=env, stdout="out.txt")
    assert (firecrest.directory / "out.txt").read_text() == '1000,850,500|the "big" one|x'
    assert done.result["state"] == "COMPLETED"
    assert "moved LEVELS, TITLE from env into the script" in capsys.readouterr().out


def test_windows_line_ends_are_repaired_and_said(
    firecrest: FirecrestForTest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(firecrest, script="#!/bin/bash\r\necho ok\r\n").result["state"] == "COMPLETED"
    assert "Repaired before the submit: changed Windows line ends" in capsys.readouterr().out


def test_without_waiting_the_task_ends_with_the_submit(firecrest: FirecrestForTest) -> None:
    done = run(firecrest, script=SLEEPER, wait_for_completion=False)
    assert done.result["state"] is None
    [job] = scheduled(firecrest)
    assert job["id"] == done.result["job_id"]
    cancelled = run_task(
        lambda: FirecrestCancelJobOperator(task_id="cancel", job_id=done.result["job_id"])
    ).result
    assert cancelled["jobs"][0]["cancelled"] is True
    assert scheduled(firecrest)[0]["state"].startswith("CANCELLED")


def test_cancelling_what_is_over_is_no_failure(firecrest: FirecrestForTest) -> None:
    job_id = run(firecrest, script="#!/bin/bash\ntrue\n").result["job_id"]
    done = run_task(lambda: FirecrestCancelJobOperator(task_id="cancel", job_id=[job_id])).result
    assert done == {
        "system": firecrest.system,
        "jobs": [{"job_id": job_id, "cancelled": False, "state": "COMPLETED"}],
    }


def test_cancelling_an_unknown_job_fails_without_retry(firecrest: FirecrestForTest) -> None:
    with pytest.raises(AirflowFailException, match="999999"):
        run_task(lambda: FirecrestCancelJobOperator(task_id="cancel", job_id="999999"))


def test_unknown_jobs_keep_none_of_the_others_from_being_cancelled(firecrest: FirecrestForTest) -> None:
    ids = [run(firecrest, script=SLEEPER, wait_for_completion=False).result["job_id"] for _ in range(2)]
    given = ["999998", ids[0], "999999", ids[1]]
    with pytest.raises(AirflowFailException, match=r"Job 999998: .*Job 999999: "):
        run_task(lambda: FirecrestCancelJobOperator(task_id="cancel", job_id=given))
    assert all(job["state"].startswith("CANCELLED") for job in scheduled(firecrest))


@BOTH_WAYS
def test_at_the_deadline_the_job_is_cancelled_before_the_task_fails(
    firecrest: FirecrestForTest, deferrable: bool
) -> None:
    started = time.monotonic()
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout is over"):
        run(
            firecrest,
            script=SLEEPER,
            execution_timeout=timedelta(seconds=2),
            deferrable=deferrable,
        )
    assert time.monotonic() - started < 20
    [job] = scheduled(firecrest)
    assert job["state"].startswith("CANCELLED")


def test_the_deadline_counts_from_the_start_of_the_task(firecrest: FirecrestForTest) -> None:
    ti = TaskInstance(start_date=datetime.now(tz=UTC) - timedelta(seconds=50))
    with pytest.raises(TaskDeferred) as deferral:
        submit(
            firecrest,
            script="#!/bin/bash\ntrue\n",
            deferrable=True,
            execution_timeout=timedelta(seconds=60),
        ).execute({"ti": ti})
    deadline = deferral.value.trigger.deadline
    assert deadline == pytest.approx(ti.start_date.timestamp() + 60, abs=0.01)
    assert deferral.value.timeout > timedelta(seconds=60), "Airflow's own timeout never wins"


def test_out_of_time_without_a_triggerer_the_job_is_cancelled(firecrest: FirecrestForTest) -> None:
    ti = TaskInstance()
    defer(lambda: submit(firecrest, script=SLEEPER, deferrable=True), ti)
    with pytest.raises(AirflowException, match="Trigger timeout"):
        submit(firecrest, script=SLEEPER, deferrable=True).resume_execution(
            "__fail__", {"error": "Trigger timeout"}, {"ti": ti}
        )
    assert scheduled(firecrest)[0]["state"].startswith("CANCELLED")


def test_a_broken_trigger_does_not_make_a_second_job(firecrest: FirecrestForTest) -> None:
    ti = TaskInstance()
    arguments: dict[str, Any] = {"script": "#!/bin/bash\nsleep 1\n", "deferrable": True}
    defer(lambda: submit(firecrest, **arguments), ti)
    result = submit(firecrest, **arguments).resume_execution(
        "__fail__", {"error": "Trigger failure", "traceback": ["boom"]}, {"ti": ti}
    )
    [job] = scheduled(firecrest)
    assert (result["job_id"], result["state"]) == (job["id"], "COMPLETED")


def test_a_kill_in_the_worker_cancels_the_job_in_time(firecrest: FirecrestForTest) -> None:
    task = submit(firecrest, script=SLEEPER)
    seconds: list[float] = []

    def kill() -> None:
        until(lambda: task._running and scheduled(firecrest)[0]["state"] == "RUNNING")
        started = time.monotonic()
        task.on_kill()
        seconds.append(time.monotonic() - started)

    killer = threading.Thread(target=kill)
    killer.start()
    # Not a job that failed: the kill has cancelled it.
    with pytest.raises(AirflowException, match=r"The task was killed while it waited for job \d+\."):
        task.execute({"ti": TaskInstance()})
    killer.join(20)
    assert scheduled(firecrest)[0]["state"].startswith("CANCELLED")
    assert seconds[0] < 4.5


def test_a_worker_that_airflow_took_for_dead_leaves_the_job_to_the_next_try(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a worker that is told to stop while another one runs the task's next try already
    monkeypatch.setattr(_taken_over, "task_state_in_worker", lambda ti: "running")
    task = submit(firecrest, script="#!/bin/bash\nuntil [ -e go ]; do sleep 0.1; done\n")

    def kill() -> None:
        until(lambda: task._running and scheduled(firecrest)[0]["state"] == "RUNNING")
        task.on_kill()
        (firecrest.directory / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    result = task.execute({"ti": TaskInstance(max_tries=3)})
    killer.join(20)

    # then the job came to its own end
    assert result["state"] == "COMPLETED"
    assert [job["state"] for job in scheduled(firecrest)] == ["COMPLETED"]
    assert not [each for each in firecrest.requests() if each["method"] == "DELETE"]


def test_airflows_own_alarm_after_the_end_of_the_job_is_told_as_what_it_is(
    firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout, PID: 4711")

    monkeypatch.setattr(FirecrestSubmitJobOperator, "finish", interrupted)
    with pytest.raises(AirflowTaskTimeout, match=r"^execution_timeout is over before .*; job \d+ had ended"):
        run(firecrest, script="#!/bin/bash\ntrue\n")


def test_the_job_is_on_record_before_the_task_is_deferred(firecrest: FirecrestForTest) -> None:
    ti = TaskInstance()
    deferral = defer(lambda: submit(firecrest, script="#!/bin/bash\ntrue\n", deferrable=True), ti)
    note = ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, map_indexes=-1)
    assert (note["job_id"], note["system"]) == (scheduled(firecrest)[0]["id"], firecrest.system)
    assert note["firecrest_conn_id"] == "firecrest_default"
    assert deferral.method_name == "execute_complete"


def test_an_event_that_was_meant_for_the_try_before_a_clear_does_not_end_the_wait(
    firecrest: FirecrestForTest,
) -> None:
    """With SQLite the trigger of a new try can have the number of the old one's, and be given its event."""
    # given a try whose job was cancelled by a clear, and the next one, which waits for a job of its own
    ti = TaskInstance()
    script = "#!/bin/bash\nsleep 1\n"
    old = defer(lambda: submit(firecrest, script=script, deferrable=True), ti)
    ti.try_number, ti.max_tries = 2, 1
    new = defer(lambda: submit(firecrest, script=script, deferrable=True), ti)
    event = first_event(revived(old.trigger))

    # when it is resumed with the old try's event
    task = submit(firecrest, script=script, deferrable=True)
    with pytest.raises(TaskDeferred) as again:
        task.resume_execution("execute_complete", {"event": event}, {"ti": ti})

    # then it waits on for its own job
    assert event["jobs"][0]["state"].startswith("CANCELLED")
    assert again.value.trigger.serialize() == new.trigger.serialize()


def test_an_outage_of_the_api_does_not_end_a_wait(firecrest: FirecrestForTest) -> None:
    ti = TaskInstance()
    deferral = defer(lambda: submit(firecrest, script="#!/bin/bash\nsleep 1\n", deferrable=True), ti)
    look = firecrest.urls.look
    firecrest.fault("status", method="GET", path_regex=look, times=4, status=500, body={"message": "()"})
    event = first_event(revived(deferral.trigger))
    assert event["status"] == "done"
    assert event["jobs"][0]["state"] == "COMPLETED"


class TestALostAnswer:
    """The submit is not answered: whether the job exists decides, and nothing is submitted twice."""

    def test_the_job_that_exists_is_adopted(self, firecrest: FirecrestForTest) -> None:
        firecrest.fault("lose_answer", method="POST", path_regex=firecrest.urls.submit)
        done = run(firecrest, script="#!/bin/bash\nsleep 1\n", job_name=firecrest.directory.name)
        [job] = scheduled(firecrest)
        assert (done.result["job_id"], done.result["state"]) == (job["id"], "COMPLETED")

    def test_another_tasks_job_of_the_same_name_is_not_taken_for_it(
        self, firecrest: FirecrestForTest
    ) -> None:
        name = firecrest.directory.name
        other = TaskInstance(task_id="other")
        theirs = run(firecrest, other, script=SLEEPER, job_name=name, wait_for_completion=False).result
        firecrest.fault("lose_answer", method="POST", path_regex=firecrest.urls.submit)
        ours = run(firecrest, script=SLEEPER, job_name=name, wait_for_completion=False).result
        jobs = {job["id"] for job in scheduled(firecrest)}
        assert jobs == {theirs["job_id"], ours["job_id"]}
        assert theirs["job_id"] != ours["job_id"]
        run_task(lambda: FirecrestCancelJobOperator(task_id="cancel", job_id=sorted(jobs)))

    def test_an_array_is_adopted_as_one_job(self, firecrest: FirecrestForTest) -> None:
        firecrest.fault("lose_answer", method="POST", path_regex=firecrest.urls.submit)
        script = "#!/bin/bash\nsleep 1\n"
        done = run(firecrest, script=script, array="0-2", job_name=firecrest.directory.name)
        assert len(scheduled(firecrest)) == 3
        assert len(done.result["elements"]) == 3

    def test_without_a_fence_nothing_is_submitted_again_and_the_task_says_what_to_check(
        self, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_firecrest.client.attempts.submission.SHOWS_WITHIN", 2.0)
        firecrest.fault("drop", method="POST", path_regex=firecrest.urls.submit, times=0)
        with pytest.raises(AirflowFailException) as failure:
            run(firecrest, script="#!/bin/bash\ntrue\n", job_name="my-icon", fence=False)
        assert "no job 'my-icon-af" in str(failure.value)
        assert "Look for it on the system (squeue, sacct)" in str(failure.value)
        assert scheduled(firecrest) == []
        assert len(posts(firecrest)) == 1

    def test_behind_the_fence_it_is_submitted_again_when_nothing_shows_up(
        self, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_firecrest.client.attempts.submission.SHOWS_WITHIN", 1.0)
        firecrest.fault("drop", method="POST", path_regex=firecrest.urls.submit, times=2)
        done = run(firecrest, script="#!/bin/bash\ntrue\n")
        assert [job["id"] for job in scheduled(firecrest)] == [done.result["job_id"]]
        assert len(posts(firecrest)) == 3


def posts(firecrest: FirecrestForTest) -> list[dict[str, Any]]:
    submit = firecrest.urls.submit
    return [
        each for each in firecrest.requests() if each["method"] == "POST" and re.search(submit, each["path"])
    ]
