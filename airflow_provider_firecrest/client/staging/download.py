"""Fetching one object through a presigned GET URL into a local file.

The first request asks for the first range, and its answer says how large the object is, which version it is,
and whether the store can do ranges: then they are fetched in parallel (`ranges`), else the object comes as
one stream (`stream`).
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import requests

from ..errors import IntegrityError
from .answers import Failure
from .crew import Gate, Meter, log, run
from .files import Target
from .getting import Getter, range_of
from .options import DEFAULT_OPTIONS, Progress, Staged, StagingOptions
from .partial import Record
from .ranges import RangedFetch
from .redaction import guard_logs
from .stream import StreamedFetch
from .wire import Wire

_LOOK_AGAIN = 1.0  # seconds


def get_object(
    url: str,
    target: Path,
    *,
    size: int | None,
    options: StagingOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
    resume: bool = False,
) -> Staged:
    """Fetch an object into ``target``, complete or not at all (S3 GetObject with Range and If-Match).

    :param url: presigned GET URL.
    :param target: file to write; whatever it holds is replaced. It is removed when this raises, except with
        ``resume``.
    :param size: bytes the object must have, or None when unknown.
    :param options: parallelism, attempts, timeouts.
    :param progress: called about once a second with bytes done and bytes in all.
    :param cancelled: set it from another thread to stop.
    :param resume: go on with what an earlier attempt has written to ``target``, where its record beside it
        is of the same version of the object. File and record stay, whatever happens: ``resumable_target``
        removes them.
    :returns: size, SHA-256, ETag.
    :raises NotFoundError: the object did not appear within ``appear_timeout``.
    :raises IntegrityError: the object has another size, or changed meanwhile.
    :raises QuotaError: not enough space for the file.
    :raises FirecrestError: anything else, by kind.
    """
    guard_logs()
    started = time.monotonic()
    with Target(target, kept=resume) as file:
        wire = Wire(options)
        getter = Getter(url, size, wire, Gate(cancelled, wire.cut), Meter(size or 0, progress), options)
        opening = _Opening(getter, Record(file.path) if resume else None)
        try:
            run([opening.perform], getter.gate, getter.meter)
            fetch = opening.fetch(file)
            sha256 = fetch.run()
        finally:
            opening.close()
            wire.close()
        if file.size != fetch.size:
            raise IntegrityError(
                f"{file.path} has {file.size} bytes after the download instead of {fetch.size}."
            )
        getter.meter.report()
        return Staged(fetch.size, sha256, fetch.etag, fetch.parts, time.monotonic() - started)


class _Opening:
    """The first request.

    :param record: tells what ``target`` holds already; None: nothing, and nobody wants to know.
    """

    def __init__(self, getter: Getter, record: Record | None) -> None:
        self._get, self._record = getter, record
        self._held = record.read(getter.expected) if record is not None else None
        self._response: requests.Response | None = None

    def perform(self) -> None:
        patience = self._get.patience("Opening the object")
        appears_within, said = self._get.options.appear_timeout, False
        appear_by = time.monotonic() + appears_within
        headers = self._first_range()
        while True:
            self._get.gate.check()
            outcome = self._get.request(headers)
            if self._held is not None and self._is_another(outcome):
                log.info("What an earlier attempt fetched is of another version; starting over.")
                headers = self._first_range()
            elif isinstance(outcome, requests.Response):
                self._response = outcome
                return
            elif outcome.status == 416 and headers:
                # There is no byte 0: an empty object. Without a range the store says so with a plain 200.
                headers = {}
            elif outcome.code == "NoSuchKey" and time.monotonic() < appear_by:
                # The job that writes the object has ended, but not every store shows it to everybody at once.
                if not said:
                    log.info("The object is not there yet; looking again for up to %.0f s.", appears_within)
                    said = True
                self._get.gate.pause(min(self._get.options.backoff, _LOOK_AGAIN))
            else:
                patience.after(outcome)

    def fetch(self, file: Target) -> RangedFetch | StreamedFetch:
        """Return the way to fetch the object, by what the store answered."""
        assert self._response is not None
        if self._held is None and self._record is not None:
            self._record.remove()
            file.empty()
        if self._response.status_code == 206:
            return RangedFetch(self._get, file, self._response, self._record, self._held)
        return StreamedFetch(self._get, file, self._response)

    def close(self) -> None:
        """Give up a response that nobody reads any more."""
        if self._response is not None:
            self._response.close()

    def _first_range(self) -> dict[str, str]:
        start, stop = self._held.gaps[0] if self._held else (0, self._get.options.range_size)
        return {"Range": f"bytes={start}-{min(stop, start + self._get.options.range_size) - 1}"}

    def _is_another(self, outcome: requests.Response | Failure) -> bool:
        """Whether the answer is about another version than the one that is held; then nothing is held."""
        assert self._held is not None
        if isinstance(outcome, requests.Response):
            start, _ = self._held.gaps[0]
            found = range_of(outcome)
            same = found is not None and (found[0], found[2]) == (start, self._held.size)
            if same and outcome.headers.get("ETag") == self._held.etag:
                return False
            outcome.close()
        elif outcome.status not in (412, 416):
            return False
        self._held = None
        return True
