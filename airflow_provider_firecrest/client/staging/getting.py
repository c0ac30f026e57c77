"""What both ways of downloading share: asking for bytes, reading them, reading an answer's head."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import requests

from ..errors import IntegrityError, UnavailableError
from . import answers
from .answers import Failure
from .crew import Gate, Meter
from .options import StagingOptions
from .patience import Patience
from .wire import Wire

CLOSED_EARLY = Failure(
    UnavailableError,
    "the connection was closed before all bytes had come",
    transient=True,
    may_have_acted=True,
)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Getter:
    """One object to fetch, and everything needed to ask for it.

    :ivar expected: bytes the object must have, or None when unknown.
    """

    url: str = field(repr=False)
    expected: int | None
    wire: Wire
    gate: Gate
    meter: Meter
    options: StagingOptions

    def request(self, headers: Mapping[str, str]) -> requests.Response | Failure:
        """Send a GET; a response is 200 or 206 and has its body unread."""
        try:
            response = self.wire.send("GET", self.url, headers=headers)
        except answers.TRANSPORT_ERRORS as error:
            return answers.from_exception(error, self.options.stall_timeout)
        if response.status_code in (200, 206):
            return response
        failure = answers.from_response(response)
        response.close()
        return failure

    def read(self, response: requests.Response, limit: int) -> bytes | Failure:
        """Read up to ``limit`` bytes as they are on the wire; nothing at the end."""
        try:
            return bytes(response.raw.read(limit, decode_content=False))
        except answers.TRANSPORT_ERRORS as error:
            return answers.from_exception(error, self.options.stall_timeout)

    def patience(self, doing: str) -> Patience:
        """Return the attempts for one request."""
        return Patience(doing, "GET", self.url, self.options, self.gate)

    def check_size(self, found: int) -> None:
        """Raise IntegrityError when the object does not have the size it must have."""
        if self.expected is not None and found != self.expected:
            text = f"the object has {found} bytes instead of {self.expected}: incomplete or changed"
            raise self.patience("Fetching the object").error(Failure(IntegrityError, text))


def etag_of(response: requests.Response) -> str | None:
    """Return the ETag without quotes and without the mark of a weak one."""
    return response.headers.get("ETag", "").removeprefix("W/").strip('"') or None


def range_of(response: requests.Response) -> tuple[int, int, int] | None:
    """Return start, stop (exclusive) and the object's size from a 206's Content-Range, or None."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != 206 or match is None:
        return None
    start, last, size = (int(each) for each in match.groups())
    return (start, last + 1, size) if start <= last < size else None
