"""Downloading a directory: let a job there measure and pack it, fetch the archive, unpack it here, compare,
and give it its name.

The steps behind ``directory.start_download`` and ``go_on``.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .. import paths
from ..errors import ConflictError, InvalidRequestError, NotFoundError, QuotaError, TooLargeError
from ..models import Job
from ..sync_client import FirecrestClient
from . import tree_jobs, workdir
from .archive import check_stop, not_written, remove, unpack
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
from .download import StagedDownload, download_direct, finish_download, plan_download, stage_download
from .plan import check_remote, staged_instead
from .tree import TreeDigest, digest_of

logger = logging.getLogger("airflow_provider_firecrest.transfers")


def start(
    client: FirecrestClient,
    source: str,
    target: Path | str,
    system: str | None,
    options: DirectoryOptions,
    watch: Watch,
) -> Next:
    """Check everything, then have the tree packed; only measured, when there is one to compare it with."""
    options.check()
    transfer = _planned(client, source, target, system, options)
    there = Path(transfer.target)
    exists = there.exists() or there.is_symlink()
    comparing = exists and options.if_exists == "skip"
    if exists and options.if_exists != "overwrite":
        _refuse_existing(transfer, there)
    transfer = replace(transfer, replaces=exists)
    work = workdir.make(client, paths.parent(transfer.source), transfer.system, field="source_path")
    transfer = replace(transfer, work=work)
    watch.on_change(transfer)
    with giving_up(client, transfer):
        return _have_packed(client, transfer, watch, comparing=comparing)


def go_on(client: FirecrestClient, transfer: DirectoryTransfer, job: Job | None, watch: Watch) -> Next:
    """Take the step after the one that was waited for."""
    if transfer.phase == "comparing" and job is not None:
        return _compared(client, transfer, job, watch)
    if transfer.phase == "packing" and job is not None:
        tree = _measured(client, transfer, job)
        logger.info("%s holds %d files with %d bytes.", transfer.source, tree.files, tree.bytes)
        return fetch(client, replace(transfer, tree=tree), watch)
    if transfer.phase == "staging" and transfer.staged is not None:
        return _fetched(client, transfer, job, watch)
    raise InvalidRequestError(f"A download has no step after {transfer.phase!r}.")


def fetch(client: FirecrestClient, transfer: DirectoryTransfer, watch: Watch) -> Next:
    """Fetch the packed archive: directly, or have it put into the object store first."""
    with _here(Path(transfer.target)) as here:
        archive = here / transfer.archive_name
        plan = plan_download(
            client,
            transfer.archive,
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
                return _unpacked(client, transfer, here, archive, watch)
            except TooLargeError as error:
                logger.warning("The direct way cannot carry it after all: %s", error.message)
                plan = staged_instead(client, plan)
    staged = stage_download(client, plan)
    transfer = transfer.waits_for(
        "staging", job_id=staged.job_id, task_id=staged.task_id, staged=staged.as_dict(), way="staged"
    )
    watch.on_change(transfer)
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
    return DirectoryTransfer("download", source, str(local), info.name, options)


def directory_target(target: Path | str, source: str) -> Path:
    """Return the full local path of a directory to be.

    :raises InvalidRequestError: the directory it would stand in does not exist.
    """
    into = str(target).endswith("/")
    wanted = (Path(target, paths.basename(source)) if into else Path(target)).absolute()
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
    script = tree_jobs.pack_script(
        transfer.source,
        transfer.work,
        archive=None if comparing else transfer.archive_name,
        contents=comparing or transfer.options.verify_checksum,
        compression=transfer.options.compression,
        time_limit=transfer.options.time_limit,
    )
    job_id = workdir.submit(
        client,
        script,
        transfer.work,
        what="measure" if comparing else "pack",
        system=transfer.system,
        account=transfer.options.account,
        partition=transfer.options.partition,
    )
    logger.info("Job %s %s %s.", job_id, "measures" if comparing else "packs", transfer.source)
    transfer = transfer.waits_for("comparing" if comparing else "packing", job_id=job_id)
    watch.on_change(transfer)
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
            f" {transfer.system} ({ours.files} files with {ours.bytes} bytes instead of {theirs.files} with"
            f" {theirs.bytes}); if_exists='skip' accepts only the same one."
        )
    abandon(client, transfer)
    return finished(transfer, ours, "skip")


def _fetched(client: FirecrestClient, transfer: DirectoryTransfer, job: Job | None, watch: Watch) -> Next:
    assert transfer.staged is not None
    with _here(Path(transfer.target)) as here:
        archive = here / transfer.archive_name
        staged = replace(StagedDownload.from_dict(transfer.staged), target=str(archive))
        _check_room(here, staged.size, transfer)
        finish_download(client, staged, job, progress=watch.progress, stop=watch.stop)
        return _unpacked(client, transfer, here, archive, watch)


def _unpacked(
    client: FirecrestClient, transfer: DirectoryTransfer, here: Path, archive: Path, watch: Watch
) -> Next:
    """Unpack beside the target, compare, and give it its name."""
    assert transfer.tree is not None
    tree, target = here / "tree", Path(transfer.target)
    tree.mkdir()
    unpack(archive, tree, compression=transfer.options.compression, stop=watch.stop)
    archive.unlink()
    contents = transfer.options.verify_checksum
    ours = digest_of(tree, contents=contents, stop=watch.stop)
    compare(ours, transfer.tree, contents=contents, what=f"{transfer.source} on {transfer.system}, unpacked")
    check_stop(watch.stop)
    _publish(tree, target, here / "old", replaces=transfer.replaces)
    abandon(client, transfer)
    return finished(transfer, ours, transfer.way)


def _publish(tree: Path, target: Path, old: Path, *, replaces: bool) -> None:
    exists = target.exists() or target.is_symlink()
    if exists and not replaces:
        raise ConflictError(f"target_path: {target} has come into being meanwhile.")
    try:
        if exists:
            target.rename(old)
        try:
            tree.rename(target)
        except OSError:
            if exists:
                old.rename(target)
            raise
    except OSError as error:
        raise not_written(target, error) from None


@contextmanager
def _here(target: Path) -> Iterator[Path]:
    """Yield a temporary directory beside the target, on its file system; nothing is left of it."""
    try:
        here = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=target.parent))
    except OSError as error:
        raise not_written(target.parent, error) from None
    try:
        yield here
    finally:
        remove(here)


def _check_room(here: Path, archive: int, transfer: DirectoryTransfer) -> None:
    needed = archive + (transfer.tree.bytes if transfer.tree else 0)
    free = shutil.disk_usage(here).free
    if free < needed:
        raise QuotaError(
            f"{transfer.target} needs {needed} bytes while it is unpacked (the archive and the tree),"
            f" and {free}"
            " are free there."
        )
