"""A transfer's own directory on the system, and what the batch jobs that run in it write down there.

Everything a transfer in steps leaves on the system while it is under way (archive, logs, a tree that is not
complete yet) stands in one directory ``.firecrest-...`` beside the source or the target, which only its
owner can read. So one removal leaves nothing behind. Must not know what the jobs do
(``directories.tree_jobs``, ``atomic.place_job``).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence

from ... import paths
from ...errors import (
    FirecrestError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TransferFailedError,
)
from ...models import Job
from ...sync_client import FirecrestClient
from .. import proof
from . import job_frame

_PREFIX = ".firecrest-"
_TOKEN = 6
"""Bytes: as text it is shorter than a mark, so that in a job's name none is taken for the other."""

_REPORT_WITHIN = 15.0


def path_in(parent: str, place: str | None = None) -> str:
    """Return the path of a directory of one's own below ``parent``; nobody has had it before.

    :param parent: an existing directory.
    :param place: the same text makes names that :func:`all_in` finds.
    """
    return paths.join(parent, _beginning(place) + secrets.token_hex(_TOKEN))


def token(work: str) -> str:
    """Return the part of a directory's name that no other has."""
    return paths.basename(work).rpartition("-")[2]


def all_in(client: FirecrestClient, parent: str, place: str, system: str) -> list[str]:
    """Return the paths of the directories that were made below ``parent`` for ``place``.

    :endpoint: GET .../ops/ls
    """
    names = [each.name for each in client.ls(parent, show_hidden=True, system=system)]
    return [paths.join(parent, name) for name in sorted(names) if name.startswith(_beginning(place))]


def make(client: FirecrestClient, work: str, system: str, *, field: str) -> None:
    """Make a directory that only its owner can read; one that is there already will do.

    :param client: the client.
    :param work: its path, of :func:`path_in`.
    :param system: system name.
    :param field: what the user calls the path beside which it stands.
    :raises PermissionDeniedError: nothing can be written there.
    :endpoint: POST .../ops/mkdir, PUT .../ops/chmod
    """
    try:
        # The name is ours alone, so that making it twice is making it once.
        client.mkdir(work, parents=True, system=system)
    except PermissionDeniedError as error:
        raise PermissionDeniedError(
            f"{field}: nothing can be written in {paths.parent(work)} on {system}; the transfer works there.",
            server_message=error.server_message,
        ) from None
    client.chmod(work, "700", system=system)


def report(
    client: FirecrestClient, work: str, job: Job, *, system: str, doing: str, noes: Sequence[str] = ()
) -> dict[str, str]:
    """Return what a job wrote down, once it is over.

    :param client: the client.
    :param work: its directory.
    :param job: the job in its final state.
    :param system: system name.
    :param doing: the job's purpose in words, for errors.
    :param noes: keys of its report by which this job says no; the caller knows what they mean.
    :returns: the report of a job that got to its end, or that said no.
    :raises InvalidRequestError: the job looked and refused.
    :raises TransferFailedError: it failed; the message holds its state and its log.
    :endpoint: GET .../ops/download, GET .../ops/tail
    """
    found = _read_report(client, work, system, patience=_REPORT_WITHIN if job.succeeded else 0.0)
    if "refused" in found:
        raise InvalidRequestError(f"{doing} was refused by job {job.job_id}: {found['refused']}.")
    if (job.succeeded and "end" in found) or any(key in found for key in noes):
        return found
    raise TransferFailedError(f"{doing} failed. {evidence(client, work, job, system=system)}")


def must_be_a_directory(client: FirecrestClient, target: str, work: str, job: Job, *, system: str) -> None:
    """Look at what a job says it has put into place.

    :raises TransferFailedError: it is not there.
    """
    try:
        found = proof.stat_when_there(client, target, system)
    except NotFoundError:
        found = None
    if found is None or not found.is_dir:
        raise TransferFailedError(
            f"{target} is not on {system}. {evidence(client, work, job, system=system)}"
        )


def evidence(client: FirecrestClient, work: str, job: Job, *, system: str) -> str:
    """Return a job's end in words: state, exit code, and its log."""
    try:
        log = client.tail(job_frame.path_in(work, job_frame.LOG), size=8192, system=system).strip()[-1500:]
    except NotFoundError:
        log = "(it wrote none: it never got to its first line)"
    except FirecrestError as error:
        log = f"(cannot be read: {error.message})"
    code = f" with exit code {job.exit_code}" if job.exit_code else ""
    return f"The job {job.job_id} ended {job.state}{code}.\nIts log: {log or '(empty)'}"


def _read_report(client: FirecrestClient, work: str, system: str, *, patience: float) -> dict[str, str]:
    """Read it, giving the file system a moment to show another node's file."""
    deadline = time.monotonic() + patience
    while True:
        try:
            text = client.download(job_frame.path_in(work, job_frame.REPORT), system=system)
            return job_frame.read_report(text.decode(errors="replace"))
        except NotFoundError:
            if time.monotonic() >= deadline:
                return {}
        time.sleep(1.0)


def _beginning(place: str | None) -> str:
    if place is None:
        return _PREFIX
    return f"{_PREFIX}{hashlib.sha256(place.encode()).hexdigest()[:14]}-"
