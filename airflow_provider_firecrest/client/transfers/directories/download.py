"""Downloading a directory: let a job there measure and pack it, fetch the archive, unpack it here, compare,
and give it its name.

The steps behind ``directory.start_download`` and ``go_on``.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from ...._crash_points import crash_point
from ... import paths
from ...errors import ConflictError, InvalidRequestError, NotFoundError, TooLargeError
from ...models import Job
from ...sync_client import FirecrestClient
from ..download import StagedDownload, download_direct, finish_download, plan_download, stage_download
from ..plan import DownloadPlan, check_remote, local_path, staged_instead
from ..resume import continued_download
from ..steps import workdir
from ..steps.jobs import submitted
from ..steps.resume import abandon, clear_up_unnoted, continued, giving_up
from ..steps.state import Again, Phase, StepwiseTransfer, Watch
from . import tree_jobs
from .local import Here, discard, put_back
from .state import DirectoryOptions, DirectoryTransfer, Next, finished
from .tree import TreeDigest, digest_of, in_numbers
from .tree_jobs import tree_of
from .unpacking import check_room, here_for, is_published, local_archive, put_into_place, stem

logger = logging.getLogger("airflow_provider_firecrest.transfers")


def start(
    client: FirecrestClient,
    source: str,
    target: Path | str,
    system: str | None,
    options: DirectoryOptions,
    watch: Watch,
    earlier: StepwiseTransfer | None = None,
) -> Next:
    """Go on with what an earlier process left, where that holds; else check everything, then have the tree
    packed; only measured, when there is one to compare it with.
    """
    options.check()
    transfer = _planned(client, source, target, system, options)
    there, again = Path(transfer.target), watch.again
    put_back(there, stem(there), again.place)
    if earlier is not None and (going := continued(client, transfer, earlier)) is not None:
        return _from_there(client, going, watch)
    clear_up_unnoted(client, transfer, again)
    discard(there.parent, stem(there), again.place)
    exists = os.path.lexists(there)
    ours = earlier is not None and earlier.target == transfer.target and _has_put_it_there(earlier, watch)
    if exists and not ours and options.if_exists != "overwrite":
        _refuse_existing(transfer, there)
    comparing = exists and not ours and options.if_exists == "skip"
    return _have_packed(client, replace(transfer, replaces=exists), watch, comparing=comparing)


def _has_put_it_there(earlier: StepwiseTransfer, watch: Watch) -> bool:
    """Whether the tree at the target is an earlier try's own work."""
    if not isinstance(earlier, DirectoryTransfer) or earlier.phase != "publishing":
        return False
    return is_published(earlier, watch)


def _from_there(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> Next:
    """Take the step that an earlier process did not get to, or to the end of."""
    watch.on_change(transfer)
    if transfer.phase == "publishing":
        # Killed before or after the tree got its name: it tells by itself.
        if is_published(transfer, watch):
            return _done(client, transfer, watch)
        transfer = replace(transfer, phase="staging" if transfer.staged else "packing")
    if transfer.phase == "done":
        return _cleared(client, transfer, watch.again)
    if transfer.phase == "comparing" or (transfer.phase == "packing" and transfer.tree is None):
        if transfer.job_id is not None:
            return transfer
        return _have_packed(client, transfer, watch, comparing=transfer.phase == "comparing")
    with giving_up(client, transfer, watch.again):
        return fetch(client, transfer, watch)


def go_on(client: FirecrestClient, transfer: DirectoryTransfer, job: Job | None, watch: Watch) -> Next:
    """Take the step after the one that was waited for."""
    if transfer.phase == "comparing" and job is not None:
        return _compared(client, transfer, job, watch)
    if transfer.phase == "packing" and job is not None:
        transfer = replace(transfer, tree=_measured(client, transfer, job))
        assert transfer.tree is not None
        logger.info(
            "%s holds %d files with %d bytes.", transfer.source, transfer.tree.files, transfer.tree.bytes
        )
        watch.on_change(transfer)
        return fetch(client, transfer, watch)
    if transfer.phase == "staging" and transfer.staged is not None:
        return _fetched(client, transfer, job, watch)
    raise InvalidRequestError(f"A download has no step after {transfer.phase!r}.")


def fetch(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> Next:
    """Fetch the packed archive: directly, or have it put into the object store first, where it is not yet."""
    with here_for(transfer, watch.again) as here:
        archive = local_archive(here, transfer)
        if archive.exists():
            return _unpacked(client, transfer, here, watch)
        plan = plan_download(
            client,
            transfer.payload,
            archive,
            system=transfer.system,
            account=transfer.options.account,
            # The digest of the unpacked tree proves more than that of the archive.
            verify_checksum=False,
        )
        logger.info("The archive has %d bytes and goes %s.", plan.size, plan.way)
        if plan.way == "direct":
            try:
                download_direct(client, plan)
                return _unpacked(client, transfer, here, watch)
            except TooLargeError as error:
                logger.warning("The direct way cannot carry it after all: %s", error.message)
                plan = staged_instead(client, plan)
        # What an earlier process has fetched of it waits for the object.
        here.keep = watch.again.keep
    return _staged(client, transfer, plan, watch)


def _staged(
    client: FirecrestClient, transfer: DirectoryTransfer, plan: DownloadPlan, watch: Watch
) -> DirectoryTransfer:
    """Have the archive put into the object store, unless an earlier process did."""
    earlier = StagedDownload.from_dict(transfer.staged) if transfer.staged else None
    staged = continued_download(client, plan, earlier) if earlier else None
    if staged is None:
        # Should the process before have died before it wrote down which job it had started, that one fills an
        # object of its own; cancelled, it would leave half of one in the store, and nobody could remove it.
        staged = stage_download(client, plan)
        crash_point("after_staging")
    transfer = transfer.waits_for(
        "staging", job_id=staged.job_id, task_id=staged.task_id, staged=staged.as_dict(), way="staged"
    )
    watch.on_change(transfer)
    what = f"Job {staged.job_id}" if staged.job_id else f"FirecREST's task {staged.task_id}"
    logger.info("%s puts the archive into the object storage.", what)
    return transfer


def _planned(
    client: FirecrestClient, source: str, target: Path | str, system: str | None, options: DirectoryOptions
) -> DirectoryTransfer:
    info = client.system_info(system=system)
    source = paths.check(source.rstrip("/") or "/", client.api.rules.ops, field="source_path")
    check_remote(source, info, field="source_path")
    if source in [each.path.rstrip("/") for each in info.file_systems]:
        raise InvalidRequestError(f"source_path: {source} is a whole file system; name a directory in it.")
    try:
        found = client.stat(source, system=info.name)
    except NotFoundError:
        raise NotFoundError(f"source_path: there is no directory {source} on {info.name}.") from None
    if not found.is_dir:
        raise InvalidRequestError(f"source_path: {source} on {info.name} is not a directory.")
    options = replace(options, account=options.account or client.account)
    local = directory_target(target, source)
    # A change below its top does not show here: what is fetched is what was there when it was packed.
    stamp = f"{found.mtime} {found.size}"
    return DirectoryTransfer("download", source, str(local), info.name, options, source_stamp=stamp)


def directory_target(target: Path | str, source: str) -> Path:
    """Return the full local path of a directory to be.

    :raises InvalidRequestError: the directory it would stand in does not exist.
    """
    into = str(target).endswith("/")
    wanted = local_path(target, field="target_path")
    wanted = wanted / paths.basename(source) if into else wanted
    if not wanted.name:
        raise InvalidRequestError(f"target_path: {target} cannot be replaced by a directory.")
    if not wanted.parent.is_dir():
        raise InvalidRequestError(f"target_path: there is no local directory {wanted.parent}.")
    return wanted


def _refuse_existing(transfer: DirectoryTransfer, there: Path) -> None:
    if transfer.options.if_exists == "fail":
        raise ConflictError(
            f"target_path: {there} exists; if_exists='overwrite' replaces it with all that is in it,"
            " if_exists='skip' accepts the same tree."
        )
    if not there.is_dir():
        raise ConflictError(
            f"target_path: {there} exists and is no directory; if_exists='skip' accepts only the same tree."
        )


def _have_packed(
    client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch, *, comparing: bool
) -> DirectoryTransfer:
    if not transfer.work:
        # Said before it is made, so that it is removed whatever comes between.
        work = workdir.path_in(paths.parent(transfer.source), watch.again.place)
        transfer = replace(transfer, work=work)
        watch.on_change(transfer)
    with giving_up(client, transfer, watch.again):
        workdir.make(client, transfer.work, transfer.system, field="source_path")
        crash_point("after_mkdir")
        script = tree_jobs.pack_script(
            transfer.source,
            transfer.work,
            archive=None if comparing else transfer.archive_name,
            contents=comparing or transfer.options.verify_checksum,
            compression=transfer.options.compression,
            time_limit=transfer.options.time_limit,
        )
        phase: Phase = "comparing" if comparing else "packing"
        transfer = submitted(client, transfer, phase, "measure" if comparing else "pack", script, watch)
    logger.info("Job %s %s %s.", transfer.job_id, "measures" if comparing else "packs", transfer.source)
    return transfer


def _measured(client: FirecrestClient, transfer: DirectoryTransfer, job: Job) -> TreeDigest:
    doing = f"{'Measuring' if transfer.phase == 'comparing' else 'Packing'} {transfer.source}"
    return tree_of(workdir.report(client, transfer.work, job, system=transfer.system, doing=doing))


def _compared(client: FirecrestClient, transfer: DirectoryTransfer, job: Job, watch: Watch) -> Next:
    theirs = _measured(client, transfer, job)
    ours = digest_of(Path(transfer.target), stop=watch.stop)
    if ours != theirs:
        raise ConflictError(
            f"target_path: {transfer.target} exists and is another tree than {transfer.source} on"
            f" {transfer.system} ({in_numbers(ours, theirs)}); if_exists='skip' accepts only the same one."
        )
    abandon(client, transfer)
    return finished(transfer, ours, "skip")


def _fetched(client: FirecrestClient, transfer: DirectoryTransfer, job: Job | None, watch: Watch) -> Next:
    assert transfer.staged is not None
    with here_for(transfer, watch.again) as here:
        archive = local_archive(here, transfer)
        staged = replace(StagedDownload.from_dict(transfer.staged), target=str(archive))
        check_room(here, staged.size, transfer)
        finish_download(
            client,
            staged,
            job,
            progress=watch.progress,
            stop=watch.stop,
            mark=watch.again.place,
            keep=watch.again.keep,
        )
        return _unpacked(client, transfer, here, watch)


def _unpacked(client: FirecrestClient, transfer: DirectoryTransfer, here: Here, watch: Watch) -> Next:
    return _done(client, put_into_place(transfer, here, watch), watch)


def _done(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> Next:
    transfer = replace(transfer, phase="done")
    watch.on_change(transfer)
    crash_point("before_clearing")
    return _cleared(client, transfer, watch.again)


def _cleared(client: FirecrestClient, transfer: DirectoryTransfer, again: Again) -> Next:
    """Remove what is not needed any more, now that the tree is there and right."""
    assert transfer.tree is not None
    target = Path(transfer.target)
    abandon(client, transfer)
    discard(target.parent, stem(target), again.place)
    crash_point("after_clearing")
    return finished(transfer, transfer.tree, transfer.way)
