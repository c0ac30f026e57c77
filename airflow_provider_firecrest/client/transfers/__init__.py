"""Moving one file each way, with proof: which way to take, what to check before, what to compare after.

Built on the calls (`v2`) and the engine for large files (`staging`). Blocking only: data moves in workers.
The steps are
apart so that an operator can wait for the server's job in between without holding a worker.
"""

from __future__ import annotations

from .download import StagedDownload, download_direct, finish_download, plan_download, stage_download
from .plan import DownloadPlan, TransferResult, UploadPlan, staged_instead
from .upload import StagedUpload, cancel_staged, finish_upload, plan_upload, stage_upload, upload_direct

__all__ = [
    "DownloadPlan",
    "StagedDownload",
    "StagedUpload",
    "TransferResult",
    "UploadPlan",
    "cancel_staged",
    "download_direct",
    "finish_download",
    "finish_upload",
    "plan_download",
    "plan_upload",
    "stage_download",
    "stage_upload",
    "staged_instead",
    "upload_direct",
]
