"""FirecREST v1, `/storage`:

file operations as Slurm jobs, and files through an object store, both behind tasks.
"""

from __future__ import annotations

import re
from typing import Any

from .. import paths
from ..errors import AmbiguousError, InvalidRequestError, TransferFailedError
from ..flow import Flow, Kind, Request
from ..models import FormTicket, TransferJob
from ..models.tasks import FINAL
from .compute import Compute

_TIME = re.compile(r"(\d+-)?\d{1,2}(:\d{2}){1,2}|\d+")

MAX_UPLOAD = 5 * 1024**3
"""Bytes: an upload is one form, and S3 takes no more in one."""


class Transfer(Compute):
    """Flows over `/storage`."""

    def _internal(
        self, call: str, form: dict[str, Any], options: dict[str, Any], system: str | None
    ) -> Flow[TransferJob]:
        """Submit one of the server's file jobs; the task's success only says that it was submitted."""
        time_limit = options.get("time")
        if time_limit is not None and not _TIME.fullmatch(str(time_limit)):
            raise InvalidRequestError(f"time_limit: {time_limit!r} is not a time such as 02:00:00.")
        fields = {**form, **options, "account": self._account(options.get("account"))}
        request = self._send("POST", f"/storage/xfer-internal/{call}", system, Kind.CREATE, fields)
        try:
            data = yield from self._run_task(request, f"Submitting the {call} job")
        except InvalidRequestError as error:
            if fields["account"] is None and "invalid account" in (error.server_message or "").lower():
                error.message += " This site needs an account: name one in the call or in the connection."
            raise
        if not isinstance(data, dict) or not data.get("jobid"):
            raise AmbiguousError(f"FirecREST says the {call} job was submitted, but not which one it is.")
        return TransferJob(
            job_id=str(data["jobid"]),
            system=self._machine(system)["X-Machine-Name"],
            working_dir=paths.parent(str(data.get("job_file") or "/")),
            output_log=str(data.get("job_file_out") or ""),
            error_log=str(data.get("job_file_err") or ""),
        )

    def transfer_mv(
        self,
        path: str,
        target_path: str,
        *,
        account: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        after_job_id: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Move a path by a job.

        :param path: absolute path.
        :param target_path: where to.
        :param account: Slurm account of the job; default: the connection's.
        :param job_name: name of the job.
        :param time_limit: its time limit, ``HH:MM:SS``.
        :param after_job_id: start when that job has succeeded; when it fails, never.
        :param system: machine name; default: the connection's.
        :endpoint: POST /storage/xfer-internal/mv
        """
        form = self._two(path, target_path)
        return (
            yield from self._internal(
                "mv", form, _options(account, job_name, time_limit, after_job_id), system
            )
        )

    def transfer_cp(
        self,
        path: str,
        target_path: str,
        *,
        dereference: bool = False,
        account: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        after_job_id: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Copy a path by a job.

        :param path: absolute path.
        :param target_path: where to; a directory that exists is entered.
        :param dereference: v2 only.
        :param account: Slurm account of the job; default: the connection's.
        :param job_name: name of the job.
        :param time_limit: its time limit, ``HH:MM:SS``.
        :param after_job_id: start when that job has succeeded; when it fails, never.
        :param system: machine name; default: the connection's.
        :endpoint: POST /storage/xfer-internal/cp
        """
        if dereference:
            raise InvalidRequestError("dereference: FirecREST v1's copy job does not know it.")
        form = self._two(path, target_path)
        return (
            yield from self._internal(
                "cp", form, _options(account, job_name, time_limit, after_job_id), system
            )
        )

    def transfer_rsync(
        self,
        path: str,
        target_path: str,
        *,
        account: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        after_job_id: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Copy what is new or changed by a job.

        :param path: absolute path; with a slash at its end, what is in the directory.
        :param target_path: where to.
        :param account: Slurm account of the job; default: the connection's.
        :param job_name: name of the job.
        :param time_limit: its time limit, ``HH:MM:SS``.
        :param after_job_id: start when that job has succeeded; when it fails, never.
        :param system: machine name; default: the connection's.
        :endpoint: POST /storage/xfer-internal/rsync
        """
        form = self._two(path, target_path)
        return (
            yield from self._internal(
                "rsync", form, _options(account, job_name, time_limit, after_job_id), system
            )
        )

    def transfer_rm(
        self,
        path: str,
        *,
        account: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        after_job_id: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Remove a path, a directory with all in it, by a job. A path that is not there counts as removed.

        :param path: absolute path.
        :param account: Slurm account of the job; default: the connection's.
        :param job_name: name of the job.
        :param time_limit: its time limit, ``HH:MM:SS``.
        :param after_job_id: start when that job has succeeded; when it fails, never.
        :param system: machine name; default: the connection's.
        :endpoint: POST /storage/xfer-internal/rm
        """
        form = {"targetPath": self._path(path)}
        return (
            yield from self._internal(
                "rm", form, _options(account, job_name, time_limit, after_job_id), system
            )
        )

    def transfer_compress(
        self,
        path: str,
        target_path: str,
        *,
        match_pattern: str | None = None,
        dereference: bool = False,
        compression: str = "gzip",
        account: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        after_job_id: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Make a gzipped tar archive by a job.

        :param path: absolute path of a file or directory.
        :param target_path: the archive.
        :param match_pattern: v2 only.
        :param dereference: archive what links point to.
        :param compression: ``gzip``; v1 has no other.
        :param account: Slurm account of the job; default: the connection's.
        :param job_name: name of the job.
        :param time_limit: its time limit, ``HH:MM:SS``.
        :param after_job_id: start when that job has succeeded; when it fails, never.
        :param system: machine name; default: the connection's.
        :endpoint: POST /storage/xfer-internal/compress
        """
        form = self._archive(path, target_path, match_pattern, compression)
        form["dereference"] = "true" if dereference else None
        options = _options(account, job_name, time_limit, after_job_id)
        return (yield from self._internal("compress", form, options, system))

    def transfer_extract(
        self,
        path: str,
        target_path: str,
        *,
        compression: str = "gzip",
        account: str | None = None,
        job_name: str | None = None,
        time_limit: str | None = None,
        after_job_id: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Unpack an archive by a job.

        :param path: the archive; its ending tells its kind.
        :param target_path: an existing directory.
        :param compression: ``none``, ``bzip2``, ``gzip`` or ``xz``; must agree with the ending.
        :param account: Slurm account of the job; default: the connection's.
        :param job_name: name of the job.
        :param time_limit: its time limit, ``HH:MM:SS``.
        :param after_job_id: start when that job has succeeded; when it fails, never.
        :param system: machine name; default: the connection's.
        :endpoint: POST /storage/xfer-internal/extract
        """
        form = self._extraction(path, target_path, compression)
        options = _options(account, job_name, time_limit, after_job_id)
        return (yield from self._internal("extract", form, options, system))

    def transfer_upload(
        self, path: str, size: int, *, account: str | None = None, system: str | None = None
    ) -> Flow[FormTicket]:
        """Start a staged upload: get a presigned form for the object store. FirecREST fetches the object
        afterwards.

        :param path: absolute path of the file to write; what is there is replaced.
        :param size: bytes; at most 5 GiB, S3's limit for one form.
        :param account: not used by v1's transfers.
        :param system: machine name; default: the connection's.
        :returns: the form, and the task to follow.
        :endpoint: POST /storage/xfer-external/upload, GET /tasks/{id} until 111
        """
        if size > MAX_UPLOAD:
            raise InvalidRequestError(
                f"{size} bytes: FirecREST v1 uploads by one form, which holds 5 GiB at most."
                " Split the file, or use FirecREST v2."
            )
        target = paths.check(path, self.rules.staged_upload, field="target_path")
        form = {"targetPath": target, "sourcePath": paths.basename(target)}
        request = self._send("POST", "/storage/xfer-external/upload", system, Kind.CREATE, form)
        task_id = yield from self._start_task(request)
        task = yield from self._end_of_task(task_id, FINAL | {"111"}, 60.0)
        if task.status != "111":
            raise TransferFailedError(
                f"FirecREST gave no form to upload with: {task.reason or task.meaning}."
            )
        try:
            parameters = task.data["msg"]["parameters"]
            fields = {str(key): str(value) for key, value in parameters["data"].items()}
            return FormTicket(task_id, str(parameters["url"]), fields)
        except (KeyError, TypeError, AttributeError):
            raise TransferFailedError("FirecREST's form to upload with cannot be read.") from None

    def transfer_download(
        self, path: str, *, account: str | None = None, system: str | None = None
    ) -> Flow[str]:
        """Start a staged download: FirecREST copies the file into the object store.

        :param path: absolute path of a file.
        :param account: not used by v1's transfers.
        :param system: machine name; default: the connection's.
        :returns: id of the task to follow; at 117 its data hold the URL (:meth:`download_url`).
        :raises NotFoundError: no such file.
        :endpoint: POST /storage/xfer-external/download
        """
        source = paths.check(path, self.rules.staged_download, field="source_path")
        request = self._send(
            "POST", "/storage/xfer-external/download", system, Kind.CREATE, {"sourcePath": source}
        )
        return (yield from self._start_task(request))

    def download_url(self, task_id: str) -> Flow[str]:
        """Return the presigned URL of a staged download that is ready. It is a credential.

        :param task_id: the task of :meth:`transfer_download`.
        :raises TransferFailedError: the task is not at 117.
        :endpoint: GET /tasks/{task_id}
        """
        task = yield from self.task(task_id)
        url = task.data.get("url") if isinstance(task.data, dict) else None
        if task.status != "117" or not url:
            raise TransferFailedError(f"Task {task_id} has no URL: it is at {task.status} ({task.meaning}).")
        return str(url)

    def invalidate(self, task_id: str) -> Flow[None]:
        """Tell FirecREST that a staged file is not needed any more. It answers that all is well, and may
        keep the object.

        :param task_id: the task of :meth:`transfer_download`.
        :endpoint: POST /storage/xfer-external/invalidate
        """
        yield Request(
            "POST",
            "/storage/xfer-external/invalidate",
            Kind.IDEMPOTENT,
            headers={"X-Task-Id": task_id},
            form={},
        )

    def _two(self, path: str, target_path: str) -> dict[str, Any]:
        return {"sourcePath": self._path(path), "targetPath": self._path(target_path, "target_path")}


def _options(
    account: str | None, job_name: str | None, time_limit: str | None, after_job_id: str | None
) -> dict[str, Any]:
    return {"account": account, "jobName": job_name, "time": time_limit, "stageOutJobId": after_job_id}
