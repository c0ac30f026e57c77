"""Planning a file operation: everything that can be checked before anything is sent, and what is there now.

A server's file job answers COMPLETED for a missing source, `cp` and `mv` nest when the target is a
directory, `tar` makes an empty archive of nothing: so all of that is looked at first.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import get_args

from .. import paths, script
from ..errors import ConflictError, InvalidRequestError, NotFoundError
from ..models import System
from ..sync_client import FirecrestClient
from ..transfers.plan import IfExists, check_if_exists, check_no_root, check_remote
from . import dependency
from .looks import files_differ, look, with_cheap_content
from .operation import FileOperation, Kind, Look
from .ways import choose_way

COMPRESSIONS = {"gzip": (".tar.gz", ".tgz"), "bzip2": (".tar.bz2", ".tbz2"), "xz": (".tar.xz", ".txz")}
"""By the archive's ending; an archive of another ending than these is `none` when it is ``.tar``."""

_TIME = re.compile(r"\d+|(\d+-)?\d{1,2}(:\d{2}){1,2}|\d+-\d{1,2}")


def plan_operation(
    client: FirecrestClient,
    kind: Kind,
    source: str,
    target: str | None = None,
    *,
    system: str | None = None,
    account: str | None = None,
    after_job_id: str | None = None,
    job_name: str | None = None,
    time_limit: str | None = None,
    partition: str | None = None,
    if_exists: IfExists = "fail",
    missing_ok: bool = False,
    verify_checksum: bool = True,
    compression: str | None = None,
    dereference: bool = False,
) -> FileOperation:
    """Check a file operation, and choose the way it is done.

    :param client: the client.
    :param kind: ``mv``, ``cp``, ``rsync``, ``rm``, ``compress`` or ``extract``.
    :param source: absolute path on the system. For ``rsync`` a slash at its end means "what is in it".
    :param target: absolute path on the system; none for ``rm``. For ``mv``, ``cp`` and ``rsync`` a directory
        is entered (``target/name``); a slash at its end says that it is one. For ``extract`` an existing
        directory.
    :param system: system name; default: the connection's.
    :param account: Slurm account of the job; default: the connection's.
    :param after_job_id: start when this job has succeeded; the source may be made by it.
    :param job_name: name of the job; asks for a job.
    :param time_limit: its time limit, such as ``02:00:00``; asks for a job.
    :param partition: its partition; asks for a batch job of ours.
    :param if_exists: what to do when there is something at the outcome's path (``mv``, ``cp``,
        ``compress``): ``fail``; ``overwrite``; ``skip`` accepts the same file (``cp`` of a file only).
    :param missing_ok: ``rm`` of a path that is not there is fine.
    :param verify_checksum: compare contents after ``cp`` and ``mv`` of a file, not only its size.
    :param compression: ``gzip``, ``bzip2``, ``xz`` or ``none``; default: what the archive's name says.
    :param dereference: archive what links point to.
    :returns: the operation.
    :raises InvalidRequestError: something is wrong; the message names the parameter.
    :raises NotFoundError: the source, or the target's directory, does not exist.
    :raises ConflictError: there is something at the outcome's path.
    :raises JobFailedError: the job to wait for has failed.
    :endpoint: GET /status/systems, GET .../ops/stat
    """
    _check_options(kind, target, if_exists, job_name, time_limit, partition)
    info = client.system_info(system=system)
    source, target = checked_paths(client, kind, source, target, info)
    archive = source if kind == "extract" else target
    operation = FileOperation(
        kind=kind,
        source=source,
        target=target,
        result=target or source,
        system=info.name,
        way="job",
        name=job_name or f"firecrest-{kind}-{uuid.uuid4().hex[:8]}",
        account=account or client.account,
        time_limit=None if time_limit is None else str(time_limit),
        partition=partition,
        verify_checksum=verify_checksum,
        compression=_compression(compression, archive),
        dereference=dereference,
        missing_ok=missing_ok and kind == "rm",
    )
    if after_job_id is not None:
        job_id = dependency.check_job_id(after_job_id)
        waits_for = dependency.still_to_wait_for(client, job_id, info.name, str(operation))
        operation = replace(operation, after_job_id=waits_for)
    operation = _with_source(client, operation)
    if operation.source_before is None and operation.after_job_id is None:
        return replace(operation, way="skip")
    if kind != "rm":
        operation = _with_result(client, operation)
        operation = _existing(client, operation, if_exists)
    if operation.way == "skip":
        return operation
    asked = operation.after_job_id is not None or job_name is not None or time_limit is not None
    operation = replace(operation, way=choose_way(client, operation, asks_for_job=asked))
    return _with_content(client, operation)


def _check_options(
    kind: str,
    target: str | None,
    if_exists: str,
    job_name: str | None,
    time_limit: str | None,
    partition: str | None,
) -> None:
    if kind not in get_args(Kind):
        raise InvalidRequestError(f"kind: {kind!r} is not one of {', '.join(get_args(Kind))}.")
    if (kind == "rm") == bool(target):
        raise InvalidRequestError("target_path: empty." if kind != "rm" else "target_path: rm has none.")
    check_if_exists(if_exists)
    if job_name is not None:
        script.check_job_name(job_name)
        if re.search(r"['\"`$\\]", job_name):
            raise InvalidRequestError(
                f"job_name: {job_name!r} contains a character that a shell would interpret."
            )
    if time_limit is not None and not _TIME.fullmatch(str(time_limit)):
        raise InvalidRequestError(f"time_limit: {time_limit!r} is not a time such as 02:00:00.")
    if partition is not None and not re.fullmatch(r"[\w.,-]+", partition):
        raise InvalidRequestError(f"partition: {partition!r} is not the name of a partition.")


def checked_paths(
    client: FirecrestClient, kind: Kind, source: str, target: str | None, info: System
) -> tuple[str, str]:
    """Return an operation's paths as they are sent.

    :param client: the client.
    :param kind: the operation.
    :param source: absolute path on the system.
    :param target: absolute path on the system, or None.
    :param info: the system, with its file systems.
    :raises InvalidRequestError: a path is outside the file systems, holds ``..``, cannot be carried, or is a
        whole file system, or all that the user has on one, that would be removed or moved.
    """
    rule = client.api.rules.ops
    field = "path" if kind == "rm" else "source_path"
    source = paths.check(source, rule, field=field)
    check_remote(source, info, field=field)
    if kind in ("rm", "mv"):
        check_no_root(client, source, info, field=field)
    if kind != "rsync":
        source = source.rstrip("/")
    if target is None:
        return source, ""
    target = paths.check(target, rule, field="target_path")
    check_remote(target, info, field="target_path")
    if kind in ("compress", "extract"):
        target = target.rstrip("/")
    return source, target


def _compression(given: str | None, archive: str) -> str:
    if given is not None:
        if given != "none" and given not in COMPRESSIONS:
            known = ", ".join([*COMPRESSIONS, "none"])
            raise InvalidRequestError(f"compression: {given!r} is not one of {known}.")
        return given
    for name, endings in COMPRESSIONS.items():
        if archive.endswith(endings):
            return name
    return "none" if archive.endswith(".tar") else "gzip"


def _with_source(client: FirecrestClient, operation: FileOperation) -> FileOperation:
    """Look at the source; it may be missing when a job is still to make it, or when that is fine."""
    follow = operation.kind == "extract" or operation.source.endswith("/")
    found = look(client, operation.source, operation.system, follow=follow)
    if found is None and operation.after_job_id is None and not operation.missing_ok:
        field = "path" if operation.kind == "rm" else "source_path"
        raise NotFoundError(f"{field}: there is no {operation.source} on {operation.system}.")
    if operation.after_job_id is not None:
        # What is there now may not be what the job leaves.
        return operation
    if found is not None and operation.kind == "extract" and not found.is_file:
        raise InvalidRequestError(f"source_path: {operation.source} on {operation.system} is not a file.")
    return replace(operation, source_before=found)


def _with_result(client: FirecrestClient, operation: FileOperation) -> FileOperation:
    """Find out where the outcome will be, and what is there now."""
    there = look(client, operation.target, operation.system, follow=True)
    is_directory = there is not None and there.is_dir
    if operation.kind == "extract":
        return _with_directory_to_fill(operation, there)
    if operation.target.endswith("/") and not is_directory and operation.after_job_id is None:
        raise NotFoundError(f"target_path: there is no directory {operation.target} on {operation.system}.")
    result = place(operation, into_directory=is_directory, source=operation.source_before)
    operation = replace(operation, result=result, into_directory=is_directory)
    _check_apart(operation)
    if result != operation.target or there is None:
        there = look(client, result, operation.system)
    if there is None and not is_directory and operation.after_job_id is None:
        _check_parent(client, operation)
    return replace(operation, result_before=there)


def _with_directory_to_fill(operation: FileOperation, there: Look | None) -> FileOperation:
    if there is None and operation.after_job_id is None:
        raise NotFoundError(f"target_path: there is no directory {operation.target} on {operation.system}.")
    if there is not None and not there.is_dir:
        raise InvalidRequestError(
            f"target_path: {operation.target} on {operation.system} is not a directory."
        )
    return replace(operation, result_before=there, into_directory=there is not None)


def place(operation: FileOperation, *, into_directory: bool, source: Look | None) -> str:
    """Return the full path that an operation's outcome gets, as the tools decide it.

    :param into_directory: the target is a directory that exists.
    :param source: what is moved or copied; None when that is not known yet.
    """
    target = operation.target.rstrip("/")
    inside = paths.join(target, paths.basename(operation.source))
    if operation.kind in ("mv", "cp"):
        return inside if into_directory or operation.target.endswith("/") else target
    if operation.kind == "rsync" and not operation.source.endswith("/"):
        enters = into_directory or operation.target.endswith("/") or (source is not None and source.is_dir)
        return inside if enters else target
    return target


def located(client: FirecrestClient, operation: FileOperation) -> FileOperation:
    """Return the operation with the path that its outcome has got, once the job that made the source is over.

    Only rsync goes by what the source is.
    """
    if operation.kind != "rsync" or operation.source_before is not None:
        return operation
    source = look(client, operation.source, operation.system, follow=operation.source.endswith("/"))
    return replace(operation, result=place(operation, into_directory=operation.into_directory, source=source))


def _check_apart(operation: FileOperation) -> None:
    source = operation.source.rstrip("/")
    if operation.result == source:
        raise InvalidRequestError(f"target_path: {operation.result} is the source itself.")
    if operation.kind != "compress" and operation.result.startswith(f"{source}/"):
        raise InvalidRequestError(f"target_path: {operation.result} lies inside the source.")


def _check_parent(client: FirecrestClient, operation: FileOperation) -> None:
    parent = paths.parent(operation.target)
    found = look(client, parent, operation.system, follow=True)
    if found is None:
        raise NotFoundError(f"target_path: there is no directory {parent} on {operation.system}.")
    if not found.is_dir:
        raise InvalidRequestError(f"target_path: {parent} on {operation.system} is not a directory.")


def _existing(client: FirecrestClient, operation: FileOperation, if_exists: IfExists) -> FileOperation:
    """Decide about what is at the outcome's path; rsync and extract are there to change it."""
    there, source = operation.result_before, operation.source_before
    if operation.kind in ("rsync", "extract") or there is None:
        return operation
    if if_exists == "fail":
        raise ConflictError(
            f"target_path: {operation.result} exists on {operation.system};"
            " if_exists='overwrite' replaces it."
        )
    if there.is_dir and (operation.kind != "cp" or (source is not None and not source.is_dir)):
        raise ConflictError(
            f"target_path: {operation.result} on {operation.system} is a directory and cannot be replaced;"
            " remove it first."
        )
    if if_exists == "overwrite":
        return operation
    if operation.kind == "cp" and source is not None and source.is_file and there.is_file:
        same = there.size == source.size and not files_differ(
            client,
            operation.source,
            operation.result,
            source.size,
            system=operation.system,
            account=operation.account,
        )
        if same:
            return replace(operation, way="skip")
    raise ConflictError(
        f"target_path: {operation.result} exists on {operation.system} and is not the same file;"
        " if_exists='skip' accepts only that."
    )


def _with_content(client: FirecrestClient, operation: FileOperation) -> FileOperation:
    """Remember what proves a move: within one file system the inode does, else the content."""
    before = operation.source_before
    if operation.kind != "mv" or before is None or not operation.verify_checksum:
        return operation
    if _on_the_same_file_system(client, operation, before):
        return operation
    return replace(
        operation, source_before=with_cheap_content(client, operation.source, before, operation.system)
    )


def _on_the_same_file_system(client: FirecrestClient, operation: FileOperation, before: Look) -> bool:
    parent = look(client, paths.parent(operation.result), operation.system, follow=True)
    return parent is not None and parent.device is not None and parent.device == before.device
