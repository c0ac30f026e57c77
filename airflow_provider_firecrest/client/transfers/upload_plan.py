"""Planning the upload of one file: what can be checked before bytes move, and which way it goes.

Knows targets, links and what may be there already. Must not send anything (``upload``, ``sending``).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .. import paths, staging
from ..errors import ConflictError, InvalidRequestError, NotFoundError
from ..models import FileStat, System
from ..sync_client import FirecrestClient
from . import part, proof
from .plan import (
    IfExists,
    UploadPlan,
    Way,
    check_if_exists,
    check_local_source,
    check_remote,
    local_path,
    missing_directory,
    staged_method,
)


def plan_upload(
    client: FirecrestClient,
    source: Path | str,
    target: str,
    *,
    system: str | None = None,
    account: str | None = None,
    if_exists: IfExists = "fail",
    verify_checksum: bool = True,
    in_place: bool = False,
    mark: str | None = None,
) -> UploadPlan:
    """Check everything that can be checked before bytes move, and choose the way.

    :param client: the client.
    :param source: a local file.
    :param target: absolute path on the system: the file to be, or an existing directory (then, and when it
        ends with ``/``, the source's name is added).
    :param system: system name; default: the connection's.
    :param account: Slurm account for the server's job; default: the connection's.
    :param if_exists: ``fail``; ``overwrite``; ``skip`` leaves a file of the same size and digest alone and
        fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only the size is compared.
    :param in_place: write the target itself, not a part that is renamed when it is proven (FirecREST v2
        cannot do otherwise): it is in a directory of the transfer's own.
    :param mark: names the part, so that a later process finds it (``part.sweep``).
    :returns: the plan.
    :raises InvalidRequestError: a path is wrong; the message names the field.
    :raises NotFoundError: the target's directory, or the system, does not exist.
    :raises ConflictError: the target exists.
    :endpoint: GET /status/systems, GET .../ops/stat; v1, of a link: GET /utilities/ls
    """
    check_if_exists(if_exists)
    source = local_path(source, field="source_path")
    size = check_local_source(source)
    info = client.system_info(system=system)
    wanted = paths.join(target, source.name) if target.endswith("/") else target
    paths.check(wanted, client.api.rules.ops, field="target_path")
    check_remote(wanted, info, field="target_path")
    wanted, there = resolve(client, wanted, source.name, info, is_full_path=target.endswith("/"))
    plan = UploadPlan(source, wanted, size, "direct", info.name, account or client.account, verify_checksum)
    plan = replace(plan, way=_way(plan, info, client.api.rules))
    if there is not None:
        plan = replace(with_existing(client, plan, there, if_exists), replaces=True)
    if in_place or plan.way == "skip":
        return replace(plan, alone=in_place)
    return part.with_part(client, plan, there, if_exists, mark)


def resolve(
    client: FirecrestClient, target: str, name: str, info: System, *, is_full_path: bool
) -> tuple[str, FileStat | None]:
    """Return the full path of the file to be, and what is there now.

    :param client: the client.
    :param target: absolute path of the file, or of an existing directory, which gets it.
    :param name: its name in such a directory.
    :param info: the system.
    :param is_full_path: the target cannot be a directory.
    :raises NotFoundError: the target's directory does not exist.
    :raises ConflictError: a directory is there.
    :endpoint: GET .../ops/stat
    """
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


def with_existing(
    client: FirecrestClient, plan: UploadPlan, there: FileStat, if_exists: IfExists
) -> UploadPlan:
    """Return the plan for a target that exists; its way is ``skip`` when the same file is there.

    :param client: the client.
    :param plan: the plan.
    :param there: the file at its target.
    :param if_exists: what may be there.
    :raises ConflictError: it must not be there.
    :endpoint: GET .../ops/checksum, or a job where that cannot do it
    """
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
