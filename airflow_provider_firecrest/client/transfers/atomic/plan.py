"""Planning the upload of a file that a job gives its name: what can be checked before bytes move, and what is
there already.

Knows targets, links and directories. Must not send anything (``upload``).
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace
from pathlib import Path

from ... import paths
from ...errors import InvalidRequestError, NotFoundError
from ...models import FileStat, System
from ...sync_client import FirecrestClient
from ..part import behind_links
from ..plan import IfExists, TransferResult, UploadPlan, check_local_source, check_remote, staged_method
from ..steps.state import StepOptions, StepwiseTransfer
from ..upload_plan import check_parent, resolve, with_existing
from .state import AtomicUpload


def planned(
    client: FirecrestClient, source: Path, target: str, system: str | None, options: StepOptions
) -> tuple[AtomicUpload, FileStat | None]:
    """Return an upload that passed all checks that can be made before bytes move, and what is at its target.

    :param client: a client of FirecREST v2.
    :param source: a local file.
    :param target: absolute path of the file to be, or of the directory that gets it.
    :param system: system name; None: the connection's.
    :param options: how.
    :raises InvalidRequestError: a path cannot be used; the message names the field.
    :raises NotFoundError: the target's directory does not exist.
    :raises ConflictError: a directory is there.
    :endpoint: GET /status/systems, GET .../ops/stat, of a link GET .../ops/ls
    """
    options.check()
    source = Path(os.path.abspath(source))  # noqa: PTH100 (a link stays a link)
    size = check_local_source(source)
    info = client.system_info(system=system)
    wanted = paths.join(target, source.name) if target.endswith("/") else target
    wanted = paths.check(wanted, client.api.rules.ops, field="target_path")
    check_remote(wanted, info, field="target_path")
    wanted, there = resolve(client, wanted, source.name, info, is_full_path=target.endswith("/"))
    if there is not None and not there.is_file:
        raise InvalidRequestError(f"target_path: {wanted} on {info.name} is not a regular file.")
    real = _behind_links(client, wanted, info)
    _check_directory(client, paths.parent(real), size, info)
    options = replace(options, account=options.account or client.account)
    stamp = f"{size} {source.stat().st_mtime_ns}"
    upload = AtomicUpload("upload", str(source), real, info.name, options, source_stamp=stamp, size=size)
    return upload, there


def _behind_links(client: FirecrestClient, wanted: str, info: System) -> str:
    """Return the path of the file that is written: beside it there must be room for the work."""
    real = behind_links(client, wanted, info.name)
    if real == wanted:
        return wanted
    check_parent(client, paths.parent(real), info.name)
    directory = posixpath.normpath(paths.parent(real))
    plain = paths.join(directory, paths.basename(real))
    if plain != real and not _are_one(client, directory, paths.parent(real), info.name):
        raise InvalidRequestError(
            f"target_path: {wanted} on {info.name} is a link to {real}, which leads through another link."
            " Name the file itself."
        )
    check_remote(plain, info, field="target_path")
    return plain


def _are_one(client: FirecrestClient, first: str, second: str, system: str) -> bool:
    try:
        found = [client.stat(each, system=system) for each in (first, second)]
    except NotFoundError:
        return False
    return (found[0].inode, found[0].device) == (found[1].inode, found[1].device)


def _check_directory(client: FirecrestClient, directory: str, size: int, info: System) -> None:
    """Refuse a directory into which the bytes cannot go, before anything is made there."""
    rules = client.api.rules
    rule = rules.upload_name
    if size > info.max_ops_file_size or (size and not paths.can_carry(directory, rule)):
        staged_method(info)
        rule = rules.staged_upload
    if not paths.can_carry(directory, rule):
        raise InvalidRequestError(
            f"target_path: the directory {directory!r} has a character that {rule.call} cannot carry:"
            f" {rule.reason}. Rename the directory, or use another one."
        )


def same_there(
    client: FirecrestClient, upload: AtomicUpload, there: FileStat, earlier: StepwiseTransfer | None
) -> TransferResult | None:
    """Return the result when the file is there already; None when what is there is to be replaced.

    :param client: the client.
    :param upload: the upload.
    :param there: what is at its target.
    :param earlier: how far an earlier process got.
    :raises ConflictError: it must not be.
    """
    policy: IfExists = upload.options.if_exists
    if policy == "fail" and earlier is not None and _may_have_placed(earlier, upload):
        # The try before found nothing there; what is there now, if it is the same file, is its own work.
        policy = "skip"
    plan = UploadPlan(
        Path(upload.source), upload.target, upload.size, "direct", upload.system, upload.options.account
    )
    plan = with_existing(client, plan, there, policy)
    return replace(upload, sha256=plan.sha256).result("skip") if plan.way == "skip" else None


def _may_have_placed(earlier: StepwiseTransfer, upload: AtomicUpload) -> bool:
    mine = (earlier.kind, earlier.target, earlier.system) == (upload.kind, upload.target, upload.system)
    return mine and earlier.phase in ("placing", "done")
