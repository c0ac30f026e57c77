"""Taking up a file operation that was begun before: by another process, which died since.

Knows what it left behind: a plan, an intent, or a job. Submits nothing.
"""

from __future__ import annotations

import logging
import time

from .. import paths
from ..errors import AmbiguousError
from ..sync_client import FirecrestClient
from . import once
from .looks import is_part_of, look
from .operation import FileOperation, FileOperationResult, Intent, StartedOperation
from .proofs import has_happened

logger = logging.getLogger("airflow_provider_firecrest.transfers")


def take_up(client: FirecrestClient, intent: Intent) -> StartedOperation | FileOperationResult | None:
    """Find the job of a submit that nobody wrote down.

    :param client: the client.
    :param intent: what ``start_operation`` told before the submit.
    :returns: the job; the result, where the job cannot be told but its work is seen to be done; None when
        there is no job, after looking for as long as one may take to show up.
    :raises AmbiguousError: several jobs may be it.
    :raises FirecrestError: the jobs cannot be listed.
    :endpoint: GET /compute/{system}/jobs?name=, GET .../jobs/{job_id}/metadata; GET .../ops/stat and more
    """
    found = intended_jobs(client, intent)
    if len(found) == 1:
        return once.adopted(client, intent, found[0])
    done = seen_done(client, intent.operation, intent.asked_at)
    if done is not None:
        return done
    if found:
        raise several(intent, found)
    return None


def intended_jobs(client: FirecrestClient, intent: Intent, *, within: float | None = None) -> list[str]:
    """Return the ids of the jobs that a submit which nobody wrote down may have made.

    :param client: the client.
    :param intent: what ``start_operation`` told before the submit.
    :param within: seconds to look; default: for as long as one may still show up. 0 looks once.
    :raises FirecrestError: the jobs cannot be listed.
    """
    if within is None:
        # A clock that was put back must not make this long.
        within = min(max(0.0, intent.asked_at + once.ADOPT_WITHIN - time.time()), once.ADOPT_WITHIN)
        logger.info(
            "An earlier try may have submitted the job %s: looking for it for up to %.0f s.",
            intent.name,
            within,
        )
    return sorted(once.jobs_of(client, intent, within=within))


def several(intent: Intent, job_ids: list[str]) -> AmbiguousError:
    """Return the error for a submit of which it cannot be told which job it made."""
    operation = intent.operation
    return AmbiguousError(
        f"{operation}: an earlier try submitted a job named {intent.name!r} and died before it wrote down"
        f" which; on {operation.system}, jobs {', '.join(job_ids)} may be it. Nothing was submitted again."
        " Look whether one of them still runs (squeue) or has done the work; when none runs, clear this task."
    )


def seen_done(
    client: FirecrestClient, operation: FileOperation, asked_at: float
) -> FileOperationResult | None:
    """Return the result of an operation of which only its work can be seen, or None when there is none.

    :param client: the client.
    :param operation: the operation as it was planned.
    :param asked_at: when it was asked for, in seconds since the epoch.
    """
    if operation.after_job_id is not None:
        # What is there may be there from before that job.
        return None
    proof = has_happened(client, operation, 0.0)
    if proof is None:
        return None
    return FileOperationResult.of(operation, proof, seconds=time.time() - asked_at)


def looks_done(client: FirecrestClient, kind: str, source: str, target: str | None, system: str) -> bool:
    """Return whether an operation seems to have been done, as far as that can be told without its plan.

    :param kind: what was to be done.
    :param source: absolute path, as the caller said it.
    :param target: absolute path, as the caller said it; none for ``rm``.
    :endpoint: GET .../ops/stat
    """
    if kind in ("mv", "rm") and look(client, source, system) is not None:
        return False
    if target is None:
        return True
    there = look(client, target, system, follow=True)
    if there is None or not there.is_dir or kind == "extract":
        return there is not None
    inside = look(client, paths.join(target.rstrip("/"), paths.basename(source)), system)
    # A directory may have become the target itself; a file can only be in it.
    before = look(client, source, system, follow=True)
    return inside is not None or before is None or before.is_dir


def looks_copied(client: FirecrestClient, source: str, target: str, system: str) -> bool:
    """Return whether a directory's copy seems to stand at its target already: another would go into it.

    :param source: absolute path, as the caller said it.
    :param target: absolute path, as the caller said it.
    :endpoint: GET .../ops/stat, GET .../ops/ls (recursive)
    """
    before, there = (look(client, path, system, follow=True) for path in (source, target))
    if before is None or there is None or not before.is_dir or not there.is_dir:
        return False
    holds_something = client.ls(target, show_hidden=True, system=system)
    return bool(holds_something) and is_part_of(client, target, source, system)
