"""Uploading a directory: pack it here, send the archive, let a job there unpack it, compare, and give it its
name.

The steps behind ``directory.start_upload`` and ``go_on``.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import paths
from ..errors import ConflictError, InvalidRequestError, NotFoundError, QuotaError, TooLargeError
from ..models import FileStat, Job
from ..sync_client import FirecrestClient
from ..v1.transfer import MAX_UPLOAD
from . import tree_jobs, workdir
from .archive import SUFFIX, pack
from .directory import (
    DirectoryOptions,
    DirectoryTransfer,
    Next,
    Watch,
    abandon,
    compare,
    finished,
    giving_up,
    tree_of,
)
from .plan import check_remote, staged_instead
from .sending import StagedUpload, stage_upload
from .tree import Entry, digest_of, scan
from .upload import check_parent, finish_upload, plan_upload, upload_direct

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_PER_ENTRY = 1024
"""Bytes of the archive for each entry besides its content: a header, and what fills its last block."""


def start(
    client: FirecrestClient,
    source: Path,
    target: str,
    system: str | None,
    options: DirectoryOptions,
    watch: Watch,
) -> Next:
    """Check everything, then pack and send; or have the tree that is there measured first."""
    options.check()
    source = Path(os.path.abspath(source))  # noqa: PTH100 (a link stays a link)
    if not source.is_dir():
        raise InvalidRequestError(f"source_path: there is no local directory {source}.")
    entries = scan(source)
    transfer = _planned(client, source, target, system, options)
    _check_size(client, entries, options)
    there = _what_is_there(client, transfer)
    if there is None:
        return _send(client, transfer, source, entries, watch)
    if options.if_exists == "overwrite":
        return _send(client, replace(transfer, replaces=True), source, entries, watch)
    _refuse_existing(transfer, there)
    return _have_measured(client, transfer, watch)


def go_on(client: FirecrestClient, transfer: DirectoryTransfer, job: Job | None, watch: Watch) -> Next:
    """Take the step after the one that was waited for."""
    if transfer.phase == "comparing" and job is not None:
        return _compared(client, transfer, job)
    if transfer.phase == "staging" and transfer.staged is not None:
        finish_upload(client, StagedUpload.from_dict(transfer.staged), job)
        return _have_unpacked(client, replace(transfer, staged=None), watch)
    if transfer.phase == "unpacking" and job is not None:
        return _unpacked(client, transfer, job)
    raise InvalidRequestError(f"An upload has no step after {transfer.phase!r}.")


def _planned(
    client: FirecrestClient, source: Path, target: str, system: str | None, options: DirectoryOptions
) -> DirectoryTransfer:
    info = client.system_info(system=system)
    wanted = paths.join(target, source.name) if target.endswith("/") else target
    wanted = paths.check(wanted, client.api.rules.ops, field="target_path")
    check_remote(wanted, info, field="target_path")
    mounts = [each.path.rstrip("/") for each in info.file_systems]
    if wanted in mounts:
        raise InvalidRequestError(f"target_path: {wanted} is a whole file system; name a directory in it.")
    options = replace(options, account=options.account or client.account)
    return DirectoryTransfer("upload", str(source), wanted, info.name, options)


def _check_size(client: FirecrestClient, entries: Sequence[Entry], options: DirectoryOptions) -> None:
    """Refuse what FirecREST v1 cannot carry before it is packed; of a compressed one nobody knows yet."""
    size = _archive_size(entries)
    if client.api.generation == 1 and options.compression == "none" and size > MAX_UPLOAD:
        raise InvalidRequestError(
            f"source_path: its archive would have {size} bytes; FirecREST v1 uploads by one form, of"
            f" which the"
            " object store takes 5 GiB at most. Upload its subdirectories one by one, or use FirecREST v2."
        )


def _what_is_there(client: FirecrestClient, transfer: DirectoryTransfer) -> FileStat | None:
    try:
        return client.stat(transfer.target, dereference=False, system=transfer.system)
    except NotFoundError:
        check_parent(client, paths.parent(transfer.target), transfer.system)
        return None


def _refuse_existing(transfer: DirectoryTransfer, there: FileStat) -> None:
    where = f"target_path: {transfer.target} exists on {transfer.system}"
    if transfer.options.if_exists == "fail":
        raise ConflictError(
            f"{where}; if_exists='overwrite' replaces it with all that is in it, if_exists='skip' accepts the"
            " same tree."
        )
    if not there.is_dir:
        raise ConflictError(f"{where} and is no directory; if_exists='skip' accepts only the same tree.")


def _have_measured(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> DirectoryTransfer:
    transfer = _with_work(client, transfer, watch)
    with giving_up(client, transfer):
        script = tree_jobs.pack_script(
            transfer.target,
            transfer.work,
            archive=None,
            contents=True,
            compression="none",
            time_limit=transfer.options.time_limit,
        )
        job_id = _submit(client, transfer, script, "measure")
    logger.info("%s is there; job %s measures it.", transfer.target, job_id)
    transfer = transfer.waits_for("comparing", job_id=job_id)
    watch.on_change(transfer)
    return transfer


def _compared(client: FirecrestClient, transfer: DirectoryTransfer, job: Job) -> Next:
    doing = f"Measuring {transfer.target}"
    theirs = tree_of(workdir.report(client, transfer.work, job, system=transfer.system, doing=doing))
    ours = digest_of(Path(transfer.source), field="source_path")
    if ours != theirs:
        raise ConflictError(
            f"target_path: {transfer.target} exists on {transfer.system} and is another tree than"
            f" {transfer.source} ({theirs.files} files with {theirs.bytes} bytes instead of {ours.files} with"
            f" {ours.bytes}); if_exists='skip' accepts only the same one."
        )
    abandon(client, transfer)
    return finished(transfer, ours, "skip")


def _send(
    client: FirecrestClient,
    transfer: DirectoryTransfer,
    source: Path,
    entries: Sequence[Entry],
    watch: Watch,
) -> DirectoryTransfer:
    """Pack into a temporary file here, send it, forget it."""
    _check_room(entries, transfer.options)
    transfer = _with_work(client, transfer, watch)
    with (
        giving_up(client, transfer),
        tempfile.TemporaryDirectory(prefix="firecrest-upload-") as here,
    ):
        archive = Path(here, f"{source.name or 'tree'}{SUFFIX[transfer.options.compression]}")
        logger.info("Packing %s (%d entries) into %s.", source, len(entries), archive)
        tree = pack(source, entries, archive, compression=transfer.options.compression, stop=watch.stop)
        return _send_archive(client, replace(transfer, tree=tree), archive, watch)


def _send_archive(
    client: FirecrestClient, transfer: DirectoryTransfer, archive: Path, watch: Watch
) -> DirectoryTransfer:
    plan = plan_upload(
        client,
        archive,
        transfer.archive,
        system=transfer.system,
        account=transfer.options.account,
        if_exists="overwrite",
        # The digest of the unpacked tree proves more than that of the archive.
        verify_checksum=False,
        # Nobody looks for it there.
        in_place=True,
    )
    logger.info("Sending %d bytes, %s.", plan.size, plan.way)
    if plan.way == "direct":
        try:
            upload_direct(client, plan)
            return _have_unpacked(client, transfer, watch)
        except TooLargeError as error:
            logger.warning("The direct way cannot carry it after all: %s", error.message)
            plan = staged_instead(client, plan)
    staged = stage_upload(
        client,
        plan,
        progress=watch.progress,
        on_start=lambda job: watch.on_change(replace(transfer, job_id=job.job_id)),
        stop=watch.stop,
    )
    transfer = transfer.waits_for(
        "staging", job_id=staged.job_id, task_id=staged.task_id, staged=staged.as_dict(), way="staged"
    )
    watch.on_change(transfer)
    return transfer


def _have_unpacked(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> DirectoryTransfer:
    assert transfer.tree is not None
    script = tree_jobs.unpack_script(
        transfer.target,
        transfer.work,
        archive=transfer.archive_name,
        expected=transfer.tree,
        contents=transfer.options.verify_checksum,
        compression=transfer.options.compression,
        replace=transfer.replaces,
        time_limit=transfer.options.time_limit,
    )
    job_id = _submit(client, transfer, script, "unpack")
    logger.info("Job %s unpacks the archive and compares the trees.", job_id)
    transfer = transfer.waits_for("unpacking", job_id=job_id)
    watch.on_change(transfer)
    return transfer


def _unpacked(client: FirecrestClient, transfer: DirectoryTransfer, job: Job) -> Next:
    assert transfer.tree is not None
    doing = f"Unpacking {transfer.target} on {transfer.system}"
    theirs = tree_of(workdir.report(client, transfer.work, job, system=transfer.system, doing=doing))
    compare(transfer.tree, theirs, contents=transfer.options.verify_checksum, what=doing)
    workdir.must_be_a_directory(client, transfer.target, transfer.work, job, system=transfer.system)
    abandon(client, transfer)
    return finished(transfer, transfer.tree, transfer.way)


def _with_work(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> DirectoryTransfer:
    work = workdir.make(client, paths.parent(transfer.target), transfer.system, field="target_path")
    transfer = replace(transfer, work=work)
    watch.on_change(transfer)
    return transfer


def _submit(client: FirecrestClient, transfer: DirectoryTransfer, script: str, what: str) -> str:
    return workdir.submit(
        client,
        script,
        transfer.work,
        what=what,
        system=transfer.system,
        account=transfer.options.account,
        partition=transfer.options.partition,
    )


def _archive_size(entries: Sequence[Entry]) -> int:
    return sum(each.size for each in entries) + _PER_ENTRY * len(entries)


def _check_room(entries: Sequence[Entry], options: DirectoryOptions) -> None:
    """Refuse to begin what cannot end: an archive as large as the tree needs its place here."""
    directory, size = tempfile.gettempdir(), _archive_size(entries)
    free = shutil.disk_usage(directory).free
    if options.compression == "none" and free < size:
        raise QuotaError(
            f"The archive needs {size} bytes in {directory}, and {free} are free there. Free some, set TMPDIR"
            " for Airflow's workers, or try compression='gzip'."
        )
