"""Fetching an object in parallel ranges of one version; a broken range goes on from the byte it reached."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import partial

import requests

from ..errors import ProtocolError
from . import answers
from .answers import Failure
from .crew import run, sharing
from .files import Target
from .getting import CLOSED_EARLY, Getter, etag_of, range_of

_WAKE_UP = 0.2  # seconds; the hashing thread looks this often whether it should stop


@dataclass
class _Range:
    """Bytes ``start`` to ``stop`` (exclusive) of the object; ``reached`` is the first one still missing."""

    start: int
    stop: int
    reached: int


class RangedFetch:
    """An object under way in ranges.

    :param first: the answer to a request for the first range, unread; it tells size and version.
    """

    def __init__(self, getter: Getter, file: Target, first: requests.Response) -> None:
        self._get, self._file, self._first = getter, file, first
        self._moved = threading.Condition()
        self._sha256 = hashlib.sha256()
        found = range_of(first)
        if found is None or found[0] != 0:
            failure = Failure(ProtocolError, "the store sent another range than asked for", status=206)
            raise getter.patience("Opening the object").error(failure)
        _, stop, self.size = found
        getter.check_size(self.size)
        self.etag = etag_of(first)
        step = getter.options.range_size
        # The first range is what the store chose to send, the others are what is asked for.
        self._ranges = [_Range(0, stop, 0)]
        self._ranges += [
            _Range(start, min(start + step, self.size), start) for start in range(stop, self.size, step)
        ]

    @property
    def parts(self) -> int:
        """Number of ranges."""
        return len(self._ranges)

    def run(self) -> str:
        """Fetch everything; return the file's SHA-256."""
        self._file.reserve(self.size)
        self._get.meter.total = self.size
        jobs = [partial(self._fetch, each) for each in self._ranges]
        run([self._hash, *sharing(jobs, self._get.options.parallel)], self._get.gate, self._get.meter)
        return self._sha256.hexdigest()

    def _fetch(self, part: _Range) -> None:
        patience = self._get.patience(f"Fetching bytes {part.start} to {part.stop - 1} of {self.size}")
        response: requests.Response | Failure = self._first if part.start == 0 else self._ask(part)
        while True:
            before = part.reached
            failure = response if isinstance(response, Failure) else self._receive(part, response)
            if failure is None:
                return
            patience.after(failure, progressed=part.reached - before >= self._get.options.chunk)
            response = self._ask(part)

    def _ask(self, part: _Range) -> requests.Response | Failure:
        self._get.gate.check()
        headers = {"Range": f"bytes={part.reached}-{part.stop - 1}"}
        quoted = self._first.headers.get("ETag", "")
        if quoted.startswith('"'):
            # A weak ETag (W/...) never matches here; the check of the answer below has to do.
            headers["If-Match"] = quoted
        response = self._get.request(headers)
        if isinstance(response, Failure):
            return response
        failure = self._unlike(response, part)
        if failure is None:
            return response
        response.close()
        return failure

    def _unlike(self, response: requests.Response, part: _Range) -> Failure | None:
        """Say what is wrong with the head of an answer, if anything."""
        found = range_of(response)
        if found is None or found[0] != part.reached or found[1] > part.stop:
            text = "the store sent another range than asked for"
            return Failure(ProtocolError, text, transient=True, status=response.status_code)
        if found[2] != self.size or etag_of(response) != self.etag:
            return answers.from_error(412, None, None)
        return None

    def _receive(self, part: _Range, response: requests.Response) -> Failure | None:
        """Write what comes; None when the range is complete."""
        try:
            while part.reached < part.stop:
                self._get.gate.check()
                data = self._get.read(response, min(self._get.options.chunk, part.stop - part.reached))
                if isinstance(data, Failure):
                    return data
                if not data:
                    return CLOSED_EARLY
                self._file.write(data, part.reached, self.size)
                self._get.meter.add(len(data))
                with self._moved:
                    part.reached += len(data)
                    self._moved.notify()
            return None
        finally:
            # A response read to its end has given its connection back already; any other one ends it here.
            response.close()

    def _hash(self) -> None:
        """Follow the ranges through the file in order, as far as each has got."""
        view = memoryview(bytearray(self._get.options.chunk))
        for part in self._ranges:
            offset = part.start
            while offset < part.stop:
                self._get.gate.check()
                with self._moved:
                    if part.reached == offset:
                        self._moved.wait(_WAKE_UP)
                    ready = part.reached - offset
                if ready:
                    count = self._file.read_into(view[: min(ready, len(view))], offset)
                    self._sha256.update(view[:count])
                    offset += count
