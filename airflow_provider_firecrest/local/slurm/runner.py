"""Running tasks: starting their processes, limiting their time, and reading how they ended.

Knows: what happens from start to end of a process. Must not know: queueing, or who may cancel.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from airflow_provider_firecrest.local.slurm.config import SchedulerConfig
from airflow_provider_firecrest.local.slurm.environment import login_environment
from airflow_provider_firecrest.local.slurm.errors import SrunError
from airflow_provider_firecrest.local.slurm.launch import (
    batch_launch,
    file_names,
    install_rsync,
    install_srun,
    name_values,
)
from airflow_provider_firecrest.local.slurm.node import Launch, Node, NodeLost
from airflow_provider_firecrest.local.slurm.records import State, Step, Task
from airflow_provider_firecrest.local.slurm.steps import close_steps, ended_state, read_steps

# What slurmstepd reports when it cannot enter the working directory or open the output file.
_SETUP_FAILED = 53
_FIRST_SHELL_SIGNAL = 128
_CHECK = "srun: Check SLURM_JOB_ID environment variable. Expired or invalid job {0}\n"


class Runner:
    """The node and what runs on it.

    Args:
        changed: the scheduler's lock; events of the node are handled under it.
        touch: tells the scheduler that something changed.
    """

    def __init__(
        self,
        state_dir: Path,
        config: SchedulerConfig,
        changed: threading.Condition,
        touch: Callable[[], None],
    ) -> None:
        self._config = config
        self._changed = changed
        self._touch = touch
        self._jobs_dir = state_dir / "jobs"
        self._bin_dir = state_dir / "bin"
        self._scratch = state_dir / "attach"
        self._log = state_dir / "slurmd.log"
        self._tasks: dict[str, Task] = {}
        self._attached: dict[str, dict[str, Any]] = {}
        self._counter = itertools.count(1)
        self._closed = False
        self._scratch.mkdir(parents=True, exist_ok=True)
        install_srun(self._bin_dir)
        install_rsync(self._bin_dir)
        self._node = Node(self._log, self._on_event)

    @property
    def node_pid(self) -> int:
        """Process id of the node daemon."""
        return self._node.pid

    def start(self, task: Task, now: float) -> None:
        """Start a task's script; from here on the task is RUNNING."""
        limit = task.submission.time_limit
        task.state, task.reason = State.RUNNING, "None"
        task.start_time, task.end_time = now, None
        task.deadline = math.inf if limit is None else now + limit
        task.suspended_seconds, task.occupying = 0.0, True
        task.batch, task.steps = Step("batch", now), []
        self._tasks[task.key] = task
        nodes = self._config.nodes[: task.submission.nodes]
        launch = batch_launch(task, self._directory(task), self._bin_dir, nodes, self._config.cluster)
        with contextlib.suppress(NodeLost):  # the "lost" event ends the task
            self._node.start(task.key, launch)

    def terminate(self, task: Task, word: str, why: str = "") -> None:
        """SIGTERM now, SIGKILL after ``kill_wait``; a line in the job's error output says so."""
        now = time.time()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))
        self._write_notice(task, f"{word} AT {moment} {why}".strip())
        if task.batch is not None:
            task.batch.end, task.batch.state = now, "CANCELLED"
        task.deadline, task.kill_at = math.inf, now + self._config.kill_wait
        self._node.kill(task.key, signal.SIGTERM)
        self._node.kill(task.key, signal.SIGCONT)  # a stopped process would never see the SIGTERM
        self._count_suspension(task)

    def _write_notice(self, task: Task, text: str) -> None:
        node = self._config.nodes[0]
        path = Path(file_names(task.submission, name_values(task, node))[2])
        if path.is_file():
            with contextlib.suppress(OSError), path.open("a") as file:
                file.write(f"slurmstepd-{node}: error: *** JOB {task.raw_id} ON {node} {text} ***\n")

    def suspend(self, task: Task) -> None:
        """SIGSTOP the whole process group."""
        self._node.kill(task.key, signal.SIGSTOP)
        task.state, task.suspended_at = State.SUSPENDED, time.time()

    def resume(self, task: Task) -> None:
        """SIGCONT; the time spent suspended does not count against the limit."""
        self._node.kill(task.key, signal.SIGCONT)
        task.deadline += self._count_suspension(task)
        task.state = State.RUNNING

    @staticmethod
    def _count_suspension(task: Task) -> float:
        if task.suspended_at is None:
            return 0.0
        seconds = time.time() - task.suspended_at
        task.suspended_seconds += seconds
        task.suspended_at = None
        return seconds

    def enforce_limits(self, tasks: Sequence[Task], now: float) -> float:
        """End tasks over their time, kill those that ignore SIGTERM; returns when to look again."""
        wake_at = math.inf
        for task in tasks:
            if not task.occupying:
                continue
            if task.state is State.RUNNING and now >= task.deadline:
                task.state, task.end_time = State.TIMEOUT, now
                self.terminate(task, "CANCELLED", why="DUE TO TIME LIMIT")
            elif now >= task.kill_at:
                task.kill_at = math.inf
                self._node.kill(task.key, signal.SIGKILL)
            deadline = task.deadline if task.state is State.RUNNING else math.inf
            wake_at = min(wake_at, deadline, task.kill_at)
        return wake_at

    def steps(self, task: Task) -> list[Step]:
        """Steps of a task: from the step files while it runs, from memory afterwards."""
        if not task.occupying:
            return task.steps
        steps = read_steps(self._directory(task) / "steps")
        if task.ended:
            # Accounting ends the steps with the job, even while their processes are still dying.
            close_steps(steps, task.end_time or time.time(), 0)
        return steps

    def attach(
        self, job_id: str, tasks: Sequence[Task], command: str, *, user: str, home: str, timeout: float
    ) -> None:
        """Run a command as a further step of a running job; see `Scheduler.attach`."""
        task = self._attachable(job_id, tasks, user)
        number = next(self._counter)
        key, errors = f"attach{number}", self._scratch / f"{number}.err"
        line = f"{shlex.quote(str(self._bin_dir / 'srun'))} --jobid={job_id} --overlap {command}"
        env = {
            **login_environment(user, home),
            "SLURM_LOCAL_STEPS": str(self._directory(task) / "steps"),
            "SLURMD_NODENAME": self._config.nodes[0],
        }
        outcome: dict[str, Any] = {}
        with self._changed:
            self._attached[key] = outcome
            launch = Launch(["/bin/sh", "-c", line], env, home, "/dev/null", "/dev/null", str(errors))
            self._node.start(key, launch)
            ended = self._changed.wait_for(lambda: bool(outcome), timeout)
            del self._attached[key]
        if not ended:
            self._node.kill(key, signal.SIGKILL)
        text = errors.read_text(errors="replace") if errors.exists() else ""
        errors.unlink(missing_ok=True)
        if not ended:
            raise TimeoutError(f"srun took longer than {timeout:g} seconds")
        if outcome.get("code") or outcome.get("signal"):
            raise SrunError(text, outcome["code"] or _FIRST_SHELL_SIGNAL + outcome["signal"])

    @staticmethod
    def _attachable(job_id: str, tasks: Sequence[Task], user: str) -> Task:
        check = _CHECK.format(job_id)
        if not tasks:
            text = f"srun: error: Unable to confirm allocation for job {job_id}: Invalid job id specified\n"
            raise SrunError(text + check)
        if tasks[0].submission.user != user:
            text = f"srun: error: Unable to create step for job {job_id}: Access/permission denied\n"
            raise SrunError(text)
        running = [task for task in tasks if task.state is State.RUNNING]
        if running:
            return running[0]
        if any(not task.ended for task in tasks):
            text = f"srun: error: Unable to confirm allocation for job {job_id}: Job is pending execution\n"
            raise SrunError(text + check)
        raise SrunError(f"srun: error: Slurm job {job_id} has expired\n" + check)

    # Events of the node ------------------------------------------------------------------------------------

    def _on_event(self, event: dict[str, Any]) -> None:
        with self._changed:
            if event["event"] == "lost":
                self._node_lost()
            elif event["key"] in self._attached:
                self._attach_event(event)
            elif task := self._tasks.get(event["key"]):
                self._task_event(task, event)
            self._touch()

    def _attach_event(self, event: dict[str, Any]) -> None:
        if event["event"] != "started":
            self._attached[event["key"]].update(code=event.get("code", 1), signal=event.get("signal", 0))

    def _task_event(self, task: Task, event: dict[str, Any]) -> None:
        if event["event"] == "started":
            task.pid = event["pid"]
            task.pids.append(event["pid"])
        elif event["event"] == "refused":
            self._finish(task, 0, _SETUP_FAILED)
        else:
            self._finish(task, event["code"], event["signal"])

    def _finish(self, task: Task, code: int, killed_by: int) -> None:
        """The task's processes are gone: note the result, and free its CPUs."""
        now = time.time()
        # sacct shows codes of 128 and above reduced by 128, although no signal was involved.
        code = code - _FIRST_SHELL_SIGNAL if code >= _FIRST_SHELL_SIGNAL else code
        self._close_records(task, now, code, killed_by)
        del self._tasks[task.key]
        task.occupying, task.pid, task.kill_at, task.deadline = False, None, math.inf, math.inf
        self._count_suspension(task)
        if task.requeueing:
            task.requeueing, task.restarts = False, task.restarts + 1
            task.start_time, task.batch, task.steps = None, None, []
            task.not_before = now + self._config.requeue_delay
        elif not task.ended:
            failed = killed_by or (task.batch is not None and task.batch.state == "FAILED")
            task.state = State.FAILED if failed else State.COMPLETED
            task.exit_code, task.signal, task.end_time = code, killed_by, now

    def _close_records(self, task: Task, now: float, code: int, killed_by: int) -> None:
        directory = self._directory(task)
        task.steps = read_steps(directory / "steps")
        close_steps(task.steps, now, killed_by)
        shutil.rmtree(directory, ignore_errors=True)
        if task.batch is not None:
            task.batch.end, task.batch.exit_code, task.batch.signal = now, code, killed_by
            task.batch.state = ended_state(code, killed_by)

    def _node_lost(self) -> None:
        """The daemon died (somebody killed it): its jobs are gone, the next ones need a new one."""
        for task in list(self._tasks.values()):
            self._finish(task, 0, signal.SIGKILL)
            if task.state is State.FAILED:
                task.state = State.NODE_FAIL
        for outcome in self._attached.values():
            outcome.update(code=1, signal=0)
        if not self._closed:
            self._node = Node(self._log, self._on_event)

    def _directory(self, task: Task) -> Path:
        return self._jobs_dir / task.key

    def close(self) -> None:
        """End the node and everything on it."""
        self._closed = True
        self._node.close()
