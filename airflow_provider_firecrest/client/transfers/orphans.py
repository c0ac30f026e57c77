"""The server's job of a staged upload whose start was not answered: it would hold its slot up to its time
limit, waiting for an object that nobody sends.

Knows how to recognise that job on FirecREST v2: by its name and by the target in its script.
"""

from __future__ import annotations

import logging

from ..errors import FirecrestError
from ..sync_client import FirecrestClient

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_NAME = "IngressFileTransfer"


def cancel_ingress(client: FirecrestClient, target: str, system: str) -> None:
    """Cancel the jobs of ours that wait for an object to write to ``target``; never raises.

    :param client: a client of FirecREST v2.
    :param target: full path of the file to be.
    :param system: system name.
    :endpoint: GET /compute/{system}/jobs, GET .../jobs/{job_id}/metadata, DELETE .../jobs/{job_id}
    """
    try:
        for job in client.jobs(name=_NAME, time_window="1h", system=system):
            # The script holds presigned URLs: it is searched and not shown.
            if not job.is_final and _writes(client, job.job_id, target, system):
                client.cancel_job(job.job_id, system=system)
                logger.info("Cancelled job %s, which waited for the object to write %s.", job.job_id, target)
    except FirecrestError as error:
        logger.warning(
            "A job %s may still be waiting for the object to write %s; it cannot be looked for: %s",
            _NAME,
            target,
            error.message,
        )


def _writes(client: FirecrestClient, job_id: str, target: str, system: str) -> bool:
    script = client.job_metadata(job_id, system=system).script or ""
    return f'target_file="{target}"' in script
