"""CompleteMultipartUpload: the call whose 200 can be a failure, and whose lost answer can be a success."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

import requests

from ..errors import AmbiguousError, IntegrityError, RequestTimeoutError, TransferFailedError
from . import answers
from .answers import Failure
from .crew import Gate, Meter, log, run
from .options import StagingOptions
from .patience import Patience
from .wire import Wire

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_ANSWER_LIMIT = 256 * 1024
_COMPOSITE = re.compile(r"([0-9a-fA-F]{32})-(\d+)")


@dataclass(frozen=True)
class Part:
    """A part the store has.

    :ivar etag: as the store gave it, quotes included.
    :ivar md5: of what was sent, when the store confirmed it; None when its ETags are not MD5s.
    """

    number: int
    etag: str
    md5: str | None


def complete_upload(
    wire: Wire,
    gate: Gate,
    meter: Meter,
    options: StagingOptions,
    url: str,
    parts: Sequence[Part],
    *,
    may_be_complete: bool = False,
) -> str | None:
    """Have the store assemble ``parts``; returns the object's ETag without quotes, or None.

    None: an answer was lost, and when asked again the store knew no such upload any more. It was completed,
    then, or somebody aborted it: the object has to be proven where it lands.

    :param may_be_complete: an earlier process may have completed it, and did not live to see the answer.
    :raises IntegrityError: the object's ETag says that it is not made of the parts sent.
    :raises AmbiguousError: answers were lost and there are no attempts left.
    """
    call = _Completing(wire, gate, options, url, parts, may_be_complete)
    run([call.perform], gate, meter)
    return call.etag


class _Completing:
    def __init__(
        self,
        wire: Wire,
        gate: Gate,
        options: StagingOptions,
        url: str,
        parts: Sequence[Part],
        may_be_complete: bool,
    ) -> None:
        self._may_be_complete = may_be_complete
        self._wire, self._gate, self._options = wire, gate, options
        self._url, self._parts = url, parts
        self._body = _request_body(parts)
        self.etag: str | None = None

    def perform(self) -> None:
        patience = Patience("Completing the upload", "POST", self._url, self._options, self._gate)
        may_have_acted = self._may_be_complete
        while True:
            self._gate.check()
            outcome = self._attempt()
            if not isinstance(outcome, Failure):
                self.etag = self._checked(outcome, patience)
                return
            self._gate.check()
            if may_have_acted and outcome.code == "NoSuchUpload":
                log.warning(
                    "The answer to completing the upload was lost, and the store does not know the upload "
                    "any more: it was most probably completed. The file has to be checked at its destination."
                )
                return
            may_have_acted = may_have_acted or outcome.may_have_acted
            patience.after(replace(outcome, kind=AmbiguousError) if may_have_acted else outcome)

    def _attempt(self) -> str | Failure:
        deadline = time.monotonic() + self._options.complete_timeout
        try:
            response = self._wire.send(
                "POST",
                self._url,
                # No Content-Type: older signatures would have to cover it.
                data=self._body,
                read_timeout=self._options.complete_timeout,
            )
            try:
                return self._judge(response, deadline)
            finally:
                response.close()
        except answers.TRANSPORT_ERRORS as error:
            return answers.from_exception(error, self._options.complete_timeout)

    def _judge(self, response: requests.Response, deadline: float) -> str | Failure:
        if response.status_code != 200:
            return answers.from_response(response)
        body = self._read(response, deadline)
        if body is None:
            text = f"no answer within {self._options.complete_timeout:g} s"
            return Failure(RequestTimeoutError, text, transient=True, may_have_acted=True)
        root = answers.document(body)
        if root is None:
            text = "the answer is not the XML document it should be"
            return Failure(TransferFailedError, text, transient=True, may_have_acted=True, status=200)
        if answers.local_name(root) != "CompleteMultipartUploadResult":
            # S3 sends its headers before it knows the result: 200 with an error document is a failure.
            code, message = answers.error_in(body)
            return answers.from_error(200, code, message)
        return (answers.child_text(root, "ETag") or "").strip('"')

    def _read(self, response: requests.Response, deadline: float) -> bytes | None:
        """Return the body, or None when it was not there by the deadline."""
        body = bytearray()
        # One byte at a time: the store may drip blanks for minutes, and every read has to return at once.
        while piece := response.raw.read(1, decode_content=True):
            self._gate.check()
            if time.monotonic() > deadline:
                return None
            if body or not piece.isspace():
                body += piece
            if len(body) > _ANSWER_LIMIT:
                break
        return bytes(body)

    def _checked(self, etag: str, patience: Patience) -> str | None:
        match = _COMPOSITE.fullmatch(etag)
        digests = [part.md5 for part in self._parts if part.md5]
        if match is None or len(digests) != len(self._parts):
            return etag or None
        expected = hashlib.md5(b"".join(map(bytes.fromhex, digests)), usedforsecurity=False).hexdigest()
        if (match[1].lower(), int(match[2])) != (expected, len(digests)):
            text = (
                f"the object is not made of the parts sent (ETag {etag}, expected {expected}-{len(digests)})"
            )
            raise patience.error(Failure(IntegrityError, text, status=200))
        return etag


def _request_body(parts: Sequence[Part]) -> bytes:
    rows = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag></Part>"
        for part in sorted(parts, key=lambda part: part.number)
    )
    text = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{rows}</CompleteMultipartUpload>'
    return text.encode()
