"""The server's jobs of staged transfers that nobody knows the id of, because their start was not answered or
the process that asked for them died: one of an upload would hold its slot up to its time limit, waiting for
an object that nobody sends.

Knows how to recognise such a job on FirecREST v2: by its name and by the path in its script.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence

from ..errors import FirecrestError
from ..leftovers import Leftover
from ..leftovers.pieces import pieces_in
from ..models import Job, JobMetadata
from ..sync_client import FirecrestClient
from .giving_up import give_up_upload

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_INGRESS, _EGRESS = "IngressFileTransfer", "OutgressFileTransfer"
_REMEMBERED = 600.0
"""Seconds after their end for which jobs are looked at: Slurm keeps their scripts for five minutes or so."""

_PIECE_SIZE = re.compile(r"\brange_length=(\d+)")


def cancel_ingress(client: FirecrestClient, target: str, system: str) -> None:
    """Cancel the jobs of ours that wait for an object to write to ``target``; never raises.

    :param client: a client of FirecREST v2.
    :param target: full path of the file to be.
    :param system: system name.
    :endpoint: GET /compute/{system}/jobs, GET .../jobs/{job_id}/metadata, DELETE .../jobs/{job_id}
    """
    _cancel(client, _INGRESS, f'target_file="{target}"', target, system)


def end_ingress(client: FirecrestClient, targets: Sequence[str], system: str, *, size: int) -> bool:
    """Cancel the jobs of ours that write to one of ``targets``, or wait to, and remove what they leave in the
    middle; also what those have left that failed or were cancelled a few minutes ago; never raises.

    :param client: a client of FirecREST v2.
    :param targets: full paths that the file to be may have.
    :param system: system name.
    :param size: of the file to be, in bytes.
    :returns: whether there was one.
    :endpoint: as :func:`cancel_ingress`; then as ``leftovers.remove_leftover``
    """
    ended = False
    since = client.server_time(time.time()) - _REMEMBERED
    try:
        for job, meta in _scripts(client, _INGRESS, system, ended_since=since):
            script = meta.script or ""
            target = next((each for each in targets if f'target_file="{each}"' in script), None)
            if target is None:
                continue
            piece_size = int(found[1]) if (found := _PIECE_SIZE.search(script)) else 0
            left = Leftover(
                target,
                system,
                job_id=job.job_id,
                log=meta.stdout or "",
                # What has such a name and was changed while the job ran, the job has overwritten.
                pieces=pieces_in(size, piece_size),
                piece_size=piece_size,
            )
            logger.info("Job %s (%s) of an earlier try was to write %s.", job.job_id, job.state, target)
            give_up_upload(client, job.job_id, system, left)
            ended = True
    except FirecrestError as error:
        _complain(_INGRESS, targets[0], error)
    return ended


def cancel_movers(client: FirecrestClient, part: str, system: str) -> None:
    """Cancel the jobs of ours that move, either way, a file with ``part`` in its path; never raises.

    :param client: a client of FirecREST v2.
    :param part: the name of a directory that no other transfer has.
    :param system: system name.
    :endpoint: as :func:`cancel_ingress`
    """
    for name in (_INGRESS, _EGRESS):
        _cancel(client, name, f"/{part}/", part, system)


def _cancel(client: FirecrestClient, name: str, text: str, path: str, system: str) -> None:
    try:
        for job, meta in _scripts(client, name, system):
            if text in (meta.script or ""):
                client.cancel_job(job.job_id, system=system)
                logger.info("Cancelled job %s, which moved %s, or waited to.", job.job_id, path)
    except FirecrestError as error:
        _complain(name, path, error)


def _scripts(
    client: FirecrestClient, name: str, system: str, *, ended_since: float | None = None
) -> Iterator[tuple[Job, JobMetadata]]:
    """Yield jobs that are not over, and those that have ended without success since a moment, if one is
    given. Their scripts hold presigned URLs: to be searched and not shown.
    """
    for job in client.jobs(name=name, time_window="1h", system=system):
        if job.is_final and (
            ended_since is None or job.succeeded or job.end_time is None or job.end_time < ended_since
        ):
            continue
        try:
            meta = client.job_metadata(job.job_id, system=system)
        except FirecrestError as error:
            if not job.is_final:
                raise
            logger.info("The script of job %s is forgotten: %s", job.job_id, error.message)
        else:
            yield job, meta


def _complain(name: str, path: str, error: FirecrestError) -> None:
    logger.warning(
        "A job %s may still be moving %s, or waiting to; it cannot be looked for: %s",
        name,
        path,
        error.message,
    )
