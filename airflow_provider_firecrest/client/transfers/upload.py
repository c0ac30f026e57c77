"""Uploading one file: plan, send, prove.

A small file is one request. A large one goes through the object store (``sending``). The success message of
the server's job is no proof, so the file is looked at afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import replace
from pathlib import Path
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
from ..models import FileStat, Job, System, TransferJob
from ..sync_client import FirecrestClient
from . import proof
from .plan import (
    IfExists,
    TransferResult,
    UploadPlan,
    Way,
    check_if_exists,
    check_local_source,
    check_remote,
    missing_directory,
    staged_method,
)
from .resume import give_up
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
_DONE = "File was successfully downloaded"


def plan_upload(
    client: FirecrestClient,
    source: Path | str,
    target: str,
    *,
    system: str | None = None,
    account: str | None = None,
    if_exists: IfExists = "fail",
    verify_checksum: bool = True,
) -> UploadPlan:
    """Check everything that can be checked before bytes move, and choose the way.

    :param client: the client.
    :param source: a local file.
    :param target: absolute path on the system: the file to be, or an existing directory (then, and when it
        ends with ``/``,
        the source's name is added).
    :param system: system name; default: the connection's.
    :param account: Slurm account for the server's job; default: the connection's.
    :param if_exists: ``fail``; ``overwrite``; ``skip`` leaves a file of the same size and digest alone and
        fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only the size is compared.
    :returns: the plan.
    :raises InvalidRequestError: a path is wrong; the message names the field.
    :raises NotFoundError: the target's directory, or the system, does not exist.
    :raises ConflictError: the target exists.
    :endpoint: GET /status/systems, GET .../ops/stat
    """
    check_if_exists(if_exists)
    source = Path(source)
    size = check_local_source(source)
    info = client.system_info(system=system)
    wanted = paths.join(target, source.name) if target.endswith("/") else target
    paths.check(wanted, client.api.rules.ops, field="target_path")
    check_remote(wanted, info, field="target_path")
    wanted, there = _resolve(client, wanted, source.name, info, is_full_path=target.endswith("/"))
    plan = UploadPlan(source, wanted, size, "direct", info.name, account or client.account, verify_checksum)
    plan = replace(plan, way=_way(plan, info, client.api.rules))
    if there is None:
        return plan
    return replace(_existing(client, plan, there, if_exists), replaces=True)


def upload_direct(client: FirecrestClient, plan: UploadPlan) -> TransferResult:
    """Send a small or an empty file in one request, and prove it.

    :param client: the client.
    :param plan: a plan whose way is ``direct``.
    :raises IntegrityError: the file on the system differs; it was removed.
    :endpoint: POST .../ops/upload, GET .../ops/stat, GET .../ops/checksum
    """
    started = time.monotonic()
    content = plan.source.read_bytes()
    if len(content) != plan.size:
        raise InvalidRequestError(f"source_path: {plan.source} changed its size while it was being uploaded.")
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        client.upload(paths.parent(plan.target), paths.basename(plan.target), content, system=plan.system)
    except FirecrestError as error:
        # After a timeout, or on a full disk, there may be a half of it, which the next attempt would take for
        # somebody's file.
        if _may_have_acted(error) and not plan.replaces:
            _quietly_remove(client, plan.target, plan.system)
        raise
    _prove(client, plan.target, plan.size, sha256, plan.system, plan.account, plan.verify_checksum)
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


def finish_upload(client: FirecrestClient, staged: StagedUpload, job: Job | None = None) -> TransferResult:
    """Prove a staged upload, once the server's job is over.

    :param client: the client.
    :param staged: what :func:`stage_upload` returned.
    :param job: the server's job in its final state; None asks for it.
    :raises TransferFailedError: the job failed or its file is not there; the message holds its logs.
    :raises IntegrityError: the file differs; it was removed.
    :endpoint: GET .../ops/tail (logs), GET .../ops/stat, GET .../ops/checksum
    """
    started = time.monotonic()
    if staged.task_id is None:
        job = job or client.get_job(str(staged.job_id), system=staged.system)
    try:
        evidence, said_yes = proof.end_of_transfer(
            client, staged, job, what=f"Uploading {staged.source} to {staged.target}", success=_DONE
        )
    except TransferFailedError:
        # A job that was ended in the middle leaves a half; what was there before is left alone.
        failed = job is None or not job.succeeded
        if not staged.replaces and (failed or _is_wrong(client, staged)):
            _quietly_remove(client, staged.target, staged.system)
        raise
    _prove(
        client,
        staged.target,
        staged.size,
        staged.sha256,
        staged.system,
        staged.account,
        # Without the job's word, a file of the same size may be the one that was there before.
        staged.verify_checksum or not said_yes,
        evidence=evidence,
        transfer=staged.transfer,
    )
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


def cancel_staged(client: FirecrestClient, staged: StagedUpload | StagedDownload) -> None:
    """Cancel the server's job behind a transfer that is given up; never raises.

    :param client: the client.
    :param staged: the transfer.
    """
    give_up(client, staged.job_id, staged.system)


def _resolve(
    client: FirecrestClient, target: str, name: str, info: System, *, is_full_path: bool
) -> tuple[str, FileStat | None]:
    """Return the full path of the file to be, and what is there now."""
    try:
        found = client.stat(target, system=info.name)
        if not found.is_dir:
            return target, found
        if is_full_path:
            raise ConflictError(f"target_path: {target} is a directory on {info.name}.")
        target = paths.check(paths.join(target, name), client.api.rules.ops, field="target_path")
        found = client.stat(target, system=info.name)
    except NotFoundError:
        check_parent(client, paths.parent(target), info.name)
        return target, None
    if found.is_dir:
        raise ConflictError(f"target_path: {target} is a directory on {info.name}.")
    return target, found


def check_parent(client: FirecrestClient, parent: str, system: str) -> None:
    """Refuse a target whose directory is not there."""
    try:
        found = client.stat(parent, system=system)
    except NotFoundError:
        raise missing_directory(parent, system) from None
    if not found.is_dir:
        raise InvalidRequestError(f"target_path: {parent} on {system} is not a directory.")


def _way(plan: UploadPlan, info: System, rules: paths.Rules) -> Way:
    if plan.size <= info.max_ops_file_size and paths.can_carry(plan.target, rules.upload_name):
        return "direct"
    if plan.size == 0:
        paths.check(plan.target, rules.upload_name, field="target_path")
    staged_method(info)
    paths.check(plan.target, rules.staged_upload, field="target_path")
    return "staged"


def _existing(client: FirecrestClient, plan: UploadPlan, there: FileStat, if_exists: IfExists) -> UploadPlan:
    if if_exists == "fail":
        raise ConflictError(
            f"target_path: {plan.target} exists on {plan.system} ({there.size} bytes);"
            " if_exists='overwrite' replaces it, if_exists='skip' accepts the same file."
        )
    if if_exists == "overwrite":
        return plan
    if there.size == plan.size:
        ours = staging.sha256_of(plan.source)
        if ours == proof.remote_sha256(client, plan.target, there.size, plan.system, plan.account):
            return replace(plan, way="skip", sha256=ours)
    raise ConflictError(
        f"target_path: {plan.target} exists on {plan.system} and is another file than {plan.source};"
        " if_exists='skip' accepts only the same one."
    )


def _prove(
    client: FirecrestClient,
    target: str,
    size: int,
    sha256: str,
    system: str,
    account: str | None,
    verify_checksum: bool,
    *,
    evidence: str = "",
    transfer: TransferJob | None = None,
) -> None:
    try:
        proof.prove(
            client,
            target,
            size=size,
            sha256=sha256 if verify_checksum else None,
            system=system,
            account=account,
            evidence=evidence,
            transfer=transfer,
        )
    except IntegrityError as error:
        # A wrong file under the right name is worse than none.
        try:
            client.rm(target, system=system)
            error.message += " It was removed."
        except FirecrestError as failure:
            error.message += f" It could not be removed: {failure.message}"
        raise


def _may_have_acted(error: FirecrestError) -> bool:
    if isinstance(error, _NOT_ACTED):
        return False
    return isinstance(error, RequestTimeoutError | AmbiguousError) or error.status is not None


def _is_wrong(client: FirecrestClient, staged: StagedUpload) -> bool:
    """Whether what is there is known to differ; what cannot be looked at is not."""
    try:
        if client.stat(staged.target, system=staged.system).size != staged.size:
            return True
        found = proof.remote_sha256(client, staged.target, staged.size, staged.system, staged.account)
    except FirecrestError as error:
        logger.info("What is at %s cannot be compared: %s", staged.target, error.message)
        return False
    return found != staged.sha256


def _quietly_remove(client: FirecrestClient, target: str, system: str) -> None:
    try:
        client.rm(target, system=system)
        logger.info("Removed what the failed upload had left at %s.", target)
    except NotFoundError:
        return
    except FirecrestError as error:
        logger.warning("What the failed upload left at %s could not be removed: %s", target, error.message)
