"""One effective job per logical attempt: retries, clears, lost answers and duplicates.

The witnesses are the scheduler's own list and a file to which every run of the script adds a line.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_firecrest.client import FirecrestClient
from airflow_provider_firecrest.client.attempts import Attempt, add_fence, marked_name
from airflow_provider_firecrest.hooks.firecrest import FirecrestHook
from tests.fixtures_local import FirecrestForTest
from tests.integration.conftest import TaskInstance, defer, until
from tests.integration.test_submit_job import BOTH_WAYS, SLEEPER, run, scheduled, submit

RUNS = "#!/bin/bash\necho $SLURM_JOB_ID >> runs\n"


def effective_runs(firecrest: FirecrestForTest) -> list[str]:
    runs = Path(firecrest.directory, "runs")
    return runs.read_text().split() if runs.exists() else []


def first(firecrest: FirecrestForTest, **changes: Any) -> TaskInstance:
    """The first try of a task instance; every test has a run of its own."""
    return TaskInstance(**{"run_id": firecrest.directory.name, **changes})


def retry(firecrest: FirecrestForTest, **changes: Any) -> TaskInstance:
    return first(firecrest, **{"try_number": 2, **changes})


class Store(dict[str, Any]):
    """Airflow 3.3's task state store, as far as it is used."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class TestARetry:
    @BOTH_WAYS
    def test_goes_on_with_the_job_that_runs(self, firecrest: FirecrestForTest, deferrable: bool) -> None:
        script = RUNS + "until [ -e go ]; do sleep 0.1; done\n"
        original = run(firecrest, first(firecrest), script=script, wait_for_completion=False).result["job_id"]
        until(lambda: effective_runs(firecrest))
        Path(firecrest.directory, "go").touch()
        second = run(firecrest, retry(firecrest), script=script, deferrable=deferrable).result
        assert second["job_id"] == original
        assert effective_runs(firecrest) == [original]

    def test_takes_the_result_of_the_job_that_completed(self, firecrest: FirecrestForTest) -> None:
        original = run(firecrest, first(firecrest), script=RUNS).result["job_id"]
        assert run(firecrest, retry(firecrest), script=RUNS).result["job_id"] == original
        assert effective_runs(firecrest) == [original]

    def test_after_a_failed_job_submits_a_new_one(self, firecrest: FirecrestForTest) -> None:
        script = RUNS + "[ $(wc -l < runs) = 3 ]\n"
        for number in (1, 2):
            with pytest.raises(AirflowException, match="FAILED with exit code 1"):
                run(firecrest, first(firecrest, try_number=number), script=script)
        done = run(firecrest, first(firecrest, try_number=3), script=script).result
        assert done["state"] == "COMPLETED"
        assert len(effective_runs(firecrest)) == len(set(effective_runs(firecrest))) == 3

    def test_finds_its_job_by_the_name_alone_when_the_crash_came_right_after_the_submit(
        self, firecrest: FirecrestForTest
    ) -> None:
        run(firecrest, first(firecrest), script=SLEEPER, wait_for_completion=False)
        deferral = defer(lambda: submit(firecrest, script=SLEEPER, deferrable=True), retry(firecrest))
        assert deferral.trigger.job_ids == [scheduled(firecrest)[0]["id"]]
        assert len(scheduled(firecrest)) == 1

    @pytest.mark.generation(2, reason="v1 has no list apart: one path answers for all jobs and for one")
    def test_needs_no_list_where_airflow_keeps_task_state(self, firecrest: FirecrestForTest) -> None:
        store = Store()
        original = submit(firecrest, script=RUNS).execute({"ti": first(firecrest), "task_state_store": store})
        firecrest.fault("status", method="GET", path_regex=firecrest.urls.list, times=0, status=500)
        again = submit(firecrest, script=RUNS).execute({"ti": retry(firecrest), "task_state_store": store})
        assert again["job_id"] == original["job_id"]
        assert effective_runs(firecrest) == [original["job_id"]]

    @pytest.mark.generation(2, reason="v1 has no list apart: one path answers for all jobs and for one")
    def test_leaves_it_to_the_fence_where_the_jobs_cannot_be_listed(
        self, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = RUNS + "sleep 2\n"
        original = run(firecrest, first(firecrest), script=script, wait_for_completion=False).result["job_id"]
        until(lambda: effective_runs(firecrest))
        impatient(monkeypatch)
        firecrest.fault("status", method="GET", path_regex=firecrest.urls.list, times=0, status=500)
        done = run(firecrest, retry(firecrest), script=script).result
        assert done["job_id"] == original
        assert effective_runs(firecrest) == [original]

    def test_of_another_task_instance_has_a_job_of_its_own(self, firecrest: FirecrestForTest) -> None:
        run(firecrest, first(firecrest), script=RUNS)
        for ti in (
            retry(firecrest, run_id=f"other than {firecrest.directory.name}"),
            retry(firecrest, map_index=3),
            retry(firecrest, task_id="other"),
        ):
            run(firecrest, ti, script=RUNS)
        assert len(effective_runs(firecrest)) == 4

    def test_that_shall_not_reattach_submits_anew(self, firecrest: FirecrestForTest) -> None:
        for ti in (first(firecrest), retry(firecrest)):
            run(firecrest, ti, script=RUNS, reattach="never")
        assert len(effective_runs(firecrest)) == 2


class TestAClear:
    def test_submits_a_new_job_and_cancels_the_old_one_first(self, firecrest: FirecrestForTest) -> None:
        old = run(firecrest, first(firecrest), script=SLEEPER, wait_for_completion=False).result["job_id"]
        done = run(firecrest, retry(firecrest, max_tries=1), script=RUNS).result
        states = {job["id"]: job["state"] for job in scheduled(firecrest)}
        assert states[old].startswith("CANCELLED")
        assert states[done["job_id"]] == "COMPLETED"

    def test_of_a_task_that_succeeded_runs_it_again(self, firecrest: FirecrestForTest) -> None:
        original = run(firecrest, first(firecrest), script=RUNS).result["job_id"]
        second = run(firecrest, retry(firecrest, max_tries=1), script=RUNS).result["job_id"]
        assert effective_runs(firecrest) == [original, second]

    def test_goes_on_with_the_old_job_where_that_is_wanted(self, firecrest: FirecrestForTest) -> None:
        original = run(firecrest, first(firecrest), script=RUNS, reattach="always").result["job_id"]
        again = run(firecrest, retry(firecrest, max_tries=1), script=RUNS, reattach="always").result["job_id"]
        assert original == again
        assert effective_runs(firecrest) == [original]


class TestTwoAirflowsWithOneAccount:
    """They run the same DAG, so that dag, run and task of the two are called the same."""

    def is_of(self, installation: str, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = json.loads(firecrest.conn_json)
        connection["extra"]["installation"] = installation
        monkeypatch.setenv("AIRFLOW_CONN_FIRECREST_DEFAULT", json.dumps(connection))

    def test_have_a_job_each_when_their_connections_name_them(
        self, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.is_of("test", firecrest, monkeypatch)
        of_test = run(firecrest, first(firecrest), script=SLEEPER, wait_for_completion=False).result["job_id"]
        self.is_of("production", firecrest, monkeypatch)
        done = run(firecrest, retry(firecrest, max_tries=1), script=RUNS).result
        states = {job["id"]: job["state"] for job in scheduled(firecrest)}
        assert states.pop(done["job_id"]) == "COMPLETED"
        assert states in ({of_test: "RUNNING"}, {of_test: "PENDING"})

    def test_go_on_with_their_own(self, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_of("production", firecrest, monkeypatch)
        original = run(firecrest, first(firecrest), script=RUNS).result["job_id"]
        assert run(firecrest, retry(firecrest), script=RUNS).result["job_id"] == original
        assert effective_runs(firecrest) == [original]


class TestDuplicates:
    """Two jobs of one attempt, as a late answer of the server can make them."""

    def test_the_one_that_holds_the_claim_counts_and_the_other_is_cancelled(
        self, firecrest: FirecrestForTest
    ) -> None:
        client = FirecrestHook().get_conn()
        jobs = [duplicate(client, firecrest, RUNS + "sleep 3\n", begin) for begin in ("now+60", "now")]
        until(lambda: effective_runs(firecrest) == [jobs[1]])
        done = run(firecrest, retry(firecrest), script=RUNS).result
        assert done["job_id"] == jobs[1]
        states = {job["id"]: job["state"] for job in scheduled(firecrest)}
        assert states[jobs[0]].startswith("CANCELLED"), "the older one, which did not run"
        assert states[jobs[1]] == "COMPLETED"

    @BOTH_WAYS
    def test_a_task_whose_job_was_sent_away_waits_for_the_one_that_runs(
        self, firecrest: FirecrestForTest, deferrable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        holder = duplicate(FirecrestHook().get_conn(), firecrest, RUNS + "sleep 2\n", "now")
        until(lambda: effective_runs(firecrest) == [holder])

        # Both were submitted before either had made its claim.
        monkeypatch.setattr(
            "airflow_provider_firecrest.client.attempts.submission.Submission._claimed", lambda self: None
        )
        ti = first(firecrest)
        make = lambda: submit(firecrest, script=RUNS, deferrable=deferrable)  # noqa: E731
        done = to_the_end(make, ti)
        assert done["job_id"] == holder
        assert effective_runs(firecrest) == [holder]
        assert sorted(job["exit_code"] for job in scheduled(firecrest)) == [0, 75]


def to_the_end(make: Any, ti: TaskInstance) -> Any:
    """Run a task that may be deferred more than once."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    from tests.integration.conftest import first_event, revived

    step = lambda: make().execute({"ti": ti})  # noqa: E731
    for _ in range(3):
        try:
            return step()
        except TaskDeferred as deferral:
            event = first_event(revived(deferral.trigger))
            step = lambda event=event, name=deferral.method_name: make().resume_execution(  # noqa: E731
                name, {"event": event}, {"ti": ti}
            )
    raise AssertionError("deferred again and again")


def duplicate(client: FirecrestClient, firecrest: FirecrestForTest, script: str, begin: str) -> str:
    """Submit a job of the attempt that ``first(firecrest)`` is, past the operator."""
    ti = first(firecrest)
    identity = (ti.dag_id, ti.run_id, ti.task_id, "-1", "firecrest_default", firecrest.system)
    attempt = Attempt(identity, 0)
    text = add_fence(script.replace("\n", f"\n#SBATCH --begin={begin}\n", 1), attempt)
    name = marked_name("weather.simulate", attempt)
    return client.submit_job(text, working_dir=str(firecrest.directory), name=name)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a call that fails be repeated for a second only."""
    settings = FirecrestHook.settings.func  # type: ignore[attr-defined]
    monkeypatch.setattr(
        FirecrestHook, "settings", property(lambda hook: settings(hook).with_changes(retry_budget=1.0))
    )


class TestARunMadeAgain:
    """A run that was deleted and made again has the id of the first one, and its task the same marks."""

    def test_is_run_again_although_the_claim_of_the_first_one_is_still_there(
        self, firecrest: FirecrestForTest
    ) -> None:
        original = run(firecrest, first(firecrest), script=RUNS).result["job_id"]
        again = run(firecrest, first(firecrest), script=RUNS).result["job_id"]
        assert effective_runs(firecrest) == [original, again]

    def test_goes_on_with_its_own_job_on_a_retry(
        self, firecrest: FirecrestForTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(firecrest, first(firecrest), script=RUNS)
        # The server's clock is known to a second, and the end of a job is told in whole ones.
        began = time.time() + 1.5
        monkeypatch.setattr(
            "airflow_provider_firecrest.operators._task_attempt.life_began", lambda context: began
        )
        # A beginning that is still to come is believed by nobody.
        until(lambda: time.time() >= began)
        own = run(firecrest, first(firecrest), script=SLEEPER, wait_for_completion=False).result["job_id"]
        again = run(firecrest, retry(firecrest), script=SLEEPER, wait_for_completion=False).result["job_id"]
        assert again == own
