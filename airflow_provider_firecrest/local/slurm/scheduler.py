"""The scheduler: takes batch scripts, starts them when CPUs are free, remembers how they ended.

Knows: the life of a job from submission to end, and the texts of sbatch, scancel and scontrol. Must not
know: HTTP.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local.slurm import submission
from airflow_provider_firecrest.local.slurm.config import SchedulerConfig
from airflow_provider_firecrest.local.slurm.dispatch import Dispatcher
from airflow_provider_firecrest.local.slurm.errors import SbatchError, ScancelError, ScontrolError
from airflow_provider_firecrest.local.slurm.records import State, Submission, Task
from airflow_provider_firecrest.local.slurm.registry import Registry
from airflow_provider_firecrest.local.slurm.runner import Runner

_COMPLETING = "Job/step already completing or completed"
_UNKNOWN = "Invalid job id specified"
_DENIED = "Access/permission denied"
# Exit status of scancel when the controller denies permission, as recorded.
_DENIED_STATUS = 210


class Scheduler:
    """A Slurm in one process. All methods may be called from any thread.

    Args:
        state_dir: directory for scripts and step records of running jobs; made when missing.
        config: size and rules of the cluster.
    """

    def __init__(self, state_dir: Path, config: SchedulerConfig | None = None) -> None:
        self.config = config or SchedulerConfig()
        self._state_dir = state_dir.resolve()
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Condition(threading.RLock())
        self._registry = Registry()
        self._active: list[Task] = []
        self._closing = False
        self._dirty = False
        self._runner = Runner(self._state_dir, self.config, self._changed, self._touch)
        self._dispatcher = Dispatcher(self.config, self._registry, self._runner, self._remembered)
        self._thread = threading.Thread(target=self._loop, name="local-slurm-scheduler", daemon=True)
        self._thread.start()

    # Commands ----------------------------------------------------------------------------------------------

    def submit(
        self,
        script: str,
        *,
        user: str,
        working_dir: str,
        name: str | None = None,
        account: str | None = None,
        partition: str | None = None,
        reservation: str | None = None,
        constraints: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
        export_all_text: str | None = None,
        default_name: str = "sbatch",
    ) -> str:
        """Queue a batch script (``sbatch``); named values override the script's ``#SBATCH`` lines.

        Args:
            script: the script's text, with its ``#!`` line.
            user: owner of the job.
            working_dir: where it runs; relative to the user's home.
            env: variables to add to the login environment, passed as one ``--export`` list, commas and all.
            export_all_text: the ``--export`` text itself, in place of ``env``.
            default_name: name of a job nobody named (sbatch takes the script's file name).

        Returns:
            The job id.

        Raises:
            SbatchError: Slurm would refuse the job.
        """
        export = export_all_text
        if export is None and env is not None:
            export = "ALL," + ",".join(f"{key}={value}" for key, value in env.items())
        command_line = {
            "chdir": working_dir, "job-name": name, "account": account, "partition": partition,
            "reservation": reservation, "constraint": constraints, "export": export,
            "input": stdin, "output": stdout, "error": stderr,
        }  # fmt: skip
        options = submission.read_options(script, command_line)
        with self._changed:
            if self._closing:
                raise submission.failed("Unable to contact slurm controller (connect failure)")
            return self._enqueue(options, script, user, default_name)

    def _enqueue(self, options: dict[str, str], script: str, user: str, default_name: str) -> str:
        def build(options: Mapping[str, str]) -> Submission:
            return submission.build(
                options,
                self.config,
                job_id=self._registry.next_id(),
                priority=self._registry.next_priority(),
                script=script,
                user=user,
                home=self.home(user),
                default_name=default_name,
                now=time.time(),
            )

        try:
            job = build(options)
        except SbatchError as error:
            if "node configuration is not available" in error.stderr:
                # Measured: this refusal, found by the controller, leaves a FAILED row in accounting.
                self._note_refused(build({**options, "mem": "0", "mem-per-cpu": "0"}))
            raise
        tasks = self._registry.add(job)
        for task in tasks:
            task.held = "hold" in options
        self._active.extend(tasks)
        self._touch()
        return str(job.job_id)

    def _note_refused(self, job: Submission) -> None:
        for task in self._registry.add(job):
            task.state, task.exit_code = State.FAILED, 1
            task.eligible_time = task.start_time = task.end_time = job.submit_time

    def cancel(self, job_id: str, *, user: str) -> None:
        """Cancel a job, an array, or an element of one (``scancel --verbose``).

        Raises:
            ScancelError: with the exit status and the text of the recorded servers.
        """
        base, _, index = job_id.partition("_")
        if not base.isdecimal() or int(base) == 0 or not (index or "0").isdecimal():
            raise ScancelError(f"scancel: error: Invalid job id {job_id}\n", 1)
        with self._changed:
            tasks = self._remembered(job_id)
            if not tasks:
                raise self._kill_error(job_id, _UNKNOWN, 0)
            if tasks[0].submission.user != user:
                raise self._kill_error(job_id, _DENIED, _DENIED_STATUS)
            alive = [task for task in tasks if not task.ended]
            if not alive:
                raise self._kill_error(job_id, _COMPLETING, 0)
            for task in alive:
                self._cancel(task, self.config.uid(user))
            self._touch()

    @staticmethod
    def _kill_error(job_id: str, text: str, status: int) -> ScancelError:
        first = f"scancel: Terminating job {job_id}\n"
        return ScancelError(f"{first}scancel: error: Kill job error on job id {job_id}: {text}\n", status)

    def _cancel(self, task: Task, uid: int | None) -> None:
        task.state, task.cancelled_by = State.CANCELLED, uid
        task.end_time = time.time()
        task.requeueing = False
        if task.occupying:
            self._runner.terminate(task, "CANCELLED")

    def hold(self, job_id: str) -> None:
        """``scontrol hold``: a pending job does not start until released."""
        with self._changed:
            for task in self._pending(job_id):
                task.held = True
            self._touch()

    def release(self, job_id: str) -> None:
        """``scontrol release``."""
        with self._changed:
            for task in self._pending(job_id):
                task.held = False
            self._touch()

    def requeue(self, job_id: str) -> None:
        """``scontrol requeue``: end a running job and queue it again under its id."""
        with self._changed:
            started = (State.RUNNING, State.SUSPENDED)
            running = [task for task in self._remembered(job_id) if task.state in started]
            if not running:
                raise ScontrolError("Job is not running: cannot be requeued\n")
            if not running[0].submission.requeue:
                raise ScontrolError("Requested operation is presently disabled\n")
            for task in running:
                task.requeueing = True
                task.state = State.PENDING
                task.wait_for("BeginTime")
                self._runner.terminate(task, "CANCELLED", why="DUE TO JOB REQUEUE")
            self._touch()

    def suspend(self, job_id: str) -> None:
        """``scontrol suspend``: stop the processes; the time limit stands still."""
        with self._changed:
            for task in self._in_state(job_id, State.RUNNING):
                self._runner.suspend(task)
            self._touch()

    def resume(self, job_id: str) -> None:
        """``scontrol resume``."""
        with self._changed:
            for task in self._in_state(job_id, State.SUSPENDED):
                self._runner.resume(task)
            self._touch()

    def attach(self, job_id: str, command: str, *, user: str, timeout: float) -> None:
        """``srun --jobid=ID --overlap COMMAND`` in a login shell of the user.

        Raises:
            SrunError: no such running job, not the user's own, or the command failed.
            TimeoutError: the command took longer than ``timeout`` seconds; it is killed.
        """
        with self._changed:
            tasks = self._remembered(job_id)
        self._runner.attach(job_id, tasks, command, user=user, home=self.home(user), timeout=timeout)

    def close(self) -> None:
        """Kill every job and stop. Returns within seconds; may be called twice."""
        with self._changed:
            self._closing = True
            self._touch()
        self._thread.join(10)
        self._runner.close()

    # Questions ---------------------------------------------------------------------------------------------

    def job_list(self, mentioning: str = "") -> list[dict[str, Any]]:
        """One plain dict per job or array element, in order of submission: the oracle for tests.

        Args:
            mentioning: leave out jobs in whose script this text is not. The scripts themselves are not told:
                those of transfers hold presigned URLs.
        """
        with self._changed:
            return [task.as_dict() for task in self._registry if mentioning in task.submission.script]

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Block until ``condition()`` holds, asked after each change; False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def home(self, user: str) -> str:
        """Home directory of a user, made when it is ours to make."""
        if user in self.config.homes:
            return self.config.homes[user]
        home = self._state_dir / "homes" / user
        home.mkdir(parents=True, exist_ok=True)
        return str(home)

    def read(self, question: Callable[[Registry, Runner], Any]) -> Any:
        """Ask something of a consistent state; the view modules do."""
        with self._changed:
            return question(self._registry, self._runner)

    # The scheduling thread ---------------------------------------------------------------------------------

    def _touch(self) -> None:
        """Something changed: schedule again, wake who waits."""
        with self._changed:
            self._dirty = True
            self._changed.notify_all()

    def _loop(self) -> None:
        with self._changed:
            while not self._closing:
                self._dirty = False
                self._active = [task for task in self._active if not task.ended or task.occupying]
                wake_at = self._dispatcher.run(self._active, time.time())
                self._changed.notify_all()  # reasons and states may have changed: see wait_for
                if not self._dirty:
                    self._changed.wait(None if wake_at == math.inf else max(wake_at - time.time(), 0.001))

    # Finding jobs ------------------------------------------------------------------------------------------

    def _remembered(self, job_id: str) -> list[Task]:
        """Tasks the controller still knows: it forgets a job ``min_job_age`` seconds after its end."""
        tasks = self._registry.job(job_id)
        oldest = time.time() - self.config.min_job_age
        return tasks if any(not t.ended or (t.end_time or 0.0) >= oldest for t in tasks) else []

    def _in_state(self, job_id: str, state: State) -> Sequence[Task]:
        found = [task for task in self._remembered(job_id) if task.state is state]
        if not found:
            raise ScontrolError(f"Invalid job state for this operation: job {job_id} is not {state}\n")
        return found

    def _pending(self, job_id: str) -> Sequence[Task]:
        found = [task for task in self._remembered(job_id) if task.state is State.PENDING]
        if not found:
            raise ScontrolError("Job is no longer pending execution\n")
        return found
