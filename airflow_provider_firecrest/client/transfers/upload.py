"""Uploading one file that is planned: send, prove, name.

A small file is one request. A large one goes through the object store (``sending``). The success message of
the server's job is no proof, so the file is looked at afterwards. Where the API can rename, it is written as
a hidden part beside its target (``part``), and gets its name when it is proven (``final_name``).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from .. import paths, staging
from ..errors import (
    AmbiguousError,
    AuthenticationError,
    ConflictError,
    FirecrestError,
    IntegrityError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    TooLargeError,
    TransferFailedError,
)
from ..leftovers import remove_leftover
from ..leftovers.halves import DONE
from ..models import Job, TransferJob
from ..sync_client import FirecrestClient
from . import final_name, part, proof
from .giving_up import give_up, give_up_upload
from .plan import TransferResult, UploadPlan, needing
from .sending import StagedUpload

if TYPE_CHECKING:
    from .download import StagedDownload

logger = logging.getLogger("airflow_provider_firecrest.transfers")

# What the server answers before it writes.
_NOT_ACTED = (
    AuthenticationError,
    PermissionDeniedError,
    NotFoundError,
    ConflictError,
    TooLargeError,
    RateLimitError,
)


def upload_direct(
    client: FirecrestClient, plan: UploadPlan, *, stop: threading.Event | None = None
) -> TransferResult:
    """Send a small or an empty file in one request, and prove it.

    :param client: the client.
    :param plan: a plan whose way is ``direct``.
    :param stop: set it to stop before the file gets its name.
    :raises IntegrityError: the file on the system differs; it was removed.
    :raises ConflictError: something appeared at the target meanwhile.
    :raises InvalidRequestError: the source changed its size meanwhile, or was removed.
    :endpoint: POST .../ops/upload, GET .../ops/stat, GET .../ops/checksum; v1: PUT /utilities/rename
    """
    started = time.monotonic()
    with needing(plan.source):
        content = plan.source.read_bytes()
    if len(content) != plan.size:
        raise InvalidRequestError(f"source_path: {plan.source} changed its size while it was being uploaded.")
    sha256 = hashlib.sha256(content).hexdigest()
    _send(client, plan, content)
    try:
        _settle(client, plan, sha256, plan.verify_checksum, stop=stop)
    except BaseException:
        # The next attempt sends it again: nothing is gained by leaving a part.
        if plan.part:
            part.remove(client, plan.part, plan.system)
        raise
    return TransferResult(
        str(plan.source),
        plan.target,
        plan.size,
        sha256,
        "direct",
        plan.system,
        None,
        time.monotonic() - started,
    )


def _send(client: FirecrestClient, plan: UploadPlan, content: bytes) -> None:
    try:
        directory, name = paths.parent(plan.written), paths.basename(plan.written)
        client.upload(directory, name, content, system=plan.system)
    except BaseException as error:
        # After a timeout, or on a full disk, there may be a half of it, which the next attempt would take for
        # somebody's file.
        if _may_have_acted(error) and (plan.part or not plan.replaces):
            part.remove(client, plan.written, plan.system)
        raise


def finish_upload(
    client: FirecrestClient,
    staged: StagedUpload,
    job: Job | None = None,
    *,
    stop: threading.Event | None = None,
    keep: bool = False,
) -> TransferResult:
    """Prove a staged upload, once the server's job is over, and give it its name.

    :param client: the client.
    :param staged: what :func:`stage_upload` returned.
    :param job: the server's job in its final state; None asks for it.
    :param stop: set it to stop before the file gets its name.
    :param keep: leave a part when the proof is broken off or fails in a way that may pass (another attempt
        follows).
    :raises TransferFailedError: the job failed or its file is not there; the message holds its logs.
    :raises IntegrityError: the file differs; it was removed.
    :raises ConflictError: something appeared at the target meanwhile.
    :endpoint: GET .../ops/tail (logs), GET .../ops/stat, GET .../ops/checksum; v1: PUT /utilities/rename
    """
    started = time.monotonic()
    try:
        _finish(client, staged, job, stop)
    except BaseException as error:
        if staged.part and not (keep and _may_pass(error)):
            part.remove(client, staged.part, staged.system)
        raise
    return TransferResult(
        staged.source,
        staged.target,
        staged.size,
        staged.sha256,
        "staged",
        staged.system,
        staged.job_id,
        staged.seconds + time.monotonic() - started,
    )


def _finish(
    client: FirecrestClient, staged: StagedUpload, job: Job | None, stop: threading.Event | None
) -> None:
    if staged.task_id is None:
        job = job or client.get_job(str(staged.job_id), system=staged.system)
    try:
        evidence, said_yes = proof.end_of_transfer(
            client, staged, job, what=f"Uploading {staged.source} to {staged.target}", success=DONE
        )
    except TransferFailedError:
        if staged.leftover is not None and not staged.part:
            client.run(remove_leftover(client.api, staged.leftover))
        elif not staged.part and not staged.replaces:
            part.remove(client, staged.target, staged.system)
        raise
    # Without the job's word, a file of the same size may be the one that was there before.
    verify = staged.verify_checksum or not said_yes
    _settle(client, staged, staged.sha256, verify, evidence=evidence, transfer=staged.transfer, stop=stop)


def cancel_staged(client: FirecrestClient, staged: StagedUpload | StagedDownload) -> None:
    """Cancel the server's job behind a transfer that is given up, and remove what an upload's job leaves in
    the middle of writing; never raises.

    :param client: the client.
    :param staged: the transfer.
    """
    if isinstance(staged, StagedUpload) and not staged.part:
        give_up_upload(client, staged.job_id, staged.system, staged.leftover)
    else:
        give_up(client, staged.job_id, staged.system)


def _settle(
    client: FirecrestClient,
    upload: UploadPlan | StagedUpload,
    sha256: str,
    verify_checksum: bool,
    *,
    evidence: str = "",
    transfer: TransferJob | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Prove what was written. A part gets its name then; a target that is wrong is removed."""
    try:
        proven = proof.prove(
            client,
            upload.part or upload.target,
            size=upload.size,
            sha256=sha256 if verify_checksum else None,
            system=upload.system,
            account=upload.account,
            evidence=f"It was to be written as {upload.part} first. {evidence}" if upload.part else evidence,
            transfer=transfer,
            name=upload.target,
        )
    except IntegrityError as error:
        if upload.part:
            error.message += f" What was at {upload.target} was left as it was."
        else:
            _remove_wrong(client, upload, error)
        raise
    except TransferFailedError:
        # An earlier try may have died between the renaming and its end.
        if upload.part and final_name.has_content(client, upload, sha256):
            return
        raise
    if stop is not None and stop.is_set():
        raise staging.TransferCancelledError(
            f"The upload to {upload.target} was stopped before it got its name."
        )
    if upload.part:
        final_name.give_name(client, upload, proven, sha256)


def _remove_wrong(client: FirecrestClient, upload: UploadPlan | StagedUpload, error: IntegrityError) -> None:
    # A wrong file under the right name is worse than none.
    try:
        client.rm(upload.target, system=upload.system)
        error.message += " It was removed."
    except FirecrestError as failure:
        error.message += f" It could not be removed: {failure.message}"


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may find the part good: a timeout of Airflow's says nothing about it."""
    return staging.may_pass(error) or not isinstance(error, FirecrestError)


def _may_have_acted(error: BaseException) -> bool:
    if isinstance(error, _NOT_ACTED):
        return False
    if not isinstance(error, FirecrestError):
        return True
    return isinstance(error, RequestTimeoutError | AmbiguousError) or error.status is not None
