"""Moving one file each way, with proof: which way to take, what to check before, what to compare after.

Built on the calls and the engine for large files (`staging`). Blocking only: data moves in workers. The steps
are apart so that an operator can wait for the server's job in between without holding a worker, and so that a
later process can go on where one was killed.
"""

from __future__ import annotations

from .atomic.upload import start_atomic_upload
from .download import StagedDownload, download_direct, finish_download, plan_download, stage_download
from .plan import DownloadPlan, TransferResult, UploadPlan, staged_instead
from .resume import UploadState, continued_download
from .sending import StagedUpload, stage_upload
from .upload import cancel_staged, finish_upload, upload_direct
from .upload_plan import plan_upload

__all__ = [
    "DownloadPlan",
    "StagedDownload",
    "StagedUpload",
    "TransferResult",
    "UploadPlan",
    "UploadState",
    "cancel_staged",
    "continued_download",
    "download_direct",
    "finish_download",
    "finish_upload",
    "plan_download",
    "plan_upload",
    "stage_download",
    "stage_upload",
    "staged_instead",
    "start_atomic_upload",
    "upload_direct",
]
