"""The object store over HTTP: the part of S3 that presigned multipart transfers use.

Knows: S3's requests, headers and XML. Must not know: FirecREST.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from typing import IO
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from airflow_provider_firecrest.local.faults import STORE_ACTIONS
from airflow_provider_firecrest.local.object_store import (
    ObjectStore,
    Part,
    StoredObject,
    StoreError,
    malformed_xml,
)
from airflow_provider_firecrest.local.presign import SignatureError
from airflow_provider_firecrest.local.state import LocalState, state_of

_FLUSH_SIZE = 1024 * 1024
_MAX_XML = 2 * 1024 * 1024
_HEADER = '<?xml version="1.0" encoding="utf-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def s3_router() -> APIRouter:
    """Routes below ``/s3``; needs ``app.state.firecrest``."""
    router = APIRouter()
    methods = ["GET", "HEAD", "PUT", "POST", "DELETE"]
    router.add_api_route("/s3/{rest:path}", _answer, methods=methods, include_in_schema=False)
    return router


async def _answer(request: Request) -> Response:
    state = state_of(request)
    try:
        return await _dispatch(request, state)
    except (StoreError, SignatureError) as error:
        return error_response(request, error)


async def _dispatch(request: Request, state: LocalState) -> Response:
    raw_path = request.scope["raw_path"].decode("ascii")
    query = _checked_query(request, state, raw_path)
    bucket, _, key = unquote(raw_path.removeprefix("/s3/")).partition("/")
    upload_id = query.get("uploadId")
    if request.method == "GET":
        fault = state.faults.take(STORE_ACTIONS, "GET", request.url.path)
        if fault is not None:
            half = fault.action == "object_shrinks"
            await asyncio.to_thread(state.store.spoil, bucket, key, half=half)
    if request.method in ("GET", "HEAD"):
        return _get(request, state.store.get(bucket, key))
    if upload_id is None:
        raise StoreError(501, "NotImplemented", "Only multipart uploads are supported.")
    if request.method == "PUT":
        return await _put_part(request, state.store, upload_id, bucket, key, query.get("partNumber", ""))
    if request.method == "POST":
        return await _complete(request, state.store, upload_id, bucket, key)
    await asyncio.to_thread(state.store.abort, upload_id, bucket, key)
    return Response(status_code=204)


def _checked_query(request: Request, state: LocalState, raw_path: str) -> dict[str, str]:
    raw_query = request.scope["query_string"].decode("ascii")
    if "authorization" in request.headers and "X-Amz-Algorithm" in raw_query:
        text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query"
        raise StoreError(
            400, "InvalidArgument", f"{text} string parameter or the Authorization header should be specified"
        )
    return state.presigner.check(request.method, raw_path, raw_query, request.headers.get("host", ""))


async def _put_part(
    request: Request, store: ObjectStore, upload_id: str, bucket: str, key: str, number: str
) -> Response:
    if "content-length" not in request.headers:
        raise StoreError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    part_number = int(number) if number.isdecimal() else 0
    path = store.new_part_file(upload_id, bucket, key, part_number)
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        with path.open("wb") as file:
            async for block in _blocks(request):
                # In a thread: hashing and writing a megabyte would hold up everybody else's small requests.
                await asyncio.to_thread(_write, file, digest, block)
                size += len(block)
        if size != int(request.headers["content-length"]):
            text = "You did not provide the number of bytes specified by the Content-Length HTTP header"
            raise StoreError(400, "IncompleteBody", text)
        store.add_part(upload_id, bucket, key, Part(part_number, path, size, digest.hexdigest()))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Response(status_code=200, headers={"ETag": f'"{digest.hexdigest()}"'})


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    pending = bytearray()
    async for chunk in request.stream():
        pending += chunk
        if len(pending) >= _FLUSH_SIZE:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _write(file: IO[bytes], digest: hashlib._Hash, block: bytes) -> None:
    digest.update(block)
    file.write(block)


async def _complete(request: Request, store: ObjectStore, upload_id: str, bucket: str, key: str) -> Response:
    body = await request.body()
    stored = await asyncio.to_thread(store.complete, upload_id, bucket, key, _named_parts(body))
    location = escape(f"http://{bucket}.s3.amazonaws.com/{key}")
    text = (
        f'{_HEADER}<CompleteMultipartUploadResult xmlns="{_NAMESPACE}"><Location>{location}</Location>'
        f'<Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key><ETag>"{stored.etag}"</ETag>'
        "</CompleteMultipartUploadResult>"
    )
    return Response(text, media_type="application/xml")


def _named_parts(body: bytes) -> list[tuple[int, str]]:
    if len(body) > _MAX_XML or b"<!" in body:
        raise malformed_xml()
    try:
        root = ElementTree.fromstring(body)
        if root.tag.rpartition("}")[2] != "CompleteMultipartUpload":
            raise malformed_xml()
        return [_named_part(element) for element in root]
    except (ElementTree.ParseError, KeyError, ValueError):
        raise malformed_xml() from None


def _named_part(element: ElementTree.Element) -> tuple[int, str]:
    fields = {child.tag.rpartition("}")[2]: child.text or "" for child in element}
    return int(fields["PartNumber"]), fields["ETag"]


def _get(request: Request, stored: StoredObject) -> Response:
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip().strip('"') not in ("*", stored.etag):
        text = "At least one of the pre-conditions you specified did not hold"
        raise StoreError(412, "PreconditionFailed", text)
    start, stop, partial = _range(request.headers.get("range"), stored.size)
    headers = {
        "ETag": f'"{stored.etag}"',
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "Content-Length": str(stop - start),
        "Content-Type": "binary/octet-stream",
    }
    if partial:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{stored.size}"
    status = 206 if partial else 200
    content: Iterator[bytes] = iter(()) if request.method == "HEAD" else stored.read(start, stop)
    return StreamingResponse(content, status_code=status, headers=headers)


def _range(header: str | None, size: int) -> tuple[int, int, bool]:
    """First byte, byte after the last, and whether that is only a part of the object."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or not any(match.groups()):
        return 0, size, False
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= stop:
        raise StoreError(416, "InvalidRange", "The requested range is not satisfiable")
    return start, stop, True


def error_response(request: Request, error: StoreError | SignatureError) -> Response:
    """A refusal as S3 words it."""
    key = getattr(error, "key", None)
    named = f"<Key>{escape(key)}</Key>" if key else ""
    body = (
        f"{_HEADER}<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message>{named}"
        f"<RequestId>{secrets.token_hex(26).upper()}</RequestId><HostId>{secrets.token_hex(32)}</HostId></Error>"
    )
    content = "" if request.method == "HEAD" else body
    return Response(content, status_code=error.status, media_type="application/xml")
