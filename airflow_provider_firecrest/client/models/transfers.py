"""The server's own jobs behind file operations, and what a staged transfer hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TransferJob:
    """The server's own Slurm job behind a file operation. Its state proves nothing; its logs and the file
    system do.
    """

    job_id: str
    system: str
    working_dir: str
    output_log: str
    error_log: str

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> TransferJob:
        row = answer["transferJob"]
        logs = row.get("logs") or {}
        return cls(
            job_id=str(row["jobId"]),
            system=str(row.get("system", "")),
            working_dir=str(row.get("workingDirectory", "")),
            output_log=str(logs.get("outputLog", "")),
            error_log=str(logs.get("errorLog", "")),
        )


@dataclass(frozen=True)
class UploadTicket:
    """What `transfer/upload` hands out. The URLs are credentials: they are left out of ``repr``.

    :ivar part_urls: one presigned PUT URL per part, in order.
    :ivar complete_url: presigned POST URL of CompleteMultipartUpload.
    :ivar part_size: bytes per part (the last one may be smaller).
    """

    transfer: TransferJob
    part_urls: tuple[str, ...] = field(repr=False)
    complete_url: str = field(repr=False)
    part_size: int

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> UploadTicket:
        directives = answer.get("transferDirectives") or answer
        return cls(
            transfer=TransferJob.from_v2(answer),
            part_urls=tuple(_either(directives, "partsUploadUrls", "parts_upload_urls") or ()),
            complete_url=str(_either(directives, "completeUploadUrl", "complete_upload_url") or ""),
            part_size=int(_either(directives, "maxPartSize", "max_part_size") or 0),
        )


@dataclass(frozen=True)
class DownloadTicket:
    """What `transfer/download` hands out: a presigned GET URL, 404 until the job behind it is done."""

    transfer: TransferJob
    url: str = field(repr=False)

    @classmethod
    def from_v2(cls, answer: Mapping[str, Any]) -> DownloadTicket:
        return cls(
            transfer=TransferJob.from_v2(answer),
            url=str(_either(answer.get("transferDirectives") or answer, "downloadUrl", "download_url") or ""),
        )


@dataclass(frozen=True)
class FormTicket:
    """What FirecREST v1 hands out for a staged upload:

    a form for one POST to the object store, file last. A credential.
    """

    task_id: str
    url: str = field(repr=False)
    fields: Mapping[str, str] = field(repr=False)


def _either(row: Mapping[str, Any], name: str, older: str) -> Any:
    """Return a value by the name it has, or by the one that older servers give it."""
    return row[name] if name in row else row.get(older)
