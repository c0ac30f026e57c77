"""The server's jobs of staged transfers that nobody knows the id of, because their start was not answered or
the process that asked for them died: one of an upload would hold its slot up to its time limit, waiting for
an object that nobody sends.

Knows how to recognise such a job on FirecREST v2: by its name and by the path in its script.
"""

from __future__ import annotations

import logging

from ..errors import FirecrestError
from ..sync_client import FirecrestClient

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_INGRESS, _EGRESS = "IngressFileTransfer", "OutgressFileTransfer"


def cancel_ingress(client: FirecrestClient, target: str, system: str) -> None:
    """Cancel the jobs of ours that wait for an object to write to ``target``; never raises.

    :param client: a client of FirecREST v2.
    :param target: full path of the file to be.
    :param system: system name.
    :endpoint: GET /compute/{system}/jobs, GET .../jobs/{job_id}/metadata, DELETE .../jobs/{job_id}
    """
    _cancel(client, _INGRESS, f'target_file="{target}"', target, system)


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
        for job in client.jobs(name=name, time_window="1h", system=system):
            # The script holds presigned URLs: it is searched and not shown.
            if not job.is_final and text in (client.job_metadata(job.job_id, system=system).script or ""):
                client.cancel_job(job.job_id, system=system)
                logger.info("Cancelled job %s, which moved %s, or waited to.", job.job_id, path)
    except FirecrestError as error:
        logger.warning(
            "A job %s may still be moving %s, or waiting to; it cannot be looked for: %s",
            name,
            path,
            error.message,
        )
