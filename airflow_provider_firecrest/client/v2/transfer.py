"""FirecREST v2, `/filesystem/{system}/transfer`: file operations as Slurm jobs of the server's.

These calls return at once with a job. What the job says proves nothing: failed ones end COMPLETED 0:0 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import paths
from ..errors import InvalidRequestError
from ..flow import Flow, Kind, Request
from ..models import DownloadTicket, TransferJob, UploadTicket
from .base import Base
from .files import archive_body


class Transfer(Base):
    """Flows over `/filesystem/{system}/transfer`."""

    def _transfer(
        self, call: str, system: str | None, body: Mapping[str, Any], account: str | None
    ) -> Request:
        # Sites whose directives name {account} demand it, the others ignore it.
        account = self._account(account)
        full = {**body, **({"account": account} if account else {})}
        return Request("POST", f"/filesystem/{self._system(system)}/transfer/{call}", Kind.CREATE, json=full)

    def transfer_upload(
        self, path: str, size: int, *, account: str | None = None, system: str | None = None
    ) -> Flow[UploadTicket]:
        """Start a staged upload: get presigned URLs for the parts, and a job that waits for the object and
        writes ``path``.

        The job runs from this moment on and holds its slot until the object arrives: cancel it when the
        sending fails.

        :param path: absolute path of the file to write; what is there is replaced.
        :param size: bytes; at least 1 (an empty file cannot be staged).
        :param account: Slurm account of the job, where the site wants one; default: the connection's.
        :param system: system name; default: the connection's.
        :raises AmbiguousError: the job may be there.
        :endpoint: POST /filesystem/{system}/transfer/upload
        """
        if size < 1:
            raise InvalidRequestError("An empty file cannot be staged; use a direct upload.")
        body = {
            "path": paths.check(path, paths.STAGED_UPLOAD),
            "transferDirectives": {"transferMethod": "s3", "fileSize": size},
        }
        return (yield from self._ask(self._transfer("upload", system, body, account), UploadTicket.from_v2))

    def transfer_download(
        self, path: str, *, account: str | None = None, system: str | None = None
    ) -> Flow[DownloadTicket]:
        """Start a staged download: a job that puts the file into the object store, and the presigned URL to
        get it from.

        :param path: absolute path of a file that is not empty.
        :param account: Slurm account of the job, where the site wants one; default: the connection's.
        :param system: system name; default: the connection's.
        :returns: the ticket; its URL answers 404 until the job is done.
        :raises NotFoundError: no such file.
        :endpoint: POST /filesystem/{system}/transfer/download
        """
        body = {
            "path": paths.check(path, paths.STAGED_DOWNLOAD),
            "transferDirectives": {"transferMethod": "s3"},
        }
        return (
            yield from self._ask(self._transfer("download", system, body, account), DownloadTicket.from_v2)
        )

    def transfer_mv(
        self, path: str, target_path: str, *, account: str | None = None, system: str | None = None
    ) -> Flow[TransferJob]:
        """Move a path by a job.

        :param path: absolute path.
        :param target_path: where to; replaced when it is a file, entered when it is a directory.
        :param account: Slurm account of the job; default: the connection's.
        :param system: system name; default: the connection's.
        :endpoint: POST /filesystem/{system}/transfer/mv
        """
        body = _two_paths(path, target_path)
        return (yield from self._ask(self._transfer("mv", system, body, account), TransferJob.from_v2))

    def transfer_cp(
        self,
        path: str,
        target_path: str,
        *,
        dereference: bool = False,
        account: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Copy a path by a job.

        :param path: absolute path.
        :param target_path: where to; a directory that exists is entered (``target/name``).
        :param dereference: copy what links point to.
        :param account: Slurm account of the job; default: the connection's.
        :param system: system name; default: the connection's.
        :endpoint: POST /filesystem/{system}/transfer/cp (cp -R)
        """
        body = {**_two_paths(path, target_path), "dereference": dereference}
        return (yield from self._ask(self._transfer("cp", system, body, account), TransferJob.from_v2))

    def transfer_rm(
        self, path: str, *, account: str | None = None, system: str | None = None
    ) -> Flow[TransferJob]:
        """Remove a path, a directory with all in it, by a job.

        :param path: absolute path.
        :param account: Slurm account of the job; default: the connection's.
        :param system: system name; default: the connection's.
        :endpoint: DELETE /filesystem/{system}/transfer/rm
        """
        request = Request(
            "DELETE",
            f"/filesystem/{self._system(system)}/transfer/rm",
            Kind.CREATE,
            params={"path": paths.check(path, paths.FILE_JOB), "account": self._account(account)},
        )
        return (yield from self._ask(request, TransferJob.from_v2))

    def transfer_compress(
        self,
        path: str,
        target_path: str,
        *,
        match_pattern: str | None = None,
        dereference: bool = False,
        compression: str = "gzip",
        account: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Make a tar archive by a job. A missing source makes an empty archive, and the job is COMPLETED.

        :param path: absolute path of a file or directory.
        :param target_path: the archive.
        :param match_pattern: only names that match this regular expression.
        :param dereference: archive what links point to.
        :param compression: ``none``, ``bzip2``, ``gzip`` or ``xz``.
        :param account: Slurm account of the job; default: the connection's.
        :param system: system name; default: the connection's.
        :endpoint: POST /filesystem/{system}/transfer/compress
        """
        body = archive_body(path, target_path, paths.FILE_JOB, compression)
        if not match_pattern:
            paths.check_archived(path)
        body["dereference"] = dereference
        if match_pattern:
            body["matchPattern"] = paths.check_argument(
                match_pattern, paths.FILE_JOB.forbidden.pattern, field="match_pattern"
            )
        return (yield from self._ask(self._transfer("compress", system, body, account), TransferJob.from_v2))

    def transfer_extract(
        self,
        path: str,
        target_path: str,
        *,
        compression: str = "gzip",
        account: str | None = None,
        system: str | None = None,
    ) -> Flow[TransferJob]:
        """Unpack a tar archive by a job.

        :param path: the archive.
        :param target_path: an existing directory.
        :param compression: ``none``, ``bzip2``, ``gzip`` or ``xz``.
        :param account: Slurm account of the job; default: the connection's.
        :param system: system name; default: the connection's.
        :endpoint: POST /filesystem/{system}/transfer/extract
        """
        body = archive_body(path, target_path, paths.FILE_JOB, compression)
        return (yield from self._ask(self._transfer("extract", system, body, account), TransferJob.from_v2))


def _two_paths(path: str, target_path: str) -> dict[str, Any]:
    return {
        "path": paths.check(path, paths.FILE_JOB),
        "targetPath": paths.check(target_path, paths.FILE_JOB, field="target_path"),
    }
