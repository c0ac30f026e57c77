"""Operators that run and cancel Slurm jobs.

Knows the story of a job in a task: submit, wait, result. How a request is checked, and how exactly one job
comes of it, stands in ``client.attempts``, how one waits in ``triggers`` and ``_waiting``, what a result is
in ``_results``; all are loaded when a task runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow.providers.common.compat.sdk import BaseOperator

from .._crash_points import crash_point
from ..hooks._task import DEFAULT_CONN_ID, FirecrestMixin, default_deferrable, job_ids_of, within_kill_budget
from ._deferral import WaitsForJob
from ._quota import WaitsForQuota

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.attempts import JobRequest, Submission, Submitted
    from ..client.models import Job

_SCRIPT_FILES = (".sh", ".sbatch", ".slurm")

_LOOK_FOR_KILLED = 2.0
"""Seconds that a kill holds a submit up to look for its job; the answer to the submit needs some of the five
that Airflow leaves a task."""


class FirecrestSubmitJobOperator(WaitsForQuota, WaitsForJob, BaseOperator):
    """Runs one batch job (or job array) and waits for its end, in the triggerer or in the worker.

    The result is a JSON dict: job id, state, exit code, elapsed time, nodes, paths of the outputs and more
    (``JobResult``). A job that fails fails the task, with state, exit code, reason and the end of its
    standard error in the exception. ``execution_timeout`` counts from the task's start, the time in the
    queue included; at its end the job is cancelled.

    Bash's ``${#array[@]}`` opens a Jinja comment; wrap such a script in Airflow's ``literal()``.

    :param script: text of the batch script, or the name of a templated ``.sh``, ``.sbatch`` or ``.slurm``
        file beside the DAG.
    :param remote_script: absolute path of a batch script on the system, instead of ``script``.
    :param working_dir: absolute path of the directory the job starts in; default: the connection's, else your
        own directory on the file system that the system marks for work.
    :param job_name: job name; default: the script's ``#SBATCH --job-name``, else dag and task id.
    :param account: Slurm account; default: the connection's.
    :param partition: partition.
    :param reservation: reservation.
    :param constraints: node features, as in ``sbatch --constraint``.
    :param env: environment of the job; values that FirecREST would cut travel inside the script.
    :param stdin: path of the job's standard input.
    :param stdout: path of its standard output; Slurm's patterns (``%j``, ``%x``, ...) work.
    :param stderr: path of its standard error; default: where its standard output goes.
    :param array: makes the job an array, as in ``sbatch --array``: ``0-9``, ``0-99%10``.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param wait_for_completion: False returns right after the submit.
    :param poll_interval: seconds between questions once nothing has changed for some minutes; quicker before.
    :param cancel_on_kill: cancel the job when the task is killed, cleared or marked.
    :param reattach: ``retry``: a retry after a crash goes on with the job that is there, a clear starts a new
        one and cancels the old one first; ``always``: a clear goes on with it too; ``never``: every try
        submits.
    :param fence: put some lines at the top of shell scripts that let only one job of an attempt go on,
        should a lost answer have led to two.
    :param wait_for_quota: wait until a limit of the site (``QOSMax...``, ``Assoc...``, too many requests)
        lets the job through, up to ``execution_timeout``; asks after a minute, later every ten. False fails
        at once.
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``.
    :raises AirflowFailException: the request was refused, or nobody knows whether the job exists; a retry
        would not help.
    :raises AirflowException: the job failed.
    :raises AirflowTaskTimeout: ``execution_timeout`` is over; the job was cancelled.
    """

    template_fields: Sequence[str] = (
        "script",
        "remote_script",
        "working_dir",
        "job_name",
        "account",
        "partition",
        "reservation",
        "constraints",
        "env",
        "stdin",
        "stdout",
        "stderr",
        "array",
        "system",
        "firecrest_conn_id",
    )
    # Airflow's own way (template_ext) takes text ending in ".sh" in *any* field for a local file, a
    # remote_script and a script whose last line is "./run.sh" among it. So the one field that can be a file
    # is looked after here.
    template_ext: Sequence[str] = ()
    template_fields_renderers = {"script": "bash", "env": "json"}  # noqa: RUF012 (Airflow's own form)
    ui_color = "#dbe7f5"
    _submission: Submission | None = None

    def __init__(
        self,
        *,
        script: str | None = None,
        remote_script: str | None = None,
        working_dir: str | None = None,
        job_name: str | None = None,
        account: str | None = None,
        partition: str | None = None,
        reservation: str | None = None,
        constraints: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
        array: str | None = None,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        wait_for_completion: bool = True,
        poll_interval: float = 30.0,
        cancel_on_kill: bool = True,
        reattach: Literal["retry", "always", "never"] = "retry",
        fence: bool = True,
        wait_for_quota: bool = True,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (script is None) == (remote_script is None):
            given = "neither is given" if script is None else "both are given"
            raise ValueError(f"script, remote_script: {given}; give one.")
        if reattach not in ("retry", "always", "never"):
            raise ValueError(f"reattach: {reattach!r} is not one of retry, always, never.")
        self.script = script
        self.remote_script = remote_script
        self.working_dir = working_dir
        self.job_name = job_name
        self.account = account
        self.partition = partition
        self.reservation = reservation
        self.constraints = constraints
        self.env = env
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.array = array
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.reattach = reattach
        self.fence = fence
        self.wait_for_quota = wait_for_quota
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def prepare_template(self) -> None:
        """Put a script file's text in place of its name, as Airflow does it, when the DAG is parsed."""
        if _names_a_file(self.script) and "{" not in str(self.script):
            env = self.get_template_env()
            # A file that is missing is told when the task runs, not to everybody who parses the DAG.
            with contextlib.suppress(Exception):
                self.script = cast(Any, env.loader).get_source(env, str(self.script).strip())[0]

    def execute(self, context: Context) -> Any:
        """Submit, then wait in the triggerer or here."""
        from ._results import submitted_result

        with self.firecrest() as client:
            request = self._request(client, context)
            for repair in request.repairs:
                self.log.warning("Repaired before the submit: %s.", repair)
            note: dict[str, Any] = {"submitted_at": time.time()}
            job = self.within_quota(lambda: self._submit_once(client, request, context), context)
            self.killable({"job_id": job.job_id, "system": self.system or client.system})
            self._submission = None
            note |= self._written_down(client, request, job)
            self.started(note, context)
            if not job.adopted:
                self.log.info("Submitted job %s (%s) on %s.", job.job_id, job.name, note["system"])
            if not self.wait_for_completion:
                self._running = None
                return submitted_result(job.job_id, note)
            if not self.deferrable:
                return self.wait_here(client, note, context)
        crash_point("before_defer")
        return self.wait_in_triggerer(note, context)

    def on_kill(self) -> None:
        """Cancel the job; one whose submit has not been answered is looked for by its name."""
        submission = self._submission if self._running is None else None
        super().on_kill()
        if submission is not None and self.cancel_on_kill:
            what = "Cancelling the job that is being submitted"
            within_kill_budget(self.log, what, submission.cancel, self.hook, wait=_LOOK_FOR_KILLED)

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Log the job's output; return its result, or raise what it failed with."""
        from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

        from ..client.job_json import job_from_dict
        from ._results import failure_text, job_result, log_output

        note = event["carry"]
        if event["status"] != "done":
            why = (
                event.get("message") or f"{note['system']} has said for ten minutes that it does not know it."
            )
            raise AirflowFailException(
                f"What became of job {note['job_id']} on {note['system']} is not known: {why}"
                f" Look for it there (sacct -j {note['job_id']}) before you clear this task."
            )
        job = job_from_dict(event["jobs"][0])
        other = self._sent_away_by(client, job, note)
        if other is not None:
            return self._wait_for_other(client, {**note, "job_id": other}, context)
        log_output(client, job, note, self.log)
        if not job.succeeded:
            raise AirflowException(failure_text(client, job, note))
        return job_result(job, note)

    def _script_text(self, context: Context) -> str | None:
        """Return the script;

        where a template or a mapping made the name of a file of it, that file, rendered.
        """
        if not _names_a_file(self.script):
            return self.script
        from ..client.errors import InvalidRequestError

        name = str(self.script).strip()
        try:
            text: str = self.get_template_env().get_template(name).render(context)
        except Exception as error:
            # Whatever Jinja says of a file it cannot find, read or render.
            raise InvalidRequestError(f"script: the file {name!r} cannot be used: {error}.") from None
        return text

    def _sent_away_by(self, client: FirecrestClient, job: Job, note: dict[str, Any]) -> str | None:
        """Return the id of the job that does the work, when the fence sent ours away."""
        from ..client.attempts import claim_holder, is_fenced

        if not note.get("claim") or not is_fenced(job):
            return None
        holder = client.run(claim_holder(client.api, note["claim"], system=note["system"]))
        return holder if holder != job.job_id else None

    def _wait_for_other(self, client: FirecrestClient, note: dict[str, Any], context: Context) -> Any:
        self.log.warning("Job %s does this task's work already: waiting for that one.", note["job_id"])
        self.started(note, context)
        if self.deferrable:
            return self.wait_in_triggerer(note, context)
        return self.wait_here(client, note, context)

    def _submit_once(self, client: FirecrestClient, request: JobRequest, context: Context) -> Submitted:
        from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

        from ..client.attempts import Submission
        from ..client.errors import AmbiguousError
        from ._job_memory import JobMemory
        from ._task_attempt import attempt_of, life_began

        attempt, first_try = attempt_of(
            context,
            client,
            conn_id=self.firecrest_conn_id,
            system=self.system,
            reattach=self.reattach,
        )
        submission = Submission(
            client,
            request,
            attempt,
            system=self.system,
            # After a pause there may be a job of a submit before the one that was refused.
            first_try=first_try and self.quota_pauses == 0,
            fence=self.fence,
            memory=JobMemory(context.get("task_state_store"), self.log),
            not_before=life_began(context),
            log=self.log,
        )
        self._submission = submission
        try:
            return submission.run()
        except AmbiguousError as error:
            # A retry looks again and may then submit again. Only the fence makes that harmless.
            safe = submission.fenced and self.reattach != "never"
            raise (AirflowException if safe else AirflowFailException)(str(error)) from None

    def _request(self, client: FirecrestClient, context: Context) -> JobRequest:
        from ..client.attempts import build_request

        ti = context["ti"]
        index = getattr(ti, "map_index", -1)
        return build_request(
            client,
            script_text=self._script_text(context),
            remote_script=self.remote_script,
            job_name=self.job_name,
            default_name=f"{ti.dag_id}.{ti.task_id}"
            + (f".{index}" if isinstance(index, int) and index >= 0 else ""),
            working_dir=self.working_dir,
            array=self.array,
            env=self.env,
            system=self.system,
            account=self.account,
            partition=self.partition,
            reservation=self.reservation,
            constraints=self.constraints,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
        )

    def _written_down(self, client: FirecrestClient, request: JobRequest, job: Submitted) -> dict[str, Any]:
        """Return what the end of the task needs to know of its beginning, as plain JSON."""
        out, err = request.stdout, request.stderr
        if out is None:
            out, err = self._asked_for_streams(client, job.job_id)
        return {
            "job_id": job.job_id,
            "system": self.system or client.system,
            "job_name": job.name,
            "claim": job.claim,
            "working_dir": request.working_dir,
            "stdout": out,
            "stderr": err,
            "firecrest_conn_id": self.firecrest_conn_id,
        }

    def _asked_for_streams(self, client: FirecrestClient, job_id: str) -> tuple[str | None, str | None]:
        from ..client.errors import FirecrestError

        try:
            found = client.job_metadata(job_id, system=self.system)
        except FirecrestError as error:
            self.log.info("Where job %s writes its output cannot be told: %s", job_id, error)
            return None, None
        return found.stdout, found.stderr


class FirecrestCancelJobOperator(FirecrestMixin, BaseOperator):
    """Cancels one or many jobs and looks until they are over. A job that is over already is fine.

    The result is a JSON dict: ``system`` and ``jobs``, a list of ``{job_id, cancelled, state}``;
    ``cancelled`` is False for a job that was over already.

    :param job_id: job id, or a list of them.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param timeout: seconds that the jobs are given to end, counted from when all of them were told to.
    :raises AirflowFailException: unknown jobs, or somebody else's; all others were cancelled first.
    :raises AirflowException: a job is still not over, or could not be cancelled this time.
    """

    template_fields: Sequence[str] = ("job_id", "system", "firecrest_conn_id")
    ui_color = "#f5e0db"

    def __init__(
        self,
        *,
        job_id: str | list[str],
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        timeout: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_id = job_id
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.timeout = timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Tell all jobs to end, then look after each; what did not work is told at the end, all of it."""
        from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

        from ..client.errors import (
            AuthenticationError,
            ConfigurationError,
            FirecrestError,
            UnavailableError,
        )
        from ..client.waiting.cancel import verify_cancelled
        from ..hooks._errors import is_refusal

        jobs: list[dict[str, Any]] = []
        problems: list[str] = []
        told: dict[str, bool] = {}
        final = True
        with self.firecrest() as client:
            ids = list(dict.fromkeys(job_ids_of(self.job_id)))
            for index, job_id in enumerate(ids, start=1):
                try:
                    told[job_id] = client.cancel_job(job_id, system=self.system)
                except FirecrestError as error:
                    final = final and is_refusal(error)
                    problems.append(f"Job {job_id}: {error}")
                    if isinstance(error, UnavailableError | AuthenticationError | ConfigurationError):
                        # Repeated for minutes, or not to be cured by repeating: the others would fare alike.
                        if ids[index:]:
                            problems.append(f"Not tried after that: {', '.join(ids[index:])}.")
                        break
            began = time.monotonic()
            for job_id, now in told.items():
                left = max(0.0, self.timeout - (time.monotonic() - began))
                done = client.run(
                    verify_cancelled(client.api, job_id, now=now, system=self.system, within=left)
                )
                self.log.info("%s", done)
                state = done.job.state if done.job is not None else None
                jobs.append({"job_id": job_id, "cancelled": done.now, "state": state})
                if not done.verified:
                    final = False
                    problems.append(f"{done} It was given {self.timeout:.0f} s.")
            system = self.system or client.system
        if problems:
            # A retry is of use while there is one problem that may go away.
            raise (AirflowFailException if final else AirflowException)(" ".join(problems))
        return {"system": system, "jobs": jobs}


def _names_a_file(script: Any) -> bool:
    """True for the name of a script file; a script itself has line breaks."""
    return isinstance(script, str) and "\n" not in script and script.strip().endswith(_SCRIPT_FILES)
