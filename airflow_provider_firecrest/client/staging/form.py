"""Sending one file to an object store through a presigned form (S3 POST policy), as FirecREST v1 hands it
out.

Knows the rules of that form: the fields exactly as given, the file last, a Content-Length, one request for
all of it. There are no parts to send again: an attempt that fails starts over.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import requests

from ..errors import IntegrityError
from . import answers
from .answers import Failure
from .crew import Gate, Meter, run
from .files import Source
from .options import DEFAULT_OPTIONS, Progress, Staged, StagingOptions
from .patience import Patience
from .redaction import guard_logs
from .wire import Wire

_SEND_AT_ONCE = 64 * 1024


def post_object(
    source: Path,
    url: str,
    fields: Mapping[str, str],
    *,
    options: StagingOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
) -> Staged:
    """Send ``source`` by one form (S3 POST Object).

    :param url: the bucket's URL.
    :param fields: the form's fields: key, policy, signature.
    :param options: attempts, timeouts.
    :param progress: called about once a second with bytes done and bytes in all.
    :param cancelled: set it from another thread to stop.
    :returns: size, SHA-256 and ETag.
    :raises IntegrityError: the store received something else than was sent, or the file changed meanwhile.
    :raises FirecrestError: anything else, by kind.
    """
    guard_logs()
    started = time.monotonic()
    with Source(source) as file:
        wire = Wire(options)
        gate = Gate(cancelled, wire.cut)
        meter = Meter(file.size, progress)
        done: list[_Body] = []
        try:
            run([partial(_send, file, url, fields, wire, gate, meter, options, done)], gate, meter)
            file.check_unchanged()
        finally:
            wire.close()
        meter.report()
        return Staged(file.size, done[0].sha256.hexdigest(), done[0].etag, 1, time.monotonic() - started)


def _send(
    file: Source,
    url: str,
    fields: Mapping[str, str],
    wire: Wire,
    gate: Gate,
    meter: Meter,
    options: StagingOptions,
    done: list[_Body],
) -> None:
    patience = Patience(f"Sending {file.path.name}", "POST", url, options, gate)
    while True:
        gate.check()
        body = _Body(file, fields, gate, meter, options.chunk)
        failure = _attempt(body, url, wire, options)
        if failure is None:
            done.append(body)
            return
        meter.add(-body.sent)
        patience.after(failure)


def _attempt(body: _Body, url: str, wire: Wire, options: StagingOptions) -> Failure | None:
    try:
        response = wire.send("POST", url, headers={"Content-Type": body.content_type}, data=body)
        try:
            return _judge(response, body)
        finally:
            response.close()
    except answers.TRANSPORT_ERRORS as error:
        return answers.from_exception(error, options.stall_timeout)


def _judge(response: requests.Response, body: _Body) -> Failure | None:
    if not response.ok:
        return answers.from_response(response)
    if response.status_code >= 300:
        return answers.from_error(response.status_code, None, None)
    etag = (response.headers.get("ETag") or "").strip('"').lower()
    if (
        len(etag) == 32
        and "x-amz-server-side-encryption" not in response.headers
        and etag != body.md5.hexdigest()
    ):
        text = f"the store received other bytes than were sent (MD5 {etag} instead of {body.md5.hexdigest()})"
        return Failure(IntegrityError, text, transient=True)
    body.etag = etag or None
    return None


class _Body:
    """The form as a request body of known length: fields, then the file, read and hashed while it is sent."""

    def __init__(self, file: Source, fields: Mapping[str, str], gate: Gate, meter: Meter, chunk: int) -> None:
        self._file, self._gate, self._meter, self._chunk = file, gate, meter, chunk
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        head = [_field(boundary, name, value) for name, value in fields.items()]
        head.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._head = "".join(head).encode()
        self._foot = f"\r\n--{boundary}--\r\n".encode()
        self.sent = 0
        self.etag: str | None = None
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()

    def __len__(self) -> int:
        return len(self._head) + self._file.size + len(self._foot)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._head
        buffer = memoryview(bytearray(min(self._chunk, max(self._file.size, 1))))
        read = 0
        while read < self._file.size:
            count = self._file.read_into(buffer[: self._file.size - read], read)
            self.md5.update(buffer[:count])
            self.sha256.update(buffer[:count])
            read += count
            for start in range(0, count, _SEND_AT_ONCE):
                self._gate.check()
                piece = buffer[start : min(start + _SEND_AT_ONCE, count)]
                yield piece
                self.sent += len(piece)
                self._meter.add(len(piece))
        yield self._foot


def _field(boundary: str, name: str, value: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
