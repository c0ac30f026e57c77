"""The names beside its target that FirecREST v2's job uses while it writes a staged upload.

The job fetches the object piece by piece: piece number i into ``<target>.<i>``, which it appends to the
target and removes. A file of such a name is overwritten without a word. Flows, so they serve both drivers.
Must not decide what to do about a name that is taken.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from .. import paths
from ..errors import FirecrestError, NotFoundError, Retry
from ..flow import Flow

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_SMALLEST_PIECE = 5 * 1024 * 1024
"""Bytes: an object store takes no smaller part, but for the last one."""

_MOST_STATS = 64
"""Names that are looked at one by one where the directory cannot be listed."""


def piece_of(path: str, number: int) -> str:
    """Return the path of a piece."""
    return f"{path}.{number}"


def pieces_in(size: int, part_size: int) -> int:
    """Return how many pieces the job fetches a file in.

    :param size: of the file, in bytes.
    :param part_size: of the ticket: the server writes the same number into its job's script as the length of
        a piece. 0: it did not say.
    """
    return math.ceil(size / (part_size or _SMALLEST_PIECE))


def pieces_taken(api: Any, path: str, count: int, *, system: str) -> Flow[tuple[list[int], int]]:
    """Look which of the names a job will use are taken.

    :param api: the client's ``api``.
    :param path: full path of the file to be.
    :param count: number of pieces.
    :param system: system name.
    :returns: the numbers of the names that are taken, and up to which number was looked.
    :raises FirecrestError: it cannot be seen.
    :endpoint: GET .../ops/ls; where that fails, GET .../ops/stat of the first names
    """
    found = yield from pieces_listed(api, path, count, system=system)
    if found is not None:
        return found, count
    looked = min(count, _MOST_STATS)
    return (yield from pieces_there(api, path, range(1, looked + 1), system=system)), looked


def pieces_listed(api: Any, path: str, count: int, *, system: str) -> Flow[list[int] | None]:
    """Return the numbers of the pieces that a listing of the directory shows; None: there is no listing.

    :param api: the client's ``api``.
    :param path: full path of the file to be.
    :param count: number of pieces.
    :param system: system name.
    :endpoint: GET .../ops/ls
    """
    forms = _as_listed(paths.basename(path))
    if not forms:
        return None
    try:
        hidden = paths.basename(path).startswith(".")
        entries = yield from api.ls(paths.parent(path), show_hidden=hidden, system=system)
    except FirecrestError as error:
        # Ten thousands of names take longer than the server gives, or more than it sends.
        logger.info("The directory of %s cannot be listed: %s", path, error.message)
        return None
    names = {entry.name for entry in entries}
    return [
        number for number in range(1, count + 1) if any(piece_of(form, number) in names for form in forms)
    ]


def pieces_there(api: Any, path: str, numbers: Iterable[int], *, system: str) -> Flow[list[int]]:
    """Return those of the numbers whose pieces are there, looking at each.

    :param api: the client's ``api``.
    :param path: full path of the file to be.
    :param numbers: of the pieces.
    :param system: system name.
    :raises FirecrestError: it cannot be seen.
    :endpoint: GET .../ops/stat
    """
    found = []
    for number in numbers:
        try:
            yield from api.stat(piece_of(path, number), dereference=False, system=system)
        except NotFoundError:
            continue
        found.append(number)
    return found


def cannot_be_seen(error: FirecrestError) -> bool:
    """Return whether a look that failed so would fail the next time, too: then nobody need wait for it."""
    return error.retry is Retry.NO


def _as_listed(name: str) -> set[str]:
    """Return the forms in which a listing may show a name; none where that is not known.

    Where the server's locale knows ASCII only, other characters come as octal numbers.
    """
    if not name.isprintable() or set(name) & set("\\\"'"):
        return set()
    octal = "".join(chr(byte) if byte < 0x80 else f"\\{byte:03o}" for byte in name.encode())
    return {name, octal}
