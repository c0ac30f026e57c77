"""Giving up a staged transfer: its job on the system ends, and so does what the job leaves in the middle.

Knows the order: a job that still runs would write on. What is a half, and whether it may be removed, is for
``leftovers.halves`` to say.
"""

from __future__ import annotations

import logging
from typing import Protocol

from ..errors import FirecrestError, NotFoundError
from ..leftovers import Leftover, remove_leftover
from ..sync_client import FirecrestClient
from ..waiting.cancel import cancel_and_verify

logger = logging.getLogger("airflow_provider_firecrest.transfers")


class InPlace(Protocol):
    """An upload whose target the server's job writes."""

    @property
    def target(self) -> str: ...
    @property
    def system(self) -> str: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def output_log(self) -> str: ...
    @property
    def part(self) -> str | None: ...
    @property
    def pieces(self) -> int: ...
    @property
    def part_size(self) -> int: ...


def half_of(upload: InPlace) -> Leftover | None:
    """Return what the server's job leaves when it is ended while it writes; None where it writes a part.

    :param upload: the upload.
    """
    if upload.job_id is None or upload.part is not None:
        return None
    return Leftover(
        upload.target,
        upload.system,
        job_id=upload.job_id,
        log=upload.output_log,
        pieces=upload.pieces,
        piece_size=upload.part_size,
    )


def give_up(client: FirecrestClient, job_id: str | None, system: str) -> None:
    """Cancel the server's job behind a transfer that nobody goes on with; never raises.

    :param client: the client.
    :param job_id: its job; None: FirecREST v1, which cannot cancel a task.
    :param system: system name.
    :endpoint: DELETE /compute/{system}/jobs/{job_id}
    """
    if job_id is None:
        return
    try:
        if client.cancel_job(job_id, system=system):
            logger.info("Cancelled the server's job %s.", job_id)
    except NotFoundError:
        logger.info("The server's job %s is not known any more.", job_id)
    except FirecrestError as error:
        logger.warning("The server's job %s could not be cancelled: %s", job_id, error.message)


def give_up_upload(client: FirecrestClient, job_id: str | None, system: str, left: Leftover | None) -> None:
    """Cancel the server's job behind an upload that nobody goes on with, and remove what it leaves in the
    middle of writing; never raises.

    :param client: the client.
    :param job_id: its job; None: FirecREST v1, which cannot cancel a task.
    :param system: system name.
    :param left: what the job may leave; None: it cannot have begun to write.
    :endpoint: DELETE and GET /compute/{system}/jobs/{job_id}; then as ``leftovers.remove_leftover``
    """
    if left is None or left.job_id is None:
        give_up(client, job_id, system)
        return
    try:
        # It would write on.
        logger.info("%s", client.run(cancel_and_verify(client.api, left.job_id, system=system)))
    except FirecrestError as error:
        logger.warning("The server's job %s could not be cancelled: %s", left.job_id, error.message)
    client.run(remove_leftover(client.api, left))
