"""Uploading a directory: pack it here, send the archive, let a job there unpack it, compare, and give it its
name.

The steps behind ``directory.start_upload`` and ``go_on``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...._crash_points import crash_point
from ... import paths
from ...errors import ConflictError, InvalidRequestError, NotFoundError
from ...models import FileStat, Job
from ...sync_client import FirecrestClient
from ...v1.transfer import MAX_UPLOAD
from ..plan import check_no_root, check_remote
from ..sending import StagedUpload
from ..steps import workdir
from ..steps.jobs import submitted
from ..steps.resume import abandon, clear_up_unnoted, continued, giving_up, has_put_it_there
from ..steps.sending import make_work, with_work
from ..steps.state import StepwiseTransfer, Watch
from ..upload import finish_upload
from ..upload_plan import check_parent
from . import tree_jobs
from .sending import archive_size, forget_packed, sent
from .state import DirectoryOptions, DirectoryTransfer, Next, finished
from .tree import Entry, compare, digest_of, in_numbers, scan, stamp
from .tree_jobs import tree_of

logger = logging.getLogger("airflow_provider_firecrest.transfers")


def start(
    client: FirecrestClient,
    source: Path,
    target: str,
    system: str | None,
    options: DirectoryOptions,
    watch: Watch,
    earlier: StepwiseTransfer | None = None,
) -> Next:
    """Go on with what an earlier process left, where that holds; else check everything, then pack and send,
    or have the tree that is there measured first.
    """
    options.check()
    source = Path(os.path.abspath(source))  # noqa: PTH100 (a link stays a link)
    if not source.is_dir():
        raise InvalidRequestError(f"source_path: there is no local directory {source}.")
    entries = scan(source)
    transfer = replace(_planned(client, source, target, system, options), source_stamp=stamp(entries))
    _check_size(client, entries, options)
    if earlier is not None and (going := continued(client, transfer, earlier)) is not None:
        return _from_there(client, going, entries, watch)
    clear_up_unnoted(client, transfer, watch.again)
    forget_packed(watch.again)
    there = _what_is_there(client, transfer)
    if there is None:
        return _send(client, transfer, entries, watch)
    ours = earlier is not None and earlier.target == transfer.target and has_put_it_there(client, earlier)
    if ours or options.if_exists == "overwrite":
        return _send(client, replace(transfer, replaces=True), entries, watch)
    _refuse_existing(transfer, there)
    return _have_measured(client, transfer, watch)


def _from_there(
    client: FirecrestClient, transfer: DirectoryTransfer, entries: Sequence[Entry], watch: Watch
) -> Next:
    """Take the step that an earlier process did not get to, or to the end of."""
    watch.on_change(transfer)
    if transfer.phase == "sending":
        return _send(client, transfer, entries, watch)
    # Killed right after it was sent, the archive may still lie here.
    forget_packed(watch.again)
    if transfer.phase == "done":
        return _cleared(client, transfer)
    if transfer.phase == "staging" or transfer.job_id is not None:
        return transfer
    if transfer.phase == "comparing":
        return _have_measured(client, transfer, watch)
    with giving_up(client, transfer, watch.again):
        return _have_unpacked(client, transfer, watch)


def go_on(client: FirecrestClient, transfer: DirectoryTransfer, job: Job | None, watch: Watch) -> Next:
    """Take the step after the one that was waited for."""
    if transfer.phase == "comparing" and job is not None:
        return _compared(client, transfer, job)
    if transfer.phase == "staging" and transfer.staged is not None:
        finish_upload(client, StagedUpload.from_dict(transfer.staged), job)
        return _have_unpacked(client, replace(transfer, staged=None), watch)
    if transfer.phase == "unpacking" and job is not None:
        return _unpacked(client, transfer, job, watch)
    raise InvalidRequestError(f"An upload has no step after {transfer.phase!r}.")


def _planned(
    client: FirecrestClient, source: Path, target: str, system: str | None, options: DirectoryOptions
) -> DirectoryTransfer:
    info = client.system_info(system=system)
    wanted = paths.join(target, source.name) if target.endswith("/") else target
    wanted = paths.check(wanted, client.api.rules.ops, field="target_path")
    check_remote(wanted, info, field="target_path")
    check_no_root(client, wanted, info, field="target_path")
    options = replace(options, account=options.account or client.account)
    return DirectoryTransfer("upload", str(source), wanted, info.name, options)


def _check_size(client: FirecrestClient, entries: Sequence[Entry], options: DirectoryOptions) -> None:
    """Refuse what FirecREST v1 cannot carry before it is packed; of a compressed one nobody knows yet."""
    size = archive_size(entries)
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
    transfer = with_work(transfer, watch)
    with giving_up(client, transfer, watch.again):
        make_work(client, transfer)
        script = tree_jobs.pack_script(
            transfer.target,
            transfer.work,
            archive=None,
            contents=True,
            compression="none",
            time_limit=transfer.options.time_limit,
        )
        transfer = submitted(client, transfer, "comparing", "measure", script, watch)
    logger.info("%s is there; job %s measures it.", transfer.target, transfer.job_id)
    return transfer


def _compared(client: FirecrestClient, transfer: DirectoryTransfer, job: Job) -> Next:
    doing = f"Measuring {transfer.target}"
    theirs = tree_of(workdir.report(client, transfer.work, job, system=transfer.system, doing=doing))
    ours = digest_of(Path(transfer.source), field="source_path")
    if ours != theirs:
        raise ConflictError(
            f"target_path: {transfer.target} exists on {transfer.system} and is another tree than"
            f" {transfer.source} ({in_numbers(theirs, ours)}); if_exists='skip' accepts only the same one."
        )
    abandon(client, transfer)
    return finished(transfer, ours, "skip")


def _send(
    client: FirecrestClient, transfer: DirectoryTransfer, entries: Sequence[Entry], watch: Watch
) -> DirectoryTransfer:
    """Pack the tree, send the archive, and have it unpacked once it is there."""
    transfer = with_work(transfer, watch)
    with giving_up(client, transfer, watch.again):
        transfer = sent(client, transfer, entries, watch, make=lambda: make_work(client, transfer))
        return transfer if transfer.phase == "staging" else _have_unpacked(client, transfer, watch)


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
    transfer = submitted(client, transfer, "unpacking", "unpack", script, watch)
    logger.info("Job %s unpacks the archive and compares the trees.", transfer.job_id)
    return transfer


def _unpacked(client: FirecrestClient, transfer: DirectoryTransfer, job: Job, watch: Watch) -> Next:
    assert transfer.tree is not None
    doing = f"Unpacking {transfer.target} on {transfer.system}"
    theirs = tree_of(workdir.report(client, transfer.work, job, system=transfer.system, doing=doing))
    compare(transfer.tree, theirs, contents=transfer.options.verify_checksum, what=doing)
    workdir.must_be_a_directory(client, transfer.target, transfer.work, job, system=transfer.system)
    transfer = replace(transfer, phase="done")
    watch.on_change(transfer)
    crash_point("before_clearing")
    return _cleared(client, transfer)


def _cleared(client: FirecrestClient, transfer: DirectoryTransfer) -> Next:
    """Remove what is not needed any more, now that the tree is there and right."""
    assert transfer.tree is not None
    abandon(client, transfer)
    crash_point("after_clearing")
    return finished(transfer, transfer.tree, transfer.way)
