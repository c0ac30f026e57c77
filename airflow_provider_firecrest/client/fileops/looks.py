"""Looking at the file system: what stands at a path, what a directory holds, whether two things are equal.

Reads only. What is too large for FirecREST's direct calls is compared by a small batch job that reads.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from .. import limits, paths
from ..errors import (
    AmbiguousError,
    CommandTimeoutError,
    FirecrestError,
    NotFoundError,
    TooLargeError,
    TransferFailedError,
)
from ..models import FileStat
from ..sync_client import FirecrestClient
from . import scripts
from .operation import Look, PathType

logger = logging.getLogger("airflow_provider_firecrest.transfers")

PATIENCE = 15.0
"""Seconds: a parallel file system may show another node's doing a little later."""

CHECKSUM_LIMIT = 512 * 1024 * 1024
"""Bytes that a login node certainly reads within the checksum call's five seconds."""

Tree = dict[str, tuple[str, int | None]]
"""Entries of a directory by relative path: type, and the size of files."""


def look(client: FirecrestClient, path: str, system: str, *, follow: bool = False) -> Look | None:
    """Return what stands at a path, or None.

    :param client: the client.
    :param path: absolute path.
    :param system: system name.
    :param follow: look at what a link points to.
    :endpoint: GET .../ops/stat
    """
    try:
        found = client.stat(path.rstrip("/") or "/", dereference=follow, system=system)
    except NotFoundError:
        return None
    return Look(
        path_type=_type(found),
        size=found.size,
        mtime=found.mtime,
        ctime=found.ctime,
        inode=found.inode,
        device=found.device,
    )


def _type(found: FileStat) -> PathType:
    if found.is_dir:
        return "directory"
    if found.is_link:
        return "link"
    return "file" if found.is_file else "other"


def settled(check: Callable[[], str | None], patience: float | None = None) -> str | None:
    """Repeat a check until it finds no problem, or for as long as the file system may lag behind.

    :param check: returns what is wrong, or None.
    :param patience: seconds; default :data:`PATIENCE`.
    :returns: what is still wrong, or None.
    """
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        problem = check()
        if problem is None or time.monotonic() >= deadline:
            return problem
        time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))


def tree(client: FirecrestClient, path: str, system: str) -> Tree:
    """List a directory with all below it.

    :raises TooLargeError: too many entries for one answer.
    :raises CommandTimeoutError: too many entries for five seconds.
    :endpoint: GET .../ops/ls (recursive)
    """
    rows = client.ls(path.rstrip("/"), recursive=True, show_hidden=True, system=system)
    return {
        row.name: (row.file_type, row.size if row.file_type == "-" else None)
        for row in rows
        if row.name.rsplit("/", 1)[-1] not in (".", "..")
    }


def tree_digest(client: FirecrestClient, path: str, system: str) -> str | None:
    """Return a digest of :func:`tree`, or None for a directory that is too large to list."""
    try:
        entries = sorted(tree(client, path, system).items())
    except (TooLargeError, CommandTimeoutError):
        return None
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def difference(source: Tree, copy: Tree, *, exact: bool) -> str | None:
    """Say what of a directory is missing or different in its copy.

    :param exact: the copy must hold nothing else.
    :returns: a sentence, or None when nothing is.
    """
    missing = sorted(name for name in source if name not in copy)
    other = sorted(name for name in source if name in copy and source[name] != copy[name])
    more = sorted(name for name in copy if name not in source) if exact else []
    for names, what in (
        (missing, "missing"),
        (other, "of another type or size"),
        (more, "there in addition"),
    ):
        if names:
            return f"{len(names)} of {len(source)} entries are {what} (the first: {names[0]!r})"
    return None


def is_part_of(client: FirecrestClient, part: str, whole: str, system: str) -> bool:
    """Return whether all that a directory holds is in another one, too, by names and types.

    :returns: False also when they cannot be listed.
    """
    try:
        mine, theirs = tree(client, part, system), tree(client, whole, system)
    except FirecrestError:
        return False
    return all(name in theirs and theirs[name][0] == kind for name, (kind, _) in mine.items())


def trees_differ(
    client: FirecrestClient, source: str, copy: str, *, exact: bool, system: str, account: str | None
) -> str | None:
    """Compare a directory with its copy by names, types and sizes, however large they are.

    :param exact: the copy must hold nothing else.
    :returns: what differs, or None.
    :endpoint: GET .../ops/ls; for large directories a batch job running find
    """
    try:
        mine, theirs = tree(client, source, system), tree(client, copy, system)
    except NotFoundError as error:
        return f"it cannot be listed ({error.message})"
    except (TooLargeError, CommandTimeoutError):
        text = scripts.compare_trees(source, copy, exact=exact)
        return _by_job(client, text, paths.parent(copy), system, account)
    return difference(mine, theirs, exact=exact)


def files_differ(
    client: FirecrestClient, source: str, copy: str, size: int, *, system: str, account: str | None
) -> str | None:
    """Compare the bytes of two files on the system, by the cheapest way that can carry names and size.

    :param size: bytes that both have.
    :returns: what differs, or None.
    :endpoint: GET .../ops/checksum; for names with blanks (v2) GET .../ops/download; for large files a batch
        job running cmp
    """
    rule = client.api.rules.checksum
    if paths.can_carry(source, rule) and paths.can_carry(copy, rule):
        try:
            one, other = client.checksum(source, system=system), client.checksum(copy, system=system)
        except CommandTimeoutError:
            return _by_job(client, scripts.compare_files(source, copy), paths.parent(copy), system, account)
        return None if one == other else f"its SHA-256 is {other} instead of {one}"
    limit = client.system_info(system=system).max_ops_file_size
    if size <= limits.direct_download_limit(client.api.generation, limit):
        same = client.download(source, system=system) == client.download(copy, system=system)
        return None if same else "its content differs"
    return _by_job(client, scripts.compare_files(source, copy), paths.parent(copy), system, account)


def with_cheap_content(client: FirecrestClient, path: str, found: Look, system: str) -> Look:
    """Add to a look what tells the content, as far as a direct call can find it out."""
    if found.is_dir:
        return replace(found, tree=tree_digest(client, path, system))
    if not found.is_file or found.size > CHECKSUM_LIMIT:
        return found
    if not paths.can_carry(path, client.api.rules.checksum):
        return found
    try:
        return replace(found, sha256=client.checksum(path, system=system))
    except CommandTimeoutError:
        return found


def _by_job(
    client: FirecrestClient, script: str, directory: str, system: str, account: str | None
) -> str | None:
    """Run a batch job that compares and fails when there is a difference."""
    log = paths.join(directory, f".firecrest-compare-{uuid.uuid4().hex}.log")
    logger.info("Too large for direct calls; comparing in a batch job.")
    job_id = _submit_reading(client, script, directory, log, system, account)
    try:
        job = client.wait_for_job(job_id, poll_interval=5.0, system=system)
        said = read_log(client, log, system).strip()
    except BaseException:
        quietly_cancel(client, job_id, system)
        raise
    finally:
        quietly_remove(client, log, system)
    if job.succeeded:
        return None
    if scripts.DIFFERENT in said:
        return said.replace(scripts.DIFFERENT, "").strip() or "it differs"
    raise TransferFailedError(
        f"It could not be compared: job {job_id} ended {job.state}. It said: {said or '(nothing)'}"
    )


def _submit_reading(
    client: FirecrestClient, script: str, directory: str, log: str, system: str, account: str | None
) -> str:
    """Submit a job that only reads: after a lost answer a second one does no harm."""

    def submit() -> str:
        return client.submit_job(
            script,
            working_dir=directory,
            name="firecrest-compare",
            stdout=log.replace("%", "%%"),
            account=account,
            system=system,
        )

    try:
        return submit()
    except AmbiguousError:
        return submit()


def read_log(client: FirecrestClient, path: str, system: str) -> str:
    """Return the end of a job's log; empty when there is none.

    :endpoint: GET .../ops/tail
    """
    if not path:
        return ""
    try:
        return client.tail(path, size=8192, system=system)
    except NotFoundError:
        return ""


def quietly_cancel(client: FirecrestClient, job_id: str, system: str) -> None:
    """Cancel a job; a failure is logged only."""
    try:
        if client.cancel_job(job_id, system=system):
            logger.info("Cancelled job %s.", job_id)
    except FirecrestError as error:
        logger.warning("Job %s could not be cancelled: %s", job_id, error.message)


def quietly_remove(client: FirecrestClient, path: str, system: str) -> bool:
    """Remove a file of ours; a failure is logged only.

    :returns: whether it is gone.
    """
    try:
        client.rm(path, system=system)
    except NotFoundError:
        return True
    except FirecrestError as error:
        logger.warning("%s could not be removed: %s", path, error.message)
        return False
    return True
