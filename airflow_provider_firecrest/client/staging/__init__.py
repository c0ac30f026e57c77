"""Moving large files between this machine and an object store, through presigned URLs.

Knows S3's multipart upload and ranged download, and local files. Knows nothing of FirecREST or Airflow, and
never sees a token: the URLs it is given are the only credentials, and they appear in no log and no exception.

    from airflow_provider_firecrest.client.staging import atomic_target, get_object, put_object

    staged = put_object(Path("input.nc"), ticket.part_urls, ticket.complete_url, ticket.part_size)
    with atomic_target(Path("result.nc")) as temporary:
        staged = get_object(url, temporary, size=size)
"""

from __future__ import annotations

from .answers import has_expired
from .download import get_object
from .files import atomic_target, sha256_of
from .form import post_object
from .options import Progress, Staged, StagingOptions, TransferCancelledError
from .partial import may_pass, resumable_target
from .redaction import guard_logs
from .upload import put_object

guard_logs()

__all__ = [
    "Progress",
    "Staged",
    "StagingOptions",
    "TransferCancelledError",
    "atomic_target",
    "get_object",
    "has_expired",
    "may_pass",
    "post_object",
    "put_object",
    "resumable_target",
    "sha256_of",
]
