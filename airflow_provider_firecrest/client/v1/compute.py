"""FirecREST v1, `/compute`:

the same calls as v2's, over tasks; what v1 has no field for travels in the script.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import arrays, script
from ..api import identifier
from ..errors import AmbiguousError, InvalidRequestError, NotFoundError
from ..flow import Flow, Kind, Request, Upload
from ..models import Job, JobMetadata
from . import rows
from .files import Files
from .placing import Place

logger = logging.getLogger("airflow_provider_firecrest.client")

_PAGE = 1000
_WINDOWS = {"1h": 0, "8h": 0, "24h": 1, "3d": 3, "7d": 7}


class Compute(Files):
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
        """Submit one batch job. What v1 has no field for is written into the script as ``#SBATCH`` lines.

        A script on the system is read first when something has to be written into it.

        :param script: text of the batch script.
        :param remote_script: path of a batch script on the system, instead of ``script``.
        :param working_dir: directory the job starts in; default: the connection's.
        :param name: job name.
        :param account: Slurm account; default: the connection's.
        :param partition: partition.
        :param reservation: reservation.
        :param constraints: node features.
        :param env: environment; values that the server would cut are moved into the script.
        :param stdin: path of the job's standard input.
        :param stdout: path of its standard output.
        :param stderr: path of its standard error.
        :param system: machine name; default: the connection's.
        :returns: the job id.
        :raises InvalidRequestError: sbatch refuses; its own words are in the message.
        :raises AmbiguousError: the job may have been submitted. A warning of sbatch is enough for v1 to
            report a failure.
        :endpoint: POST /compute/jobs/upload, POST /compute/jobs/path, GET /tasks/{id} (sbatch)
        """
        options = {
            "job-name": name,
            "partition": partition,
            "reservation": reservation,
            "constraint": constraints,
        }
        given = {key: value for key, value in options.items() if value}
        place = Place(working_dir or self.settings.working_dir, stdin, stdout, stderr)
        if (script is None) == (remote_script is None):
            raise InvalidRequestError("Give either script or remote_script.")
        if remote_script is not None and (given or env or place.matters):
            content = yield from self.download(remote_script, system=system)
            script = _decoded(content, remote_script)
        if script is None:
            return (yield from self._submit_path(str(remote_script), account, system))
        return (yield from self._submit_text(script, given, place, account, env, system))

    def _submit_path(self, path: str, account: str | None, system: str | None) -> Flow[str]:
        form = {"targetPath": self._path(path, "remote_script"), "account": self._account(account)}
        request = self._send("POST", "/compute/jobs/path", system, Kind.CREATE, form)
        return _job_id((yield from self._run_task(request, "Submitting the job")))

    def _submit_text(
        self,
        text: str,
        options: Mapping[str, str],
        place: Place,
        account: str | None,
        env: Mapping[str, str] | None,
        system: str | None,
    ) -> Flow[str]:
        text = place.written_into(script.prepare(text).text)
        for key, value in options.items():
            if key == "job-name":
                script.check_job_name(value)
            text = script.set_directive(text, key, value)
        folded, plain = script.fold_env(text, env)
        script.check_size(str(folded), self.settings.max_script_size)
        content = str(folded).encode()
        form = {"account": self._account(account), "env": json.dumps(plain) if plain else None}
        request = Request(
            "POST",
            "/compute/jobs/upload",
            Kind.CREATE,
            form={key: value for key, value in form.items() if value is not None},
            headers=self._machine(system),
            upload=Upload("file", "job.sh", lambda: io.BytesIO(content)),
        )
        return _job_id((yield from self._run_task(request, "Submitting the job")))

    def jobs(
        self,
        *,
        name: str | None = None,
        account: str | None = None,
        all_users: bool = False,
        time_window: str | None = None,
        system: str | None = None,
    ) -> Flow[list[Job]]:
        """List the user's jobs: waiting and running ones, and ended ones as far back as ``time_window``, in
        whole days.

        :param name: only jobs of this name.
        :param account: v1 does not tell a job's account; giving one is refused.
        :param all_users: other users' waiting and running jobs too.
        :param time_window: ``1h``, ``8h``, ``24h`` (default), ``3d`` or ``7d``; rounded up to days, since
            v1 knows no times.
        :param system: machine name; default: the connection's.
        :endpoint: GET /compute/jobs (squeue), GET /compute/acct (sacct)
        """
        if account:
            raise InvalidRequestError("account: FirecREST v1 does not tell a job's account.")
        if time_window is not None and time_window not in _WINDOWS:
            raise InvalidRequestError(f"time_window: {time_window!r} is not one of {', '.join(_WINDOWS)}.")
        queued = yield from self._queue(system, None, userJobs="false" if all_users else None)
        # One day more: the server counts days in its own zone.
        since = datetime.now(UTC) - timedelta(days=_WINDOWS[time_window or "24h"] + 1)
        accounted = yield from self._accounting(system, None, starttime=since.strftime("%Y-%m-%d"))
        merged = rows.merge(accounted, queued)
        return [row for row in merged if name is None or row.name == name]

    def get_job(self, job_id: str, *, system: str | None = None) -> Flow[Job]:
        """Return one job; an array comes as one job with its elements.

        :param job_id: job id; of an array element (``36_1``), the element is returned.
        :param system: machine name; default: the connection's.
        :raises NotFoundError: unknown: for the first seconds of a job, too.
        :endpoint: GET /compute/acct?jobs=, GET /compute/jobs?jobs=
        """
        found = yield from self.find_jobs([job_id], system=system)
        if job_id not in found:
            raise NotFoundError(f"Job {job_id} is not known.", method="GET", path="/compute/acct")
        return found[job_id]

    def find_jobs(self, job_ids: Iterable[str], *, system: str | None = None) -> Flow[dict[str, Job]]:
        """Look at many jobs by one question to accounting; those it does not know yet are looked for in the
        queue.

        :param job_ids: job ids.
        :param system: machine name; default: the connection's.
        :returns: by id, the jobs that are known; one that is missing is unknown, not ended.
        :endpoint: GET /compute/acct?jobs=a,b, GET /compute/jobs?jobs=a,b
        """
        wanted = {str(each): identifier(each) for each in job_ids}
        if not wanted:
            return {}
        accounted = yield from self._accounting(system, wanted.values())
        found = _pick(wanted, accounted)
        unseen = {
            asked: base for asked, base in wanted.items() if asked not in found or not found[asked].is_final
        }
        if unseen:
            queued = yield from self._queue_of(set(unseen.values()), system)
            found |= _pick(unseen, rows.merge(accounted, queued))
        return found

    def job_metadata(self, job_id: str, *, system: str | None = None) -> Flow[JobMetadata]:
        """Return the stream paths of a job as long as it is in the queue; v1 cuts them at the first blank.

        :param job_id: job id.
        :param system: machine name; default: the connection's.
        :raises NotFoundError: not in the queue any more.
        :endpoint: GET /compute/jobs?jobs=
        """
        asked = identifier(job_id)
        data = yield from self._queue_data(system, [asked])
        for found, (out, err) in rows.queue_files(data).items():
            if arrays.base_id(found) == asked:
                return JobMetadata(str(job_id), None, None, out, err)
        raise NotFoundError(
            f"The scheduler does not remember job {job_id}.", method="GET", path="/compute/jobs"
        )

    def cancel_job(self, job_id: str, *, system: str | None = None) -> Flow[bool]:
        """Cancel a job, all of an array, or one of its elements.

        :param job_id: job id; of an array element, ``36_1``.
        :param system: machine name; default: the connection's.
        :returns: True when it was told to end now, False when it was over already.
        :raises NotFoundError: unknown job.
        :raises PermissionDeniedError: somebody else's job.
        :endpoint: DELETE /compute/jobs/{job_id}, GET /tasks/{id} (scancel); as :meth:`get_job` when scancel
            has forgotten the job.
        """
        request = self._send("DELETE", f"/compute/jobs/{_cancellable(job_id)}", system, Kind.IDEMPOTENT)
        try:
            yield from self._run_task(request, f"Cancelling job {job_id}")
        except InvalidRequestError as error:
            if "already completing or completed" in (error.server_message or "").lower():
                return False
            raise
        except NotFoundError:
            # Minutes after a job's end scancel does not know it any more; accounting does.
            job = yield from self.get_job(job_id, system=system)
            if not job.is_final:
                raise
            return False
        return True

    def attach(self, job_id: str, command: str, *, system: str | None = None) -> Flow[None]:
        """Not in v1.

        :raises InvalidRequestError: always.
        """
        yield from ()  # a generator, like every call
        raise InvalidRequestError("FirecREST v1 cannot run a command inside a job (attach).")

    def _accounting(
        self, system: str | None, job_ids: Iterable[str] | None, **params: str | None
    ) -> Flow[list[Job]]:
        found: list[Job] = []
        page = 0
        while True:
            request = self._get(
                "/compute/acct", system, **_ids(job_ids), **params, pageSize=_PAGE, pageNumber=page
            )
            try:
                batch = rows.accounting((yield from self._run_task(request, "Asking accounting")))
            except InvalidRequestError as error:
                if _is_past_the_end(page, error):
                    return found
                raise
            found += batch
            if len(batch) < _PAGE:
                return found
            page += 1

    def _queue(
        self, system: str | None, job_ids: Iterable[str] | None, **params: str | None
    ) -> Flow[list[Job]]:
        return rows.queue((yield from self._queue_data(system, job_ids, **params)))

    def _queue_data(
        self, system: str | None, job_ids: Iterable[str] | None, **params: str | None
    ) -> Flow[dict[str, Any]]:
        found: dict[str, Any] = {}
        page = 0
        while True:
            request = self._get(
                "/compute/jobs", system, **_ids(job_ids), **params, pageSize=_PAGE, pageNumber=page
            )
            try:
                data = yield from self._run_task(request, "Asking the queue")
            except InvalidRequestError as error:
                if _is_past_the_end(page, error):
                    return found
                raise
            batch = data if isinstance(data, dict) else {}
            found |= {f"{page}.{key}": value for key, value in batch.items()}
            if len(batch) < _PAGE:
                return found
            page += 1

    def _queue_of(self, job_ids: set[str], system: str | None) -> Flow[list[Job]]:
        """Look for jobs in the queue.

        Asked for a single one that is not there, the server makes an error of it.
        """
        try:
            return (yield from self._queue(system, sorted(job_ids)))
        except (NotFoundError, InvalidRequestError) as error:
            if "invalid job id" not in (error.server_message or "").lower():
                raise
            return []


def _pick(wanted: Mapping[str, str], found: list[Job]) -> dict[str, Job]:
    picked: dict[str, Job] = {}
    for asked, base in wanted.items():
        element = next((row for row in found if row.job_id == asked), None)
        job = element if asked != base and element is not None else arrays.merge(base, found)
        if job is not None:
            picked[asked] = job
    return picked


def _cancellable(job_id: str) -> str:
    """Return an id as scancel takes it; never a whole array's for an element of it."""
    text = str(job_id).strip()
    base = identifier(text)
    if text == base or re.fullmatch(r"[0-9]+_[0-9]+", text):
        return text
    raise InvalidRequestError(f"{job_id!r}: name a job, an array or one element of it, such as 36_1.")


def _is_past_the_end(page: int, error: InvalidRequestError) -> bool:
    """After a last page that is full the next one is an error, not empty."""
    return page > 0 and "greater than total pages" in (error.server_message or "")


def _ids(job_ids: Iterable[str] | None) -> dict[str, str]:
    return {} if job_ids is None else {"jobs": ",".join(dict.fromkeys(job_ids))}


def _job_id(data: Any) -> str:
    job_id = data.get("jobid") if isinstance(data, dict) else None
    if not job_id:
        raise AmbiguousError("FirecREST says the job was submitted, but not which one it is.")
    return str(job_id)


def _decoded(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"remote_script: {path} is not a text in UTF-8.") from None
