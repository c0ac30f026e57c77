"""``POST /s3/BUCKET``: one object from a multipart form, the way files are staged for v1.

Knows: how a form travels. Must not know: what allows it (`forms`), FirecREST.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from airflow_provider_firecrest.local.api_s3 import error_response
from airflow_provider_firecrest.local.object_store import Part, StoredObject, StoreError
from airflow_provider_firecrest.local.state import LocalState, state_of
from airflow_provider_firecrest.local.v1.forms import check_fields

_READ_SIZE = 1024 * 1024


class _StoreParser(MultiPartParser):
    """A form parser that writes the file where it will stay: it may have gigabytes."""

    path: Path

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        unspooled = self._current_part.file
        if unspooled is not None:
            unspooled.file.close()
            file = self.path.open("wb")
            self._files_to_close_on_error.append(file)  # type: ignore[arg-type]
            self._current_part.file = UploadFile(file, filename=unspooled.filename)


def form_router() -> APIRouter:
    """The route of posted forms; needs ``app.state.firecrest``."""
    router = APIRouter()
    router.post("/s3/{bucket}", include_in_schema=False)(post_form)
    return router


async def post_form(request: Request, bucket: str) -> Response:
    """Take the form's file in as an object."""
    state = state_of(request)
    path = state.store.new_file()
    try:
        stored = await _take(request, state, bucket, path)
    except StoreError as error:
        path.unlink(missing_ok=True)
        return error_response(request, error)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    location = f"{state.s3_url}/{bucket}/{stored.key}"
    headers = {"ETag": f'"{stored.etag}"', "Location": location.encode().decode("latin-1")}
    return Response(status_code=204, headers=headers)


async def _take(request: Request, state: LocalState, bucket: str, path: Path) -> StoredObject:
    form = await _parsed(request, path)
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if name == "file":
            break  # what comes after the file does not count
        if isinstance(value, str):
            fields[name.lower()] = value
    key = check_fields(state.presigner, bucket, fields)
    files = [name for name, value in form.multi_items() if isinstance(value, UploadFile)]
    if files != ["file"]:
        raise StoreError(400, "InvalidArgument", "POST requires exactly one file upload per request.")
    size, md5 = await asyncio.to_thread(_measure, path)
    return state.store.put(bucket, key, Part(1, path, size, md5))


async def _parsed(request: Request, path: Path) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        text = "Bucket POST must be of the enclosure-type multipart/form-data"
        raise StoreError(412, "PreconditionFailed", text)
    if "content-length" not in request.headers:
        raise StoreError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    parser = _StoreParser(Headers(scope=request.scope), request.stream(), max_files=1, max_fields=100)
    parser.path = path
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise StoreError(400, "MalformedPOSTRequest", error.message) from None
    await form.close()
    return form


def _measure(path: Path) -> tuple[int, str]:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while chunk := file.read(_READ_SIZE):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
