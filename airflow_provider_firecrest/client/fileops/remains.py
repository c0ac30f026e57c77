"""What a file operation that failed leaves on the file system: what is removed of it, and what is said of the
rest.

Removes only what was not there before and what its source still has. Never anything of a move: what it has
moved already may be the only copy.
"""

from __future__ import annotations

import time

from ..models import Job
from ..sync_client import FirecrestClient
from .looks import is_part_of, look, quietly_remove, tree_digest
from .operation import FileOperation, Look

_CLOCKS_DIFFER = 60.0
"""Seconds between the clocks of a file system and of the scheduler."""

_RECENT = 3600.0
"""Seconds after a job's end in which nobody will have taken what it left for something to work on."""


def clear_up(
    client: FirecrestClient, operation: FileOperation, job: Job, *, job_failed: bool, differs: bool
) -> str:
    """Remove what is not what it must be, and say what became of it and what is left.

    :param client: the client.
    :param operation: the operation as it was planned.
    :param job: its job, which is over.
    :param job_failed: the job itself failed, or was cancelled.
    :param differs: there is an outcome, and not the right one.
    :returns: a sentence, or an empty text when there is nothing to say.
    :raises FirecrestError: it could not be looked at.
    """
    if operation.kind == "mv":
        return _left_by_a_move(client, operation)
    # What another job ends before this one begins may be that job's work.
    partial = job_failed and operation.after_job_id is None
    wrong = operation.kind == "compress" or (operation.kind == "cp" and (partial or differs))
    if not wrong or operation.result_before is not None:
        return ""
    there = look(client, operation.result, operation.system)
    if there is None or not (there.is_file or (there.is_dir and partial)):
        return ""
    if _is_touched(client, there, job):
        return f"{operation.result} may have been changed since the job ended, and was left as it is."
    # Then nobody else has made or filled it.
    ours = not there.is_dir or is_part_of(client, operation.result, operation.source, operation.system)
    if not ours:
        return f"{operation.result} holds what {operation.source} does not, and was left as it is."
    if quietly_remove(client, operation.result, operation.system):
        return f"{operation.result} was removed."
    return f"A part is left in {operation.result}. Remove it before you try again."


def _is_touched(client: FirecrestClient, there: Look, job: Job) -> bool:
    """Whether somebody else may have worked on it: a retry can come hours after a job's end."""
    if job.end_time is None:
        return False
    if there.ctime is not None and there.ctime > job.end_time + _CLOCKS_DIFFER:
        return True
    # A change deep in a directory does not show in the directory itself.
    return there.is_dir and client.server_time(time.time()) > job.end_time + _RECENT


def _left_by_a_move(client: FirecrestClient, operation: FileOperation) -> str:
    """Say what stands where. Across file systems a move is a copy, after which the source is removed."""
    source = look(client, operation.source, operation.system)
    there = look(client, operation.result, operation.system)
    before = operation.result_before
    if source is None and there is None:
        return f"There is neither {operation.source} nor {operation.result}."
    if source is None:
        return f"{operation.source} is gone; {operation.result} is there. Nothing was removed."
    if there is None or (before is not None and there.is_same_as(before)):
        return f"{operation.source} is still there, and nothing of it is in {operation.result}."
    whole = _is_whole(client, operation, source)
    if whole:
        return (
            f"{operation.source} is whole; what is in {operation.result} may be a part of it. Remove"
            f" {operation.result} before you try again."
        )
    state = "may not be" if whole is None else "is not"
    return (
        f"{operation.source} {state} whole any more; what is missing there is in {operation.result}."
        " Nothing was removed."
    )


def _is_whole(client: FirecrestClient, operation: FileOperation, now: Look) -> bool | None:
    """Whether the source is what it was before; None when that is not known."""
    before = operation.source_before
    if before is None:
        return None
    if not before.is_dir:
        return now.is_same_as(before)
    digest = None if before.tree is None else tree_digest(client, operation.source, operation.system)
    return None if digest is None else digest == before.tree
