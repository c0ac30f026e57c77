"""Moving a whole directory each way, with proof: one archive, and a digest of the tree at both ends.

The steps are apart, so that an operator can wait for the jobs in between without holding a worker:
``start_upload`` or ``start_download`` goes as far as it can and returns a :class:`DirectoryTransfer` that
says what to wait for (plain JSON, but for a download's URL); ``stepwise.go_on`` takes it on from there, until
there is a :class:`DirectoryResult`. Whoever keeps what ``Watch.on_change`` is told can hand it to a later
process, whose ``start_...`` goes on with it. What is on the system meanwhile stands in one directory of the
transfer's own (``workdir``); the target gets its name only when the whole tree is there and is the right one.

Knows where it begins. The steps stand in ``upload`` and ``download``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...sync_client import FirecrestClient
from ..plan import local_path
from ..steps.resume import giving_up, giving_up_earlier
from ..steps.state import StepwiseTransfer, Watch
from . import download as directory_download
from . import upload as directory_upload
from .state import DirectoryOptions, DirectoryResult, DirectoryTransfer, Next

__all__ = [
    "DirectoryOptions",
    "DirectoryResult",
    "DirectoryTransfer",
    "Next",
    "fetch_again",
    "start_download",
    "start_upload",
]


def start_upload(
    client: FirecrestClient,
    source: Path | str,
    target: str,
    *,
    system: str | None = None,
    options: DirectoryOptions | None = None,
    watch: Watch | None = None,
    earlier: StepwiseTransfer | None = None,
) -> Next:
    """Begin to upload a directory: check, pack, send. Returns what to wait for.

    :param client: the client.
    :param source: a local directory.
    :param target: absolute path of the directory to be; with a slash at its end, the directory that gets the
        source under its name.
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :param earlier: how far an earlier process got; what still holds of it is gone on with, the rest given up.
    :returns: what to wait for before :func:`go_on`, or the result.
    :raises InvalidRequestError: a path or something in the tree cannot be moved; the message names it.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir; the archive goes as every file does; POST .../jobs
    """
    local = local_path(source, field="source_path")
    options, watch = options or DirectoryOptions(), watch or Watch()
    with giving_up_earlier(client, earlier, watch.again):
        return directory_upload.start(client, local, target, system, options, watch, earlier)


def start_download(
    client: FirecrestClient,
    source: str,
    target: Path | str,
    *,
    system: str | None = None,
    options: DirectoryOptions | None = None,
    watch: Watch | None = None,
    earlier: StepwiseTransfer | None = None,
) -> Next:
    """Begin to download a directory: check, and have it packed. Returns what to wait for.

    :param client: the client.
    :param source: absolute path of a directory on the system; its parent must be writable.
    :param target: local path of the directory to be; with a slash at its end, the directory that gets the
        source under its name.
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :param earlier: how far an earlier process got; what still holds of it is gone on with, the rest given up.
    :returns: what to wait for before :func:`go_on`, or the result.
    :raises InvalidRequestError: a path cannot be moved; the message names it.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir, POST /compute/{system}/jobs
    """
    options, watch = options or DirectoryOptions(), watch or Watch()
    with giving_up_earlier(client, earlier, watch.again):
        return directory_download.start(client, source, target, system, options, watch, earlier)


def fetch_again(client: FirecrestClient, transfer: DirectoryTransfer, *, watch: Watch | None = None) -> Next:
    """Have a packed archive put into the object store once more: the URL of the first time was lost.

    :param client: the client.
    :param transfer: a download in the phase ``staging``.
    :param watch: who is told.
    :returns: what to wait for next, or the result.
    """
    watch = watch or Watch()
    with giving_up(client, transfer, watch.again):
        return directory_download.fetch(client, replace(transfer, staged=None), watch)
