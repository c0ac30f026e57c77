"""Sending one file into the directory that a transfer has on the system, by whichever way carries it.

Knows that directory, and what an earlier process had sent. Must not know what the file is, nor what becomes
of it there.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ...._crash_points import crash_point
from ... import paths
from ...errors import TooLargeError
from ...sync_client import FirecrestClient
from .. import orphans
from ..giving_up import give_up_upload
from ..plan import UploadPlan, staged_instead
from ..resume import UploadState
from ..sending import stage_upload
from ..upload import upload_direct
from ..upload_plan import plan_upload
from . import workdir
from .state import AnyTransfer, Watch

logger = logging.getLogger("airflow_provider_firecrest.transfers")


def with_work(transfer: AnyTransfer, watch: Watch) -> AnyTransfer:
    """Choose the directory on the system, beside an upload's target, and say so before it is made."""
    if not transfer.work:
        work = workdir.path_in(paths.parent(transfer.target), watch.again.place)
        transfer = replace(transfer, work=work)
        watch.on_change(transfer)
    return transfer


def make_work(client: FirecrestClient, transfer: AnyTransfer) -> None:
    """Make it.

    :endpoint: POST .../ops/mkdir, PUT .../ops/chmod
    """
    workdir.make(client, transfer.work, transfer.system, field="target_path")
    crash_point("after_mkdir")


def sent_into_work(
    client: FirecrestClient,
    transfer: AnyTransfer,
    source: Path,
    watch: Watch,
    earlier: UploadState | None = None,
) -> tuple[AnyTransfer, str | None]:
    """Send a local file to where the transfer has its payload.

    :param client: the client.
    :param transfer: the transfer; its directory must be there.
    :param source: the local file.
    :param watch: who is told, and who can stop it.
    :param earlier: how far an earlier process got with it.
    :returns: the transfer, waiting for the server (``staging``) or with the payload in its place; and the
        SHA-256 of what was sent.
    :endpoint: POST .../ops/upload; or POST .../transfer/upload and the presigned URLs
    """
    plan = _planned(client, transfer, source)
    logger.info("Sending %d bytes, %s.", plan.size, plan.way)
    if plan.way == "direct":
        if earlier is not None:
            give_up_upload(client, earlier.job_id, earlier.system, earlier.leftover)
        try:
            return transfer, upload_direct(client, plan).sha256
        except TooLargeError as error:
            logger.warning("The direct way cannot carry it after all: %s", error.message)
            plan = staged_instead(client, plan)
    again = watch.again
    if earlier is None and again.sweep and client.api.generation == 2:
        # The process before may have died before it could write down which job it had started.
        orphans.cancel_ingress(client, plan.target, plan.system)
    staged = stage_upload(
        client,
        plan,
        progress=watch.progress,
        on_start=lambda job: watch.on_change(replace(transfer, job_id=job.job_id)),
        stop=watch.stop,
        state=earlier,
        save=again.save_sending,
        keep=again.keep,
    )
    transfer = transfer.waits_for(
        "staging", job_id=staged.job_id, task_id=staged.task_id, staged=staged.as_dict(), way="staged"
    )
    watch.on_change(transfer)
    what = f"job {staged.job_id}" if staged.job_id else f"FirecREST's task {staged.task_id}"
    logger.info("All bytes are in the object storage; %s writes %s.", what, transfer.payload)
    crash_point("after_sending")
    return transfer, staged.sha256


def _planned(client: FirecrestClient, transfer: AnyTransfer, source: Path) -> UploadPlan:
    return plan_upload(
        client,
        source,
        transfer.payload,
        system=transfer.system,
        account=transfer.options.account,
        if_exists="overwrite",
        # What our own job compares proves more.
        verify_checksum=False,
        # Nobody looks for it there.
        in_place=True,
    )
