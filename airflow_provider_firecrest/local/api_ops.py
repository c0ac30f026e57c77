"""FirecREST v2 ``/filesystem/{system}/ops``, the calls that read.

Knows: the recorded command lines and answers. Must not know: how commands are run.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from airflow_provider_firecrest.local.access import PublishedPath, authenticate, known_system
from airflow_provider_firecrest.local.errors import ApiError
from airflow_provider_firecrest.local.file_kind import file_kind
from airflow_provider_firecrest.local.listing import LS, Listing
from airflow_provider_firecrest.local.state import state_of

ONE_OF = "Only one of `bytes` or `lines` can be specified."


def ops_read_router() -> APIRouter:
    """Routes of the reading calls; needs ``app.state.firecrest``."""
    router = APIRouter(
        prefix="/filesystem/{system_name}/ops", dependencies=[Depends(authenticate), Depends(known_system)]
    )
    router.get("/ls")(get_ls)
    router.get("/head")(get_head)
    router.get("/tail")(get_tail)
    router.get("/view")(get_view)
    router.get("/checksum")(get_checksum)
    router.get("/file")(get_file)
    router.get("/stat")(get_stat)
    router.get("/download")(get_download)
    return router


async def get_ls(
    request: Request,
    path: PublishedPath,
    show_hidden: Annotated[bool, Query(alias="showHidden")] = False,
    numeric_uid: Annotated[bool, Query(alias="numericUid")] = False,
    recursive: bool = False,
    dereference: bool = False,
) -> dict[str, Any]:
    """Entries of a directory, or the file itself."""
    state = state_of(request)
    flags = ((show_hidden, "-A"), (numeric_uid, "--numeric-uid-gid"), (recursive, "-R"), (dereference, "-L"))
    options = " ".join(text for wanted, text in flags if wanted)
    output = await state.shell.run(f"{state.shell.prefix}{LS} {options} -- '{path}'")
    return {"output": Listing(state.sandbox, state.config).parse(output, path, numeric=numeric_uid)}


async def get_head(
    request: Request,
    path: PublishedPath,
    bytes_: Annotated[int | None, Query(alias="bytes")] = None,
    lines: int | None = None,
    skip_trailing: Annotated[bool, Query(alias="skipTrailing")] = False,
) -> dict[str, Any]:
    """First lines or bytes; ``skipTrailing`` means all but the last ones."""
    unit, count = _unit(bytes_, lines)
    wanted = "" if not count else f" --{unit}='{'-' if skip_trailing else ''}{count}'"
    content = await _text(request, f"head{wanted} -- '{path}'")
    end = 10 if count is None else -count if skip_trailing else count
    return {"output": {"content": content, "contentType": unit, "startPosition": 0, "endPosition": end}}


async def get_tail(
    request: Request,
    path: PublishedPath,
    bytes_: Annotated[int | None, Query(alias="bytes")] = None,
    lines: int | None = None,
    skip_heading: Annotated[bool, Query(alias="skipHeading")] = False,
) -> dict[str, Any]:
    """Last lines or bytes; ``skipHeading`` means all from that line or byte on."""
    unit, count = _unit(bytes_, lines)
    wanted = "" if not count else f" --{unit}='{'+' if skip_heading else ''}{count}'"
    content = await _text(request, f"tail{wanted} -- '{path}'")
    start = 10 if count is None else count if skip_heading else -count
    return {"output": {"content": content, "contentType": unit, "startPosition": start, "endPosition": -1}}


def _unit(bytes_: int | None, lines: int | None) -> tuple[str, int | None]:
    if bytes_ is not None and lines is not None:
        raise ApiError(400, ONE_OF)
    return ("lines", lines) if bytes_ is None else ("bytes", bytes_)


async def _text(request: Request, command: str) -> str:
    state = state_of(request)
    output = await state.shell.run(state.shell.prefix + command)
    return output.decode("utf-8", "replace")


async def get_view(
    request: Request, path: PublishedPath, size: int | None = None, offset: int | None = None
) -> dict[str, Any]:
    """``size`` bytes from ``offset`` on, as text."""
    state = state_of(request)
    limit = state.config.max_ops_file_size
    size = limit if size is None else size
    offset = offset or 0
    if offset < 0:
        raise ApiError(400, "`offset` value must be an integer value equal or greater than 0")
    if size <= 0:
        raise ApiError(400, "`size` value must be an integer value greater than 0")
    if size > limit:
        raise ApiError(400, f"`size` value must be less than {limit} bytes")
    # Two blocks, because the wanted bytes may lie across a block boundary. So twice the size is read, and the
    # output limit strikes at half the size it is meant for.
    line = f"{state.shell.prefix}dd if='{path}' bs={size} skip={offset // size} count=2"
    output = await state.shell.run(line)
    begin = offset % size
    return {"output": output[begin : begin + size].decode("utf-8", "replace")}


async def get_checksum(request: Request, path: PublishedPath) -> dict[str, Any]:
    """SHA-256 of a file; other algorithms cannot be had."""
    output = await _text(request, f"sha256sum -- '{path}'")
    words = output.split()
    if len(words) != 2:
        raise ApiError(500, f"Invalid output: {output} ")
    return {"output": {"algorithm": "SHA256", "checksum": words[0]}}


async def get_file(request: Request, path: PublishedPath) -> dict[str, Any]:
    """What kind of file it is; for a missing one the complaint, with status 200."""
    if shutil.which("file") is None:
        return {"output": await asyncio.to_thread(file_kind, path)}
    return {"output": (await _text(request, f"file -b -- '{path}'")).strip()}


async def get_stat(request: Request, path: PublishedPath, dereference: bool = False) -> dict[str, Any]:
    """Inode fields of a file."""
    return {"output": await stat_fields(request, path, dereference=dereference)}


async def stat_fields(request: Request, path: str, *, dereference: bool) -> dict[str, int]:
    """Fields of ``stat``; the owner is shown as the sandbox's user.

    Raises:
        ApiError: the file is missing or closed to the user.
    """
    state = state_of(request)
    option = "--dereference" if dereference else ""
    output = await _text(request, f"stat {option} -c '%f %i %d %h %u %g %s %X %Y %Z' -- '{path}'")
    mode, *numbers = output.split()
    inode, device, links, _uid, _gid, size, accessed, modified, changed = map(int, numbers)
    owner = state.config.other_uid if state.sandbox.owned_by_other(path) else state.config.uid
    return {
        "mode": int(mode, 16),
        "ino": inode,
        "dev": device,
        "nlink": links,
        "uid": owner,
        "gid": owner,
        "size": size,
        "atime": accessed,
        "ctime": changed,
        "mtime": modified,
    }


async def get_download(request: Request, path: PublishedPath) -> Response:
    """The bytes of a small file. They travel as base64, so the limit is 3/4 of the output limit."""
    state = state_of(request)
    output = await state.shell.run(f"{state.shell.prefix}base64 --wrap=0 -- '{path}'")
    return Response(base64.b64decode(output), media_type="application/octet-stream")
