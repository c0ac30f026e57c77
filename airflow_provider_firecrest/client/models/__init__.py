"""FirecREST's answers as frozen dataclasses, in the field's words.

Knows how answers are shaped and how to read them tolerantly: unknown fields are ignored, missing ones are
``None``, ids are text, sizes are bytes, times are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

from .files import FileStat, RemoteFile
from .jobs import Job, JobElement, JobMetadata, JobStep
from .systems import FileSystem, Node, Partition, Reservation, ServiceHealth, System, UserInfo
from .tasks import Task
from .transfers import DownloadTicket, FormTicket, TransferJob, UploadTicket

__all__ = [
    "DownloadTicket",
    "FileStat",
    "FileSystem",
    "FormTicket",
    "Job",
    "JobElement",
    "JobMetadata",
    "JobStep",
    "Node",
    "Partition",
    "RemoteFile",
    "Reservation",
    "ServiceHealth",
    "System",
    "Task",
    "TransferJob",
    "UploadTicket",
    "UserInfo",
]
