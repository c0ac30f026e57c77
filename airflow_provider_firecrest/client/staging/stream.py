"""Fetching an object in one piece, for a store that ignores ranges; when it breaks off it starts anew."""

from __future__ import annotations

import hashlib

import requests

from ..errors import ProtocolError
from .answers import Failure
from .crew import run
from .files import Target
from .getting import CLOSED_EARLY, Getter, etag_of


class StreamedFetch:
    """An object under way as one stream.

    :param first: a 200, unread.
    """

    parts = 1

    def __init__(self, getter: Getter, file: Target, first: requests.Response) -> None:
        self._get, self._file, self._first = getter, file, first
        self._sha256 = hashlib.sha256()
        self.size = 0
        self.etag: str | None = None

    def run(self) -> str:
        """Fetch everything; return the file's SHA-256."""
        run([self._fetch], self._get.gate, self._get.meter)
        return self._sha256.hexdigest()

    def _fetch(self) -> None:
        patience = self._get.patience("Fetching the object")
        response: requests.Response | Failure = self._first
        while True:
            failure = response if isinstance(response, Failure) else self._receive(response)
            if failure is None:
                return
            patience.after(failure)
            response = self._get.request({})

    def _receive(self, response: requests.Response) -> Failure | None:
        """Write the whole object from its beginning; None when it is complete."""
        try:
            return self._pour(response)
        finally:
            response.close()

    def _pour(self, response: requests.Response) -> Failure | None:
        total = self._announced(response)
        if isinstance(total, Failure):
            return total
        self._file.empty()
        self._file.reserve(total or 0)
        self._get.meter.total = total or 0
        self.etag, self._sha256 = etag_of(response), hashlib.sha256()
        self.size = 0
        while data := self._get.read(response, self._get.options.chunk):
            if isinstance(data, Failure):
                self._get.meter.add(-self.size)
                return data
            self._get.gate.check()
            self._file.write(data, self.size, total or self.size + len(data))
            self._sha256.update(data)
            self.size += len(data)
            self._get.meter.add(len(data))
        if total is not None and self.size < total:
            self._get.meter.add(-self.size)
            return CLOSED_EARLY
        self._get.check_size(self.size)
        return None

    def _announced(self, response: requests.Response) -> int | Failure | None:
        """Return how many bytes will come; None when only the end of a chunked body tells."""
        value = response.headers.get("Content-Length", "")
        if value.isascii() and value.isdigit():
            self._get.check_size(int(value))
            return int(value)
        if (
            self._get.expected is None
            and "chunked" not in response.headers.get("Transfer-Encoding", "").lower()
        ):
            # The body ends when the connection does, whatever the reason: a cut looks like the end.
            return Failure(ProtocolError, "the store does not say how long the object is", status=200)
        return self._get.expected
