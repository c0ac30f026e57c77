"""FirecREST v2 ``/filesystem/{system}/ops``, the calls that change something.

Knows: the recorded command lines and answers. Must not know: how commands are run.
"""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Depends, Request, Response, UploadFile

from airflow_provider_firecrest.local.access import PublishedPath, authenticate, known_system, published_path
from airflow_provider_firecrest.local.bodies import (
    CompressionType,
    PostCompressRequest,
    PostExtractRequest,
    PostFileSymlinkRequest,
    PostMakeDirRequest,
    PutFileChmodRequest,
    PutFileChownRequest,
)
from airflow_provider_firecrest.local.errors import ApiError
from airflow_provider_firecrest.local.listing import LS, Listing
from airflow_provider_firecrest.local.shell import command_failure
from airflow_provider_firecrest.local.state import LocalState, state_of

TAR_FLAGS = {
    CompressionType.none: "",
    CompressionType.bzip2: "j",
    CompressionType.gzip: "z",
    CompressionType.xz: "J",
}
_CHECKED = [Depends(authenticate), Depends(known_system), Depends(published_path)]


def ops_write_router() -> APIRouter:
    """Routes of the writing calls; needs ``app.state.firecrest``."""
    router = APIRouter(prefix="/filesystem/{system_name}/ops", dependencies=_CHECKED)
    router.put("/chmod")(put_chmod)
    router.put("/chown")(put_chown)
    router.post("/mkdir", status_code=201)(post_mkdir)
    router.post("/symlink", status_code=201)(post_symlink)
    router.delete("/rm")(delete_rm)
    router.post("/upload")(post_upload)
    router.post("/compress")(post_compress)
    router.post("/extract")(post_extract)
    return router


def _done() -> Response:
    return Response(status_code=204, media_type="application/json")


async def _change_and_show(state: LocalState, command: str, path: str) -> dict[str, Any]:
    """Run ``command`` and list ``path`` afterwards, in one line as the real server does."""
    prefix = state.shell.prefix
    output = await state.shell.run(f"{prefix}{command} && {prefix}{LS} -d -- '{path}'")
    files = Listing(state.sandbox, state.config).parse(output, path)
    return {"output": files[0] if files else None}


async def put_chmod(request: Request, body: PutFileChmodRequest) -> dict[str, Any]:
    """Change permission bits."""
    state = state_of(request)
    if state.sandbox.owned_by_other(body.path):
        text = f"chmod: changing permissions of '{body.path}': Operation not permitted"
        raise command_failure(1, text)
    return await _change_and_show(state, f"chmod -v '{body.mode}' -- '{body.path}'", body.path)


async def put_chown(request: Request, body: PutFileChownRequest) -> dict[str, Any]:
    """Change owner or group, among the users and groups the sandbox pretends to have."""
    state = state_of(request)
    _check_owner(state, body.owner, body.group)
    problem = await asyncio.to_thread(_cannot_access, body.path)
    if problem is not None:
        raise command_failure(1, f"chown: cannot access '{body.path}': {problem}")
    stranger = body.owner not in ("", state.config.user)
    if stranger or state.sandbox.owned_by_other(body.path):
        raise command_failure(1, f"chown: changing ownership of '{body.path}': Operation not permitted")
    if body.group:
        state.sandbox.set_group(body.path, body.group)
    return await _change_and_show(state, "true", body.path)


def _cannot_access(path: str) -> str | None:
    try:
        os.lstat(path)
    except OSError as error:
        return error.strerror
    return None


def _check_owner(state: LocalState, owner: str, group: str) -> None:
    config = state.config
    if owner and owner not in config.known_users:
        spec = f"{owner}:{group}"
        raise command_failure(1, f"chown: invalid {'user' if group else 'spec'}: '{spec}'")
    if group and group not in (config.group, config.shared_group, config.other_user):
        raise command_failure(1, f"chown: invalid group: '{owner}:{group}'")


async def post_mkdir(request: Request, body: PostMakeDirRequest) -> dict[str, Any]:
    """Make a directory, with its parents on demand."""
    options = "-p " if body.parent else ""
    return await _change_and_show(state_of(request), f"mkdir {options} -- '{body.path}'", body.path)


async def post_symlink(request: Request, body: PostFileSymlinkRequest) -> dict[str, Any]:
    """Make a symbolic link; only what it points to is checked against the file systems, not where it lies."""
    command = f"ln -s -- '{body.path}' '{body.link_path}'"
    return await _change_and_show(state_of(request), command, body.link_path)


async def delete_rm(request: Request, path: PublishedPath) -> Response:
    """Remove a file or a tree."""
    state = state_of(request)
    await state.shell.run(f"{state.shell.prefix}rm -r --interactive=never -- '{path}'")
    return _done()


async def post_upload(request: Request, path: PublishedPath, file: UploadFile) -> Response:
    """Write a small file into a directory. The file's name is taken as it comes, ``../`` included."""
    state = state_of(request)
    content = await file.read(state.config.max_ops_file_size + 1)
    if len(content) > state.config.max_ops_file_size:
        raise ApiError(413, "File to upload is too large.")
    # An empty file sends nothing, not even an end: the command waits for input until the time is up (408),
    # and the empty file stays behind.
    line = f"{state.shell.prefix}base64 -d > '{path}/{file.filename}'"
    await state.shell.run(line, stdin=base64.b64encode(content))
    return _done()


async def post_compress(request: Request, body: PostCompressRequest) -> Response:
    """Pack a file or tree, or the files below it that match a pattern."""
    state = state_of(request)
    await state.shell.run(compress_line(body, state.shell.prefix))
    return _done()


def compress_line(body: PostCompressRequest, prefix: str) -> str:
    """The tar command, as the ops call runs it."""
    source = PurePosixPath(body.path)
    flags = f"{'--dereference' if body.dereference else ''} -c{TAR_FLAGS[body.compression]}vf"
    if body.match_pattern is None:
        return f"{prefix}tar {flags} '{body.target_path}' -C '{source.parent}' '{source.name}'"
    find = f"{prefix}find . -type f -regex '{body.match_pattern}' -print0"
    tar = f"tar {flags} '{body.target_path}' --null --files-from - "
    return f'{prefix}bash -c "cd {source.parent}; {find} | {tar}"'


async def post_extract(request: Request, body: PostExtractRequest) -> Response:
    """Unpack an archive into an existing directory."""
    state = state_of(request)
    flags = f"-x{TAR_FLAGS[body.compression]}f"
    await state.shell.run(f"{state.shell.prefix}tar {flags} '{body.path}' -C '{body.target_path}'")
    return _done()
