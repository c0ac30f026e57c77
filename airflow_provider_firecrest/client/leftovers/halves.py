"""Removing what FirecREST v2's job of a staged upload leaves when it ends in the middle: a half of the file
under its final name, and the piece it was at.

The job's own log decides. Before the line that says that it begins it has touched nothing, and what is at the
target is somebody's; after the line that says that it is done, the file is whole. In between, the job has
removed what was there before. A flow, so it serves both drivers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..errors import FirecrestError, NotFoundError
from ..flow import Flow
from .leftover import Leftover
from .pieces import piece_of, pieces_listed, pieces_there

if TYPE_CHECKING:
    from ..models import FileStat, Job

logger = logging.getLogger("airflow_provider_firecrest.transfers")

BEGAN = "Downloading file to: "
"""In the line that the job writes right before it removes what is at its target."""

DONE = "File was successfully downloaded"
"""In its last line."""

_LOG_END = 8192
_CLOCKS_APART = 5
"""Seconds by which the clocks of the file system and of the scheduler may differ."""


def remove_half(api: Any, left: Leftover) -> Flow[bool]:
    """Remove a half and the piece beside it, if the job left them.

    :param api: the client's ``api``.
    :param left: the target, the job that wrote it and its log.
    :returns: whether nothing of it is left; if not, the log says where it is and why.
    :raises FirecrestError: something could not be looked at, or not removed.
    :endpoint: GET .../jobs/{job_id}, GET .../ops/tail, GET .../ops/stat, GET .../ops/ls, DELETE .../ops/rm
    """
    job = yield from _ended_job(api, left)
    if job is None:
        logger.error(
            "Job %s is not seen to be over: what it has written of %s on %s, and %s beside it, is left.",
            left.job_id,
            left.path,
            left.system,
            piece_of(left.path, 1) + " ...",
        )
        return False
    log = yield from _log_of(api, left)
    if log is None:
        return False
    if not _ended_in_the_middle(log):
        return True
    there = yield from _stat(api, left.path, left.system)
    gone = there is None or (yield from _remove(api, left, job, left.path, there))
    for path, found in (yield from _pieces(api, left, there)):
        gone = (yield from _remove(api, left, job, path, found)) and gone
    if gone:
        # Who comes later to clear up after the same job shall not find its word, and take for a half what
        # another upload has written since.
        yield from _forget_log(api, left)
    return gone


def _ended_job(api: Any, left: Leftover) -> Flow[Job | None]:
    try:
        job: Job = yield from api.get_job(left.job_id, system=left.system)
    except NotFoundError:
        return None
    return job if job.is_final else None


def _log_of(api: Any, left: Leftover) -> Flow[str | None]:
    """Return the end of the job's log, empty where there is none; None: it cannot be read."""
    try:
        return str((yield from api.tail(left.log, size=_LOG_END, system=left.system)))
    except NotFoundError:
        # It never ran, or somebody has cleared up already.
        return ""
    except FirecrestError as error:
        logger.error(
            "The log %s of job %s cannot be read (%s): if the job had begun to write, a half of the file is"
            " at %s on %s, and a piece of it beside that.",
            left.log,
            left.job_id,
            error.message,
            left.path,
            left.system,
        )
        return None


def _ended_in_the_middle(log: str) -> bool:
    lines = log.splitlines()
    began = [BEGAN in line for line in lines]
    # A target may have a name like the last line.
    return any(began) and not any(
        DONE in line for line, is_first in zip(lines, began, strict=True) if not is_first
    )


def _pieces(api: Any, left: Leftover, half: FileStat | None) -> Flow[list[tuple[str, FileStat]]]:
    """Return the pieces that are there; none where nobody has looked for them before the job began."""
    if not left.pieces:
        return []
    numbers = yield from pieces_listed(api, left.path, left.pieces, system=left.system)
    if numbers is None:
        # The half tells how far the job has got: the piece it has appended last, or the one it fetched.
        at = half.size // left.piece_size if half is not None and left.piece_size else 0
        likely = [number for number in (at, at + 1) if 1 <= number <= left.pieces]
        numbers = yield from pieces_there(api, left.path, likely, system=left.system)
    found = []
    for path in (piece_of(left.path, number) for number in numbers):
        there = yield from _stat(api, path, left.system)
        if there is not None:
            found.append((path, there))
    return found


def _stat(api: Any, path: str, system: str) -> Flow[FileStat | None]:
    try:
        found: FileStat = yield from api.stat(path, dereference=False, system=system)
    except NotFoundError:
        return None
    return found


def _remove(api: Any, left: Leftover, job: Job, path: str, found: FileStat) -> Flow[bool]:
    if not found.is_file or not _written_by(job, found):
        logger.warning(
            "Job %s was ended while it wrote %s on %s. What is at %s now was not written by it, and is left"
            " as it is.",
            left.job_id,
            left.path,
            left.system,
            path,
        )
        return False
    try:
        yield from api.rm(path, system=left.system)
    except NotFoundError:
        return True
    logger.info("Removed %s on %s: job %s was ended while it wrote it.", path, left.system, left.job_id)
    return True


def _written_by(job: Job, found: FileStat) -> bool:
    """Whether a file was changed last while the job ran."""
    if found.mtime is None:
        return True
    early = job.start_time is not None and found.mtime < job.start_time - _CLOCKS_APART
    late = job.end_time is not None and found.mtime > job.end_time + _CLOCKS_APART
    return not early and not late


def _forget_log(api: Any, left: Leftover) -> Flow[None]:
    try:
        yield from api.rm(left.log, system=left.system)
    except FirecrestError as error:
        logger.info("The log %s of job %s is left: %s", left.log, left.job_id, error.message)
