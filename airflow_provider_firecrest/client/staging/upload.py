"""Sending one file to an object store through the presigned URLs of a multipart upload.

Knows UploadPart; completing the upload is in `complete`. Every part is read straight from the file, piece by
piece, so memory does not grow with the file. The MD5 of what was sent is compared with what the store says it
got; the SHA-256 of the whole file is computed at the same time by a reader of its own.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import requests

from ..._crash_points import crash_point
from ..errors import IntegrityError, InvalidRequestError
from . import answers
from .answers import Failure
from .complete import Part, complete_upload
from .crew import Gate, Meter, log, run, sharing
from .files import Source
from .options import DEFAULT_OPTIONS, Progress, Staged, StagingOptions
from .patience import Patience
from .redaction import guard_logs
from .wire import Wire

_SEND_AT_ONCE = 64 * 1024
"""Bytes per send: the stall timeout counts for each, so a line of 1 KB/s is slow, not stalled."""

OnPart = Callable[[int, str], None]
"""``on_part(number, etag)``: called when the store has a part, from the thread that sent it, one at a time.
What it raises is logged and dropped."""

_PLAIN_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True)
class _Span:
    """Where a part lies in the file, and where it goes."""

    number: int
    offset: int
    size: int
    url: str = field(repr=False)


def put_object(
    source: Path,
    part_urls: Sequence[str],
    complete_url: str,
    part_size: int,
    *,
    options: StagingOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
    done: Mapping[int, str] | None = None,
    on_part: OnPart | None = None,
    before_completing: Callable[[], None] | None = None,
    may_be_complete: bool = False,
) -> Staged:
    """Send ``source`` in parallel parts and complete the upload (S3 UploadPart, CompleteMultipartUpload).

    :param part_urls: presigned PUT URLs, in order.
    :param complete_url: presigned POST URL.
    :param part_size: bytes per part; the last one may be smaller.
    :param options: parallelism, attempts, timeouts.
    :param progress: called about once a second with bytes done and bytes in all.
    :param cancelled: set it from another thread to stop.
    :param done: ETags by number of the parts that an earlier attempt has sent: they are not sent again,
        unless the file's bytes say that they must.
    :param on_part: called with number and ETag of each part that the store has got.
    :param before_completing: called once all parts are there; what it raises ends the transfer.
    :param may_be_complete: an earlier attempt may have completed the upload already.
    :returns: size, SHA-256 and ETag; ``etag`` is None when the last answer was lost and the object must be
        proven later.
    :raises InvalidRequestError: the URLs do not fit the file's size.
    :raises IntegrityError: the store received something else than was sent, or the file changed meanwhile.
    :raises AmbiguousError: no answer to the completing call: the object may or may not be there.
    :raises FirecrestError: anything else, by kind.
    """
    guard_logs()
    started = time.monotonic()
    with Source(source) as file:
        spans = _spans(file, part_urls, part_size)
        wire = Wire(options)
        gate = Gate(cancelled, wire.cut)
        meter = Meter(file.size, progress)
        try:
            sending = _Sending(file, spans, wire, gate, meter, options, done or {}, on_part)
            sha256 = sending.run()
            file.check_unchanged()
            if before_completing is not None:
                before_completing()
            crash_point("before_complete_upload")
            etag = complete_upload(
                wire, gate, meter, options, complete_url, sending.parts, may_be_complete=may_be_complete
            )
            crash_point("after_complete_upload")
        finally:
            wire.close()
        meter.report()
        return Staged(file.size, sha256, etag, len(spans), time.monotonic() - started)


def _spans(file: Source, part_urls: Sequence[str], part_size: int) -> list[_Span]:
    if not file.size:
        raise InvalidRequestError(f"{file.path} is empty; an empty file cannot be sent in parts.")
    if part_size < 1:
        raise InvalidRequestError(f"Cannot send {file.path}: the server gave {part_size} bytes as part size.")
    needed = -(-file.size // part_size)
    if needed != len(part_urls):
        raise InvalidRequestError(
            f"{file.path} has {file.size} bytes, which makes {needed} parts of {part_size} bytes, but the "
            f"server prepared {len(part_urls)}: the file changed since, or another size was announced."
        )
    return [
        _Span(index + 1, index * part_size, min(part_size, file.size - index * part_size), url)
        for index, url in enumerate(part_urls)
    ]


class _Sending:
    """All parts of one file under way."""

    def __init__(
        self,
        file: Source,
        spans: Sequence[_Span],
        wire: Wire,
        gate: Gate,
        meter: Meter,
        options: StagingOptions,
        done: Mapping[int, str],
        on_part: OnPart | None,
    ) -> None:
        self._file, self._spans = file, spans
        self._wire, self._gate, self._meter, self._options = wire, gate, meter, options
        self._done, self._on_part = done, on_part
        self._telling = threading.Lock()
        self._sent: dict[int, Part] = {}
        self._sha256 = hashlib.sha256()

    @property
    def parts(self) -> list[Part]:
        """The parts sent, in order."""
        return [self._sent[span.number] for span in self._spans]

    def run(self) -> str:
        """Send everything; return the file's SHA-256."""
        jobs = [partial(self._send, span) for span in self._spans]
        run([self._hash, *sharing(jobs, self._options.parallel)], self._gate, self._meter)
        return self._sha256.hexdigest()

    def _hash(self) -> None:
        view = memoryview(bytearray(self._options.chunk))
        offset = 0
        while offset < self._file.size:
            self._gate.check()
            count = self._file.read_into(view[: self._file.size - offset], offset)
            self._sha256.update(view[:count])
            offset += count

    def _send(self, span: _Span) -> None:
        known = self._sent_before(span)
        if known is not None:
            self._sent[span.number] = known
            self._meter.add(span.size)
            return
        doing = f"Sending part {span.number} of {len(self._spans)}"
        patience = Patience(doing, "PUT", span.url, self._options, self._gate)
        while True:
            self._gate.check()
            outcome = self._attempt(span)
            if isinstance(outcome, Part):
                self._sent[span.number] = outcome
                self._tell(outcome)
                crash_point("during_parts")
                return
            patience.after(outcome)

    def _sent_before(self, span: _Span) -> Part | None:
        """Return the part that an earlier attempt has sent, or None when it has to be sent."""
        etag = self._done.get(span.number)
        if etag is None:
            return None
        plain = etag.strip('"').lower()
        if not _PLAIN_MD5.fullmatch(plain):
            return Part(span.number, etag, None)
        body = _Body(self._file, span, self._gate, None, self._options.chunk)
        for _ in body:
            pass
        if body.md5.hexdigest() == plain:
            return Part(span.number, etag, plain)
        # Other bytes, or an encrypting store, whose ETags only look like digests.
        log.info(
            "Part %d is sent again: the store's ETag is not the digest of the file's bytes.", span.number
        )
        return None

    def _tell(self, part: Part) -> None:
        if self._on_part is None:
            return
        with self._telling:
            try:
                self._on_part(part.number, part.etag)
            except Exception as error:
                log.warning("What was told of a part raised %s; the transfer goes on.", type(error).__name__)

    def _attempt(self, span: _Span) -> Part | Failure:
        body = _Body(self._file, span, self._gate, self._meter, self._options.chunk)
        outcome: Part | Failure
        try:
            response = self._wire.send("PUT", span.url, data=body)
            try:
                outcome = _judge(response, span, body.md5.hexdigest())
            finally:
                response.close()
        except answers.TRANSPORT_ERRORS as error:
            outcome = answers.from_exception(error, self._options.stall_timeout)
        if isinstance(outcome, Failure):
            self._meter.add(-body.sent)
        return outcome


class _Body:
    """One part as a request body: of known length, read while it is sent, and hashed on the way."""

    def __init__(self, file: Source, span: _Span, gate: Gate, meter: Meter | None, chunk: int) -> None:
        self._file, self._span, self._gate, self._meter = file, span, gate, meter
        self._chunk = chunk
        self.sent = 0
        self.md5 = hashlib.md5(usedforsecurity=False)

    def __len__(self) -> int:
        return self._span.size

    def __iter__(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(self._chunk, self._span.size)))
        read = 0
        while read < self._span.size:
            count = self._file.read_into(buffer[: self._span.size - read], self._span.offset + read)
            self.md5.update(buffer[:count])
            read += count
            for start in range(0, count, _SEND_AT_ONCE):
                self._gate.check()
                piece = buffer[start : min(start + _SEND_AT_ONCE, count)]
                yield piece
                self.sent += len(piece)
                if self._meter is not None:
                    self._meter.add(len(piece))


def _judge(response: requests.Response, span: _Span, md5: str) -> Part | Failure:
    if not response.ok:
        return answers.from_response(response)
    if response.status_code >= 300:
        return answers.from_error(response.status_code, None, None)
    response.raw.read()  # to the end: the connection can serve the next part
    # A proxy may drop the header. S3 would have said the MD5, in quotes; if not, completing fails.
    etag = response.headers.get("ETag") or f'"{md5}"'
    plain = etag.strip('"')
    if not _PLAIN_MD5.fullmatch(plain) or _is_encrypted(response):
        return Part(span.number, etag, None)
    if plain.lower() != md5:
        text = f"the store received other bytes than were sent (MD5 sent {md5}, received {plain})"
        log.warning("Part %d: %s.", span.number, text)
        return Failure(IntegrityError, text, transient=True)
    return Part(span.number, etag, md5)


def _is_encrypted(response: requests.Response) -> bool:
    """Whether the ETag is no MD5 although it looks like one: S3 says so for SSE-KMS and SSE-C."""
    method = response.headers.get("x-amz-server-side-encryption", "")
    return (
        method.startswith("aws:kms") or "x-amz-server-side-encryption-customer-algorithm" in response.headers
    )
