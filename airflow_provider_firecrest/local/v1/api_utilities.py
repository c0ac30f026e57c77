"""``/utilities``: the calls that only look.

Knows: the command behind each call and the shape of its answer. Must not know: how commands are run.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from airflow_provider_firecrest.local.listing import LS, Listing
from airflow_provider_firecrest.local.sandbox import Sandbox
from airflow_provider_firecrest.local.v1.commands import CommandFailed, absolute
from airflow_provider_firecrest.local.v1.errors import V1Error, refused
from airflow_provider_firecrest.local.v1.utility import Utility, with_query

SHARED_GROUP_ID = 2100
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def utilities_router() -> APIRouter:
    """Routes of the calls that look; needs ``app.state.v1``."""
    router = APIRouter(prefix="/utilities")
    router.get("/ls")(get_ls)
    router.get("/file")(get_file)
    router.get("/stat")(get_stat)
    router.get("/head")(get_head)
    router.get("/tail")(get_tail)
    router.get("/view")(get_view)
    router.get("/checksum")(get_checksum)
    router.get("/download")(get_download)
    router.get("/whoami")(get_whoami)
    return router


async def get_ls(request: Request) -> JSONResponse:
    """Files of a directory."""
    call = with_query(request, "ls")
    path = call.path("targetPath")
    flags = {"showhidden": "-A", "recursive": "-R", "dereference": "-L"}
    options = " ".join(option for name, option in flags.items() if call.values.flag(name))
    if call.values.flag("notListing"):
        output: list[Any] = (
            (await call.text(f"ls -1 --quoting-style=c {options} -- {path}")).strip().splitlines()
        )
    else:
        numeric = call.values.flag("numericUid")
        raw = await call.run(f"{LS} {'-n' if numeric else ''} {options} -- {path}")
        output = _listed(call, raw, numeric=numeric)
    return JSONResponse({"description": "List of contents", "output": _page(output, call)})


def _listed(call: Utility, raw: bytes, *, numeric: bool) -> list[dict[str, str]]:
    listing = Listing(call.v1.local.sandbox, call.v1.local.config)
    given = call.values.required("targetPath")
    files = listing.parse(raw, given if given.startswith("/") else absolute(call.v1, call.user, given))
    if numeric:
        config = call.v1.local.config
        ids = {config.user: str(config.uid), config.other_user: str(config.other_uid)}
        groups = {**ids, config.shared_group: str(SHARED_GROUP_ID)}
        for file in files:
            file["user"], file["group"] = ids.get(file["user"], ""), groups.get(file["group"], "")
    return [
        {
            "group": file["group"],
            "last_modified": file["lastModified"],
            "link_target": file["linkTarget"] or "",
            "name": file["name"],
            "permissions": file["permissions"],
            "size": file["size"],
            "type": file["type"],
            "user": file["user"],
        }
        for file in files
    ]


def _page(files: list[Any], call: Utility) -> list[Any]:
    """One page of a listing, counted from 1; a page that does not exist is the whole listing."""
    try:
        size = int(call.values.texts.get("pageSize", "0"))
        number = int(call.values.texts.get("pageNumber", "1"))
    except ValueError:
        return files
    chosen = files[(number - 1) * size : number * size] if size > 0 and number > 0 else []
    return chosen or files


async def get_file(request: Request) -> JSONResponse:
    """What kind of file it is."""
    call = with_query(request, "file")
    output = (await call.text(f"file -b -- {call.path('targetPath')}")).strip()
    if output.startswith("cannot open"):
        # The tool's exit status is 0 all the same.
        raise call.failure(CommandFailed(output))
    return call.done(output)


async def get_stat(request: Request) -> JSONResponse:
    """Inode fields of a file."""
    call = with_query(request, "stat")
    return call.done(await _stat(call, "targetPath", dereference=call.values.flag("dereference")))


async def _stat(call: Utility, name: str, *, dereference: bool) -> dict[str, int]:
    option = "--dereference" if dereference else ""
    line = f"stat {option} -c '%f %i %d %h %u %g %s %X %Y %Z' -- {call.path(name)}"
    mode, *numbers = (await call.text(line)).split()
    inode, device, links, _uid, _gid, size, accessed, modified, changed = map(int, numbers)
    sandbox, config = call.v1.local.sandbox, call.v1.local.config
    path = absolute(call.v1, call.user, call.values.required(name))
    owner = config.other_uid if sandbox.owned_by_other(path) else config.uid
    group = _group_of(sandbox, path, dereference=dereference)
    return {
        "mode": int(mode, 16),
        "ino": inode,
        "dev": device,
        "nlink": links,
        "uid": owner,
        "gid": SHARED_GROUP_ID if group == config.shared_group else owner,
        "size": size,
        "atime": accessed,
        "ctime": changed,
        "mtime": modified,
    }


def _group_of(sandbox: Sandbox, path: str, *, dereference: bool) -> str | None:
    return sandbox.group_of(os.path.realpath(path) if dereference else path)


async def get_head(request: Request) -> JSONResponse:
    """First lines or bytes; 10 lines unless told."""
    return await _excerpt(with_query(request, "head"), "skip_ending", "-")


async def get_tail(request: Request) -> JSONResponse:
    """Last lines or bytes; 10 lines unless told."""
    return await _excerpt(with_query(request, "tail"), "skip_beginning", "+")


async def _excerpt(call: Utility, skip: str, sign: str) -> JSONResponse:
    tool = call.operation
    path = call.path("targetPath")
    wanted = {unit: call.values.optional(unit) for unit in ("bytes", "lines")}
    if all(wanted.values()):
        raise refused(f"Error on {tool} operation", "Can not specify both 'bytes' and 'lines'")
    prefix = sign if call.values.flag(skip) else ""
    options = " ".join(f"--{unit}={shlex.quote(prefix + count)}" for unit, count in wanted.items() if count)
    line = f"{tool} {options} -- {path}"
    pattern = call.values.optional("grep")
    if pattern is None:
        return call.done(await call.text(line))
    return call.done(await _grep(call, line, pattern))


async def _grep(call: Utility, line: str, pattern: str) -> str:
    try:
        return await call.text(f"set -o pipefail; {line} | grep -F -- {shlex.quote(pattern)}")
    except V1Error as error:
        if error.body is None or error.body.get("error"):
            raise
    # Nobody complained: there was only no such line.
    text = "pattern not found"
    body = {"description": f"Error on {call.operation} operation with grep", "error": text}
    raise V1Error(body, status=404, headers={"X-Not-Found": text})


async def get_view(request: Request) -> JSONResponse:
    """Content of a text file, they say; it is the first ten lines."""
    await _small_enough(with_query(request, "fsize"), "targetPath", "Failed to view file content")
    call = with_query(request, "head")
    return call.done(await call.text(f"head -- {call.path('targetPath')}"))


async def _small_enough(call: Utility, name: str, description: str) -> dict[str, int]:
    found = await _stat(call, name, dereference=True)
    if found["size"] > call.v1.local.config.max_ops_file_size:
        raise refused(description, headers={"X-Size-Limit": "File exceeds size limit"})
    return found


async def get_checksum(request: Request) -> JSONResponse:
    """SHA-256 of a file."""
    call = with_query(request, "checksum")
    output = await call.text(f"sha256sum -- {call.path('targetPath')}")
    return call.done(output.split()[0].removeprefix("\\"))


async def get_download(request: Request) -> Response:
    """The bytes of a small file. Of what is no file there are none."""
    sizing = with_query(request, "fsize")
    found = await _small_enough(sizing, "sourcePath", "Failed to download file")
    content = b""
    if stat.S_ISDIR(found["mode"]) or (stat.S_ISREG(found["mode"]) and found["size"]):
        call = with_query(request, "base64")
        # Not through the tool: its output limit would strike at three quarters of the allowed size.
        content = await run_in_threadpool(_read, call)
    headers = {
        "Content-Disposition": _disposition(PurePosixPath(sizing.values.required("sourcePath")).name),
        "Cache-Control": "no-cache",
        "Accept-Ranges": "bytes",
    }
    return Response(content, media_type="application/octet-stream", headers=headers)


def _read(call: Utility) -> bytes:
    shown = call.values.required("sourcePath")
    try:
        return Path(absolute(call.v1, call.user, shown)).read_bytes()
    except IsADirectoryError as error:
        raise call.failure(CommandFailed(f"base64: read error: {error.strerror}")) from None
    except OSError as error:
        raise call.failure(CommandFailed(f"base64: {shown}: {error.strerror}")) from None


def _disposition(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    shown = plain if _TOKEN.fullmatch(plain) else f'"{plain}"'
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f"attachment; filename={shown}{encoded}"


def get_whoami(request: Request) -> JSONResponse:
    """The unix user the calls run as, with groups on demand."""
    call = with_query(request, "whoami")
    call.connect()
    return JSONResponse({"description": "User information", "output": _identity(call)})


def _identity(call: Utility) -> Any:
    if not call.values.flag("groups"):
        return call.user
    own = {"id": str(call.v1.local.scheduler.config.uid(call.user)), "name": call.user}
    shared = {"id": str(SHARED_GROUP_ID), "name": call.v1.local.config.shared_group}
    return {"user": own, "group": own, "groups": [own, shared]}
