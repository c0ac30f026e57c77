"""The hidden file beside its target that an upload writes first, where the API can rename it at once.

Knows its name, how those that killed processes left are found, and which file a link stands for. Parts are
FirecREST v1 only: v2 has no call that renames. The renaming itself stands in ``final_name``.
"""

from __future__ import annotations

import logging
import posixpath
import re
import secrets
from dataclasses import replace

from .. import paths
from ..errors import FirecrestError, InvalidRequestError, NotFoundError
from ..models import FileStat
from ..sync_client import FirecrestClient
from .plan import IfExists, UploadPlan

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_LONGEST_STEM = 200
"""Characters of the target's name that a part's name repeats: a file name has at most 255 bytes."""

_MOST_LINKS = 8


def with_part(
    client: FirecrestClient,
    plan: UploadPlan,
    there: FileStat | None,
    if_exists: IfExists,
    mark: str | None = None,
) -> UploadPlan:
    """Return a plan that writes a part first; on FirecREST v2, which cannot rename it, the plan as it is.

    :param client: the client.
    :param plan: the plan.
    :param there: what is at its target, links followed; None: nothing.
    :param if_exists: what may be there.
    :param mark: fourteen hexadecimal digits in the part's name, by which :func:`sweep` knows it again.
    :raises InvalidRequestError: the target is no regular file, or a link that leads nowhere good.
    :endpoint: GET /utilities/stat, of a link GET /utilities/ls
    """
    if client.api.generation != 1:
        return plan
    if there is not None and not there.is_file:
        raise InvalidRequestError(f"target_path: {plan.target} on {plan.system} is not a regular file.")
    target = behind_links(client, plan.target, plan.system)
    return replace(plan, target=target, part=part_of(target, mark), if_exists=if_exists)


def part_of(target: str, mark: str | None = None) -> str:
    """Return a new name beside a target.

    Never the same twice: FirecREST v1 cannot cancel what an earlier try had begun to write.

    :param target: full path of the file to be.
    :param mark: fourteen hexadecimal digits; default: random ones.
    """
    # Without odd characters: v1 lists names that are not ASCII as octal numbers.
    stem = re.sub(r"[^A-Za-z0-9._+=@-]", "_", paths.basename(target))[:_LONGEST_STEM]
    name = f".{stem}.af{mark or secrets.token_hex(7)}-{secrets.token_hex(4)}.part"
    return paths.join(paths.parent(target), name)


def sweep(
    client: FirecrestClient, target: str, mark: str, system: str, *, keep: str | None = None
) -> list[str]:
    """Remove the parts beside a target that carry a mark; never raises.

    :param client: the client.
    :param target: full path of the file to be.
    :param mark: the mark.
    :param system: system name.
    :param keep: a part that is still needed.
    :returns: those that were found.
    :endpoint: GET /utilities/ls, DELETE /utilities/rm
    """
    directory = paths.parent(target)
    ours = re.compile(rf"\..*\.af{re.escape(mark)}-[0-9a-f]{{8}}\.part")
    try:
        entries = client.ls(directory, show_hidden=True, system=system)
    except FirecrestError as error:
        logger.info("Whether an earlier try left a part of %s cannot be seen: %s", target, error.message)
        return []
    names = [paths.basename(entry.name) for entry in entries]
    found = [paths.join(directory, name) for name in names if ours.fullmatch(name)]
    for part in found:
        if part != keep:
            remove(client, part, system)
    return found


def remove(client: FirecrestClient, path: str, system: str) -> None:
    """Remove what an upload that failed has left; never raises.

    :param client: the client.
    :param path: full path.
    :param system: system name.
    :endpoint: DELETE .../ops/rm
    """
    try:
        client.rm(path, system=system)
        logger.info("Removed what the failed upload had left at %s.", path)
    except NotFoundError:
        return
    except FirecrestError as error:
        logger.warning("What the failed upload left at %s could not be removed: %s", path, error.message)


def behind_links(client: FirecrestClient, path: str, system: str) -> str:
    """Return the path of the file that a link stands for: to rename onto a link replaces the link itself.

    :param client: the client.
    :param path: a path that may be a link, or nothing.
    :param system: system name.
    :raises InvalidRequestError: the links lead nowhere good.
    :endpoint: GET .../ops/stat, of a link GET .../ops/ls
    """
    first = path
    for _ in range(_MOST_LINKS):
        try:
            if not client.stat(path, dereference=False, system=system).is_link:
                return path
        except NotFoundError:
            return path
        leads_to = next((entry.link_target for entry in client.ls(path, system=system)), None)
        if not leads_to:
            raise InvalidRequestError(
                f"target_path: {first} on {system} is a link, and FirecREST does not say to what."
            )
        path = posixpath.join(paths.parent(path), leads_to)
        path = paths.check(path, client.api.rules.ops, field="target_path")
        logger.info("%s is a link to %s, which is written.", first, path)
    raise InvalidRequestError(f"target_path: {first} on {system} is a link to a link to a link ...")
