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
from .crew import Gate, Meter, log, run
from .files import Target
from .getting import Getter
from .options import DEFAULT_OPTIONS, Progress, Staged, StagingOptions
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
) -> Staged:
    """Fetch an object into ``target``, complete or not at all (S3 GetObject with Range and If-Match).

    :param url: presigned GET URL.
    :param target: file to write; whatever it holds is replaced. It is removed when this raises.
    :param size: bytes the object must have, or None when unknown.
    :param options: parallelism, attempts, timeouts.
    :param progress: called about once a second with bytes done and bytes in all.
    :param cancelled: set it from another thread to stop.
    :returns: size, SHA-256, ETag.
    :raises NotFoundError: the object did not appear within ``appear_timeout``.
    :raises IntegrityError: the object has another size, or changed meanwhile.
    :raises QuotaError: not enough space for the file.
    :raises FirecrestError: anything else, by kind.
    """
    guard_logs()
    started = time.monotonic()
    with Target(target) as file:
        wire = Wire(options)
        getter = Getter(url, size, wire, Gate(cancelled, wire.cut), Meter(size or 0, progress), options)
        opening = _Opening(getter)
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
    """The first request."""

    def __init__(self, getter: Getter) -> None:
        self._get = getter
        self._response: requests.Response | None = None

    def perform(self) -> None:
        patience = self._get.patience("Opening the object")
        appear_by = time.monotonic() + self._get.options.appear_timeout
        headers = {"Range": f"bytes=0-{self._get.options.range_size - 1}"}
        while True:
            self._get.gate.check()
            outcome = self._get.request(headers)
            if isinstance(outcome, requests.Response):
                self._response = outcome
                return
            if outcome.status == 416 and headers:
                # There is no byte 0: an empty object. Without a range the store says so with a plain 200.
                headers = {}
            elif outcome.code == "NoSuchKey" and time.monotonic() < appear_by:
                # The job that writes the object has ended, but not every store shows it to everybody at once.
                log.info("The object is not there yet; looking again.")
                self._get.gate.pause(min(self._get.options.backoff, _LOOK_AGAIN))
            else:
                patience.after(outcome)

    def fetch(self, file: Target) -> RangedFetch | StreamedFetch:
        """Return the way to fetch the object, by what the store answered."""
        assert self._response is not None
        way = RangedFetch if self._response.status_code == 206 else StreamedFetch
        return way(self._get, file, self._response)

    def close(self) -> None:
        """Give up a response that nobody reads any more."""
        if self._response is not None:
            self._response.close()
