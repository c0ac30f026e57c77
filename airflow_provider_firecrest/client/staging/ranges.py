"""Fetching an object in parallel ranges of one version; a broken range goes on from the byte it reached."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import requests

from ..._crash_points import crash_point
from ..errors import ProtocolError
from . import answers
from .answers import Failure
from .crew import log, run, sharing
from .files import Target
from .getting import CLOSED_EARLY, Getter, etag_of, range_of
from .partial import Holding, Record

RECORD_EVERY = 5.0
"""Seconds between two notes of what the file holds: a process that is killed loses no more."""

_WAKE_UP = 0.2  # seconds; the hashing thread looks this often whether it should stop


@dataclass
class _Range:
    """Bytes ``start`` to ``stop`` (exclusive) of the object; ``reached`` is the first one still missing."""

    start: int
    stop: int
    reached: int


class RangedFetch:
    """An object under way in ranges.

    :param first: the answer to a request for the first missing range, unread; it tells size and version.
    :param record: where to note what the file holds; None: nowhere.
    :param held: what the file holds already, of the same version.
    """

    def __init__(
        self,
        getter: Getter,
        file: Target,
        first: requests.Response,
        record: Record | None = None,
        held: Holding | None = None,
    ) -> None:
        self._get, self._file, self._first = getter, file, first
        self._moved = threading.Condition()
        self._sha256 = hashlib.sha256()
        self._noting = threading.Lock()
        self._note_at = time.monotonic() + RECORD_EVERY
        begins = held.gaps[0][0] if held else 0
        found = range_of(first)
        if found is None or found[0] != begins:
            failure = Failure(ProtocolError, "the store sent another range than asked for", status=206)
            raise getter.patience("Opening the object").error(failure)
        _, stop, self.size = found
        getter.check_size(self.size)
        self.etag = etag_of(first)
        # Of a version without a strong ETag nobody could say later that it is the same.
        strong = first.headers.get("ETag", "").startswith('"')
        self._record = record if strong else None
        self._ranges = _ranges(held, begins, stop, self.size, getter.options.range_size)
        self._opened = next(each for each in self._ranges if each.start == begins)

    @property
    def parts(self) -> int:
        """Number of ranges."""
        return len(self._ranges)

    def run(self) -> str:
        """Fetch everything; return the file's SHA-256."""
        self._file.reserve(self.size)
        self._get.meter.total = self.size
        here = sum(each.reached - each.start for each in self._ranges)
        if here:
            log.info("Going on with the download: %d of %d bytes are here already.", here, self.size)
        self._get.meter.add(here)
        jobs = [partial(self._fetch, each) for each in self._ranges if each.reached < each.stop]
        try:
            run([self._hash, *sharing(jobs, self._get.options.parallel)], self._get.gate, self._get.meter)
        finally:
            self._note()
        return self._sha256.hexdigest()

    def _fetch(self, part: _Range) -> None:
        patience = self._get.patience(f"Fetching bytes {part.start} to {part.stop - 1} of {self.size}")
        response: requests.Response | Failure = self._first if part is self._opened else self._ask(part)
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
                if time.monotonic() >= self._note_at:
                    self._note()
                crash_point("during_ranges")
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

    def _note(self) -> None:
        """Write down what the file holds, once that is on disk."""
        if self._record is None or not self._noting.acquire(blocking=False):
            return
        try:
            self._note_at = time.monotonic() + RECORD_EVERY
            spans = _merged([(each.start, each.reached) for each in self._ranges])
            self._file.flush()
            self._record.write(Holding(self._first.headers["ETag"], self.size, spans))
        finally:
            self._noting.release()


def _ranges(held: Holding | None, begins: int, stop: int, size: int, step: int) -> list[_Range]:
    """Cut an object into what is there and what to ask for.

    :param begins: first byte of the answer that is open.
    :param stop: the byte behind its last one: what the store chose to send, unlike the others.
    """
    spans, gaps = (held.spans, held.gaps) if held else ((), [(0, size)])
    found = [_Range(start, end, end) for start, end in spans]
    for first, end in gaps:
        starts = [first, *range(stop if first == begins else first + step, end, step)]
        found += [
            _Range(start, min(following, end), start)
            for start, following in zip(starts, [*starts[1:], end], strict=True)
        ]
    return sorted(found, key=lambda each: each.start)


def _merged(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join what touches, and leave out what is empty."""
    found: list[tuple[int, int]] = []
    for start, stop in spans:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], stop)
        elif stop > start:
            found.append((start, stop))
    return tuple(found)
