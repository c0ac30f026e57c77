"""Giving a proven upload its final name: FirecREST v1's rename, and what became of it, decided by looking.

The server runs ``mv --force``: a file of that name is replaced in one step, a link is replaced by the file,
and into a directory of that name the file is moved. So there is a look before it and one after it.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from ..._crash_points import crash_point
from .. import paths
from ..errors import (
    AmbiguousError,
    ConflictError,
    FirecrestError,
    NotFoundError,
    RequestTimeoutError,
    TransferFailedError,
)
from ..models import FileStat
from ..sync_client import FirecrestClient
from . import part, proof
from .plan import IfExists

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_TRIES = 3
"""Renames of which no answer came; of each it can be seen afterwards whether it was done."""

_PERMISSIONS = 0o777
_MAY_HAVE_ACTED = (AmbiguousError, RequestTimeoutError, NotFoundError)


class Named(Protocol):
    """An upload that was written as a part."""

    @property
    def target(self) -> str: ...
    @property
    def part(self) -> str | None: ...
    @property
    def size(self) -> int: ...
    @property
    def system(self) -> str: ...
    @property
    def account(self) -> str | None: ...
    @property
    def if_exists(self) -> IfExists: ...


def give_name(client: FirecrestClient, upload: Named, proven: FileStat, sha256: str) -> None:
    """Rename the part onto its target, and see that it is there.

    :param client: a client of FirecREST v1.
    :param upload: the upload.
    :param proven: the part's stat, when it was proven.
    :param sha256: its digest.
    :raises ConflictError: something is at the target that must not be replaced; the part is still there.
    :raises TransferFailedError: what is at the target after the rename is something else.
    :endpoint: GET /utilities/stat, PUT /utilities/rename; where they differ, PUT /utilities/chmod and chown
    """
    source = str(upload.part)
    replaced = _what_is_replaced(client, upload)
    if replaced is not None:
        _pass_on(client, upload, replaced, proven)
    crash_point("before_rename")
    for left in reversed(range(_TRIES)):
        lost = _rename(client, source, upload)
        done = lost is None or isinstance(lost, NotFoundError)
        if _is_named(client, upload, proven, sha256, within=proof.APPEAR_WITHIN if done else 0.0):
            crash_point("after_rename")
            return
        if done:
            break
        if not left:
            raise lost or AssertionError
    # Somebody made a directory of that name after the look.
    part.remove(client, paths.join(upload.target, paths.basename(source)), upload.system)
    raise TransferFailedError(
        f"{upload.target} on {upload.system} is not the file that was proven as {source} and renamed:"
        " somebody else wrote there at the same time."
    )


def has_content(client: FirecrestClient, upload: Named, sha256: str) -> bool:
    """Return whether the target is what was to be uploaded: an earlier try had renamed it already.

    :param client: the client.
    :param upload: the upload.
    :param sha256: digest of the source.
    """
    try:
        found = client.stat(upload.target, dereference=False, system=upload.system)
    except NotFoundError:
        return False
    if not found.is_file or found.size != upload.size:
        return False
    return sha256 == proof.remote_sha256(client, upload.target, upload.size, upload.system, upload.account)


def _what_is_replaced(client: FirecrestClient, upload: Named) -> FileStat | None:
    try:
        found = client.stat(upload.target, dereference=False, system=upload.system)
    except NotFoundError:
        return None
    where = f"target_path: {upload.target} on {upload.system}"
    if not found.is_file:
        raise ConflictError(f"{where} became something else than a regular file while it was uploaded.")
    if upload.if_exists != "overwrite":
        raise ConflictError(
            f"{where} appeared while it was uploaded ({found.size} bytes); it is left as it is."
            " if_exists='overwrite' replaces it."
        )
    return found


def _pass_on(client: FirecrestClient, upload: Named, replaced: FileStat, proven: FileStat) -> None:
    """Give the part group and permissions of the file that it replaces, as if that had been written over."""
    source, system = str(upload.part), upload.system
    mode = replaced.mode & _PERMISSIONS
    try:
        if replaced.gid != proven.gid:
            [entry] = client.ls(upload.target, system=system)
            client.chown(source, group=entry.group or str(replaced.gid), system=system)
    except FirecrestError as error:
        logger.warning("%s does not keep its group: %s", upload.target, error.message)
        # Whichever group it has instead gets no more than everybody.
        mode = mode & 0o707 | mode & (mode << 3) & 0o070
    try:
        if mode != proven.mode & _PERMISSIONS:
            client.chmod(source, f"{mode:o}", system=system)
    except FirecrestError as error:
        logger.warning("%s does not keep its permissions: %s", upload.target, error.message)


def _rename(client: FirecrestClient, source: str, upload: Named) -> FirecrestError | None:
    """Rename; return the error when it leaves it open whether that was done."""
    try:
        client.rename(source, upload.target, system=upload.system)
    except _MAY_HAVE_ACTED as error:
        logger.info("Looking whether %s was renamed: %s", source, error.message)
        return error
    return None


def _is_named(
    client: FirecrestClient, upload: Named, proven: FileStat, sha256: str, *, within: float
) -> bool:
    """Return whether the target is the proven file; another node may show it a little later."""
    deadline = time.monotonic() + within
    while not _is_it(client, upload, proven, sha256):
        if time.monotonic() >= deadline:
            return False
        time.sleep(1.0)
    return True


def _is_it(client: FirecrestClient, upload: Named, proven: FileStat, sha256: str) -> bool:
    try:
        found = client.stat(upload.target, dereference=False, system=upload.system)
    except NotFoundError:
        return False
    if (found.inode, found.device, found.size) == (proven.inode, proven.device, proven.size):
        return True
    # Not every file system shows the same numbers on every node: without the part, the content decides.
    return not client.exists(str(upload.part), system=upload.system) and has_content(client, upload, sha256)
