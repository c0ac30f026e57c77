"""``/utilities``: the calls that change something.

Knows: the command behind each call. Must not know: how commands are run.
"""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.v1.archives import extract_line, tar_line
from airflow_provider_firecrest.local.v1.commands import CommandFailed, absolute, connect, inside
from airflow_provider_firecrest.local.v1.errors import refused
from airflow_provider_firecrest.local.v1.utility import Utility, with_form
from airflow_provider_firecrest.local.v1.values import has_forbidden, refuse_large, stored_name

_UPLOAD_FAILED = "Failed to upload file"
# What bash calls itself on the real servers when it cannot open the file an upload is redirected to.
_WRAPPER = "/etc/ssh_command_wrapper.sh: line 71"


def utilities_write_router() -> APIRouter:
    """Routes of the calls that change something; needs ``app.state.v1``."""
    router = APIRouter(prefix="/utilities")
    router.post("/mkdir")(post_mkdir)
    router.put("/rename")(put_rename)
    router.put("/chmod")(put_chmod)
    router.put("/chown")(put_chown)
    router.post("/copy")(post_copy)
    router.post("/symlink")(post_symlink)
    router.post("/upload")(post_upload)
    router.delete("/rm")(delete_rm)
    router.post("/compress")(post_compress)
    router.post("/extract")(post_extract)
    return router


async def post_mkdir(request: Request) -> JSONResponse:
    """Make a directory, with its parents on demand."""
    call = await with_form(request, "mkdir")
    option = "-p" if call.values.flag("p") else ""
    await call.run(f"mkdir {option} -- {call.path('targetPath')}")
    return call.done(status=201)


async def put_rename(request: Request) -> JSONResponse:
    """Rename or move."""
    call = await with_form(request, "rename")
    target, source = call.path("targetPath"), call.path("sourcePath")
    await call.run(f"mv --force -- {source} {target}")
    return call.done()


async def post_copy(request: Request) -> JSONResponse:
    """Copy a file or a tree."""
    call = await with_form(request, "copy")
    target, source = call.path("targetPath"), call.path("sourcePath")
    await call.run(f"cp --force -dR --preserve=all -- {source} {target}")
    return call.done(status=201)


async def post_symlink(request: Request) -> JSONResponse:
    """Make a symbolic link."""
    call = await with_form(request, "symlink")
    target, link = call.path("targetPath"), call.path("linkPath")
    await call.run(f"ln -s -- {target} {link}")
    return call.done(status=201)


async def put_chmod(request: Request) -> JSONResponse:
    """Change permission bits."""
    call = await with_form(request, "chmod")
    path, mode = call.path("targetPath"), call.values.required("mode")
    target = call.values.required("targetPath")
    if call.v1.local.sandbox.owned_by_other(absolute(call.v1, call.user, target)):
        text = f"chmod: changing permissions of '{target}': Operation not permitted"
        raise call.failure(CommandFailed(text))
    output = await call.text(f"chmod -v {shlex.quote(mode)} -- {path}")
    return call.done(output.strip(), what="file or directory")


async def put_chown(request: Request) -> JSONResponse:
    """Change owner or group, among the users and groups the sandbox pretends to have."""
    call = await with_form(request, "chown")
    call.path("targetPath")
    call.connect()
    owner, group = call.values.optional("owner") or "", call.values.optional("group") or ""
    try:
        before, after = await asyncio.to_thread(_chown, call, owner, group)
    except CommandFailed as error:
        raise call.failure(error) from None
    target = call.values.required("targetPath")
    text = f"changed ownership of '{target}' from {before} to {after}"
    return call.done(text, what="file or directory")


def _chown(call: Utility, owner: str, group: str) -> tuple[str, str]:
    """Owner and group before and after."""
    local, target = call.v1.local, call.values.required("targetPath")
    config, sandbox = local.config, local.sandbox
    if owner not in ("", "root", *config.known_users):
        raise CommandFailed(f"chown: invalid user: '{owner}'")
    if group not in ("", config.group, config.shared_group, config.other_user):
        raise CommandFailed(f"chown: invalid group: '{owner}:{group}'")
    path = absolute(call.v1, call.user, target)
    try:
        Path(path).lstat()
    except OSError as error:
        raise CommandFailed(f"chown: cannot access '{target}': {error.strerror}") from None
    if owner not in ("", config.user) or sandbox.owned_by_other(path):
        raise CommandFailed(f"chown: changing ownership of '{target}': Operation not permitted")
    before = f"{config.user}:{sandbox.group_of(path) or config.group}"
    if group:
        sandbox.set_group(path, group)
    return before, f"{owner}:{group}" if group else owner


async def delete_rm(request: Request) -> Response:
    """Remove a file or a tree."""
    call = await with_form(request, "rm")
    await call.run(f"rm -r --interactive=never -- {call.path('targetPath')}")
    return Response(status_code=204, media_type="application/json")


async def post_upload(request: Request) -> JSONResponse:
    """Write a small file into a directory."""
    limit = request.app.state.v1.local.config.max_ops_file_size
    await refuse_large(request, limit, f"{_UPLOAD_FAILED}. The file is over {limit} bytes")
    call = await with_form(request, "upload", _UPLOAD_FAILED)
    directory = call.values.required("targetPath")
    if call.values.file is None:
        raise refused(_UPLOAD_FAILED, "No file in query")
    name = stored_name(call.values.file)
    if has_forbidden(name):
        raise refused(_UPLOAD_FAILED, "Filename has invalid char")
    content = await call.values.file.read()
    try:
        connect(call.v1, call.machine, call.user)
        inside(call.v1, call.user, f"{directory}/{name}")
        await asyncio.to_thread(_write, call, f"{directory}/{name}", content)
    except CommandFailed as error:
        raise call.failure(error) from None
    return JSONResponse({"description": "File upload successful", "output": ""}, status_code=201)


def _write(call: Utility, path: str, content: bytes) -> None:
    try:
        Path(absolute(call.v1, call.user, path)).write_bytes(content)
    except OSError as error:
        raise CommandFailed(f"{_WRAPPER}: {path}: {error.strerror}") from None


async def post_compress(request: Request) -> JSONResponse:
    """Pack a file or a tree. When it fails, what was packed so far stays behind."""
    call = await with_form(request, "compress")
    target, _ = call.path("targetPath"), call.path("sourcePath")
    source = PurePosixPath(call.values.required("sourcePath"))
    await call.run(tar_line("tar", source, target, dereference=call.values.flag("dereference")))
    return call.done(status=201)


async def post_extract(request: Request) -> JSONResponse:
    """Unpack an archive into an existing directory."""
    call = await with_form(request, "extract")
    target, _ = call.path("targetPath"), call.path("sourcePath")
    await call.run(extract_line(call.values, target, str))
    return call.done(status=201)
