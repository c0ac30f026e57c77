"""FirecREST v2, `/compute`: submit, look, cancel, attach."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .. import arrays
from ..errors import (
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TooLargeError,
    UnavailableError,
)
from ..flow import Flow, Kind, Request
from ..models import Job, JobMetadata
from ..script import check_job_name, check_size
from .base import Base, identifier

TIME_WINDOWS = ("1h", "8h", "24h", "3d", "7d")


_FAILURES_OF_AN_OUTAGE = 3

_QUOTED = (
    "name",
    "account",
    "partition",
    "reservation",
    "constraints",
    "workingDirectory",
    "standardInput",
    "standardOutput",
    "standardError",
)


class Compute(Base):
    """Flows over `/compute`."""

    def submit_job(
        self,
        script: str | None = None,
        *,
        remote_script: str | None = None,
        working_dir: str | None = None,
        name: str | None = None,
        account: str | None = None,
        partition: str | None = None,
        reservation: str | None = None,
        constraints: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        stdout: str | None = None,
        stderr: str | None = None,
        system: str | None = None,
    ) -> Flow[str]:
        """Submit one batch job, exactly as given; `script.prepare` checks and repairs scripts before.

        :param script: text of the batch script.
        :param remote_script: path of a batch script on the system, instead of ``script``.
        :param working_dir: directory the job starts in; default: the connection's. The server demands one.
        :param name: job name; overrides the script's. Neither ``|`` (breaks everybody's job list) nor ``,``
            (cannot be looked up).
        :param account: Slurm account; default: the connection's.
        :param partition: partition.
        :param reservation: reservation.
        :param constraints: node features, as in ``sbatch --constraint``.
        :param env: environment; values with a comma or a quote are cut by the server (`script.fold_env`
            repairs that).
        :param stdin: path of the job's standard input.
        :param stdout: path of its standard output, with Slurm's patterns (``%j``).
        :param stderr: path of its standard error.
        :param system: system name; default: the connection's.
        :returns: the job id.
        :raises InvalidRequestError: sbatch refuses (partition, account, directive, no shebang); its own words
            are in the message.
        :raises QuotaError: a limit on jobs is reached; later it may pass.
        :raises AmbiguousError: the job may have been submitted; look for its name before doing it again.
        :endpoint: POST /compute/{system}/jobs (sbatch)
        """
        if (script is None) == (remote_script is None):
            raise InvalidRequestError("Give either script or remote_script.")
        if script is not None and not script.strip():
            raise InvalidRequestError("The script is empty.")
        if script is not None:
            check_size(script, self.settings.max_script_size)
        if remote_script is not None:
            _absolute(remote_script, field="remote_script")
        directory = working_dir or self.settings.working_dir
        if not directory:
            raise ConfigurationError(
                "working_dir: name one in the call or in the connection; FirecREST v2 demands it."
            )
        _check_working_dir(directory)
        if name is not None:
            check_job_name(name)
        fields: dict[str, Any] = {
            "script": script,
            "scriptPath": remote_script,
            "workingDirectory": directory,
            "name": name,
            "account": self._account(account),
            "partition": partition,
            "reservation": reservation,
            "constraints": constraints,
            "env": dict(env) if env else None,
            "standardInput": stdin,
            "standardOutput": stdout,
            "standardError": stderr,
        }
        job = {key: value for key, value in fields.items() if value is not None}
        _check_quoting(job)
        request = Request("POST", f"/compute/{self._system(system)}/jobs", Kind.CREATE, json={"job": job})
        return (yield from self._ask(request, lambda body: _job_id(body["jobId"])))

    def jobs(
        self,
        *,
        name: str | None = None,
        account: str | None = None,
        all_users: bool = False,
        time_window: str | None = None,
        system: str | None = None,
    ) -> Flow[list[Job]]:
        """List jobs as the server has them: one row per job, several per array. Two commands on the login
        node, however many jobs.

        :param name: only jobs of this name. Servers before 2.5.7 ignore it, so the rows are filtered here
            too.
        :param account: only jobs of this Slurm account.
        :param all_users: other users' jobs too.
        :param time_window: how far back ended jobs are listed: ``1h``, ``8h``, ``24h`` (the server's
            default), ``3d`` or ``7d``.
        :param system: system name; default: the connection's.
        :endpoint: GET /compute/{system}/jobs (squeue, sacct)
        """
        if time_window is not None and time_window not in TIME_WINDOWS:
            raise InvalidRequestError(
                f"time_window: {time_window!r} is not one of {', '.join(TIME_WINDOWS)}."
            )
        params = {
            "name": name,
            "account": account,
            "allusers": "true" if all_users else None,
            "time_window": time_window,
        }
        rows = yield from self._ask(self._list(system, params), _rows)
        return [row for row in rows if name is None or row.name == name]

    def _list(self, system: str | None, params: Mapping[str, str | None], *, repeat: bool = True) -> Request:
        return Request("GET", f"/compute/{self._system(system)}/jobs", params=params, repeat=repeat)

    def get_job(self, job_id: str, *, system: str | None = None) -> Flow[Job]:
        """Return one job; an array comes as one job with its elements.

        :param job_id: the id that the submit returned. For an array element (``87_3``) the array is asked and
            the element returned.
        :param system: system name; default: the connection's.
        :raises NotFoundError: unknown. Just after the submit, or between states, that does not mean it is
            gone.
        :endpoint: GET /compute/{system}/jobs/{job_id} (squeue, sacct)
        """
        return (yield from self._look_at(job_id, system))

    def _look_at(self, job_id: str, system: str | None, *, repeat: bool = True) -> Flow[Job]:
        asked = identifier(job_id)
        request = Request("GET", f"/compute/{self._system(system)}/jobs/{asked}", repeat=repeat)
        rows = yield from self._ask(request, _rows)
        element = (
            next((row for row in rows if row.job_id == str(job_id)), None) if str(job_id) != asked else None
        )
        job = element or arrays.merge(asked, rows, only_this_job=True) or _raw_element(asked, rows)
        if job is None:
            raise NotFoundError(f"Job {job_id} is not known.", method="GET", path=request.path, status=200)
        return job

    def find_jobs(self, job_ids: Iterable[str], *, system: str | None = None) -> Flow[dict[str, Job]]:
        """Look at many jobs at the cost of one question; those that a list does not show are asked for one by
        one.

        :param job_ids: ids that submits returned.
        :param system: system name; default: the connection's.
        :returns: by id, the jobs that are known; one that is missing is unknown, not ended.
        :endpoint: GET /compute/{system}/jobs/{job_id} for up to two ids, else GET /compute/{system}/jobs
        """
        wanted = list(dict.fromkeys(str(each) for each in job_ids))
        found: dict[str, Job] = {}
        if len(wanted) > 2:
            try:
                # Running and waiting jobs are listed whatever the window; one that ended earlier is asked for
                # by id.
                rows = yield from self._ask(self._list(system, {"time_window": "1h"}, repeat=False), _rows)
            except (UnavailableError, TooLargeError):
                # One job with a "|" in its name, anybody's, makes the list fail for as long as it is in the
                # window: to repeat the question would be to wait for nothing at every look.
                rows = []
            for job_id in wanted:
                job = arrays.merge(job_id, rows)
                # A list cannot tell an array's raw rows from other jobs: what looks ended is asked for by id.
                if job is not None and not (job.is_final and job.is_array):
                    found[job_id] = job
        left = [job_id for job_id in wanted if job_id not in found]
        answered, failures = len(left) < len(wanted), 0
        for job_id in left:
            try:
                found[job_id] = yield from self._look_at(job_id, system, repeat=len(wanted) == 1)
                answered, failures = True, 0
            except NotFoundError:
                answered, failures = True, 0
            except (UnavailableError, InvalidRequestError):
                # A job with a "|" in its name answers 500 for ever: that must not blind those who ask along.
                # An outage of all shall not be asked about a thousand times.
                failures += 1
                if failures == min(_FAILURES_OF_AN_OUTAGE, len(left)):
                    if answered:
                        break
                    raise
        return found

    def job_metadata(self, job_id: str, *, system: str | None = None) -> Flow[JobMetadata]:
        """Return script and stream paths of a job, as long as the scheduler remembers it.

        :param job_id: job id.
        :param system: system name; default: the connection's.
        :raises NotFoundError: forgotten (about five minutes after its end) or never there.
        :endpoint: GET /compute/{system}/jobs/{job_id}/metadata (scontrol show job)
        """
        request = Request("GET", f"/compute/{self._system(system)}/jobs/{identifier(job_id)}/metadata")
        found = yield from self._ask(
            request, lambda body: [JobMetadata.from_v2(row) for row in body["jobs"] or ()]
        )
        if not found:
            raise NotFoundError(
                f"The scheduler does not remember job {job_id}.", method="GET", path=request.path
            )
        return found[0]

    def cancel_job(self, job_id: str, *, system: str | None = None) -> Flow[bool]:
        """Cancel a job, or all of an array.

        :param job_id: job id.
        :param system: system name; default: the connection's.
        :returns: True when it was told to end now, False when it was over already.
        :raises InvalidRequestError: one element of an array is named; its array alone can be.
        :raises NotFoundError: unknown job.
        :raises PermissionDeniedError: somebody else's job.
        :endpoint: DELETE /compute/{system}/jobs/{job_id} (scancel); the server answers 500 to all but the
            first cancel. GET /compute/{system}/jobs/{job_id} when scancel has forgotten the job.
        """
        path = f"/compute/{self._system(system)}/jobs/{_whole(job_id)}"
        try:
            yield Request("DELETE", path, Kind.IDEMPOTENT)
        except (InvalidRequestError, PermissionDeniedError) as error:
            words = (error.server_message or "").lower()
            if "already completing or completed" in words:
                return False
            if "invalid job id" not in words:
                raise
            # Minutes after a job's end scancel does not know it any more; accounting does.
            job = yield from self.get_job(job_id, system=system)
            if not job.is_final:
                raise
            return False
        return True

    def attach(self, job_id: str, command: str, *, system: str | None = None) -> Flow[None]:
        """Run a command inside a running job; its output is not returned, and the server waits no more than 5
        s.

        :param job_id: job id.
        :param command: the command.
        :param system: system name; default: the connection's.
        :raises InvalidRequestError: the command failed, the job does not run, or one element of an array is
            named.
        :endpoint: PUT /compute/{system}/jobs/{job_id}/attach (srun --overlap)
        """
        path = f"/compute/{self._system(system)}/jobs/{_whole(job_id)}/attach"
        yield Request("PUT", path, Kind.CREATE, json={"command": command})


def _whole(job_id: str) -> str:
    """Return the id of a job or of a whole array.

    Looking at the array instead of its element is harmless, acting on it is not.

    :raises InvalidRequestError: it names a part.
    """
    if identifier(job_id) != str(job_id).strip():
        raise InvalidRequestError(
            f"{job_id!r} names a part of a job; FirecREST v2 accepts only whole ones here. Nothing was done."
        )
    return identifier(job_id)


def _absolute(path: str, *, field: str) -> None:
    if not path.startswith("/"):
        raise InvalidRequestError(f"{field}: {path!r} is not an absolute path on the system.")


def _check_quoting(job: Mapping[str, Any]) -> None:
    """Refuse what released servers would hand to the shell: they put values into single quotes, or bare."""
    for key in _QUOTED:
        found = re.search(r"['\x00-\x1f\x7f]", str(job.get(key) or ""))
        if found:
            raise InvalidRequestError(
                f"{key}: {job[key]!r} contains {found.group()!r}, which ends the server's own quoting."
            )
    path = str(job.get("scriptPath") or "")
    found = re.search(r"[^A-Za-z0-9._+=@%,:/\u0080-\U0010ffff-]", path)
    if found:
        raise InvalidRequestError(
            f"remote_script: {path!r} contains {found.group()!r}; the server does not quote this path."
            " Rename the script, or give its text."
        )


def _check_working_dir(directory: str) -> None:
    # A relative one is accepted, and the job then fails without having run.
    _absolute(directory, field="working_dir")
    found = re.search(r"[|\x00-\x1f\x7f]", directory)
    if found:
        # The server parses lists with `|` between the columns, the working directory among them.
        raise InvalidRequestError(
            f"working_dir: {directory!r} contains {found.group()!r}, which breaks the job list for everybody."
        )


def _rows(body: Mapping[str, Any]) -> list[Job]:
    return [Job.from_v2(row) for row in body["jobs"] or ()]


def _raw_element(asked: str, rows: list[Job]) -> Job | None:
    """The raw id of an array element is answered with that element's ``87_0`` row alone."""
    return rows[0] if rows and asked not in {row.job_id for row in rows} else None


def _job_id(value: Any) -> str:
    if value in (None, ""):
        raise ValueError("no job id")
    return str(value)
