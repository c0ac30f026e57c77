"""How often and after what wait an attempt is repeated, and the error raised when it is not."""

from __future__ import annotations

import random
from dataclasses import replace

from ..errors import AmbiguousError, FirecrestError, TransferFailedError
from . import answers
from .answers import Failure
from .crew import Gate, log
from .options import StagingOptions
from .redaction import place, without_secrets_of

_LONGEST_RETRY_AFTER = 120.0  # seconds; a store that asks for more is not waited for that long


class Patience:
    """Attempts left for one part, one range or one call.

    :param doing: what is attempted, as the start of a sentence ("Sending part 3 of 12").
    """

    def __init__(self, doing: str, method: str, url: str, options: StagingOptions, gate: Gate) -> None:
        self._doing, self._method, self._url = doing, method, url
        self._options, self._gate = options, gate
        self._failed = 0

    def __repr__(self) -> str:
        return f"Patience({self._doing!r}, failed={self._failed})"

    def after(self, failure: Failure, *, progressed: bool = False) -> None:
        """Wait before the next attempt, or raise when there is none.

        :param progressed: the attempt got further than the one before: start counting anew.
        :raises FirecrestError: of the failure's kind.
        """
        # A connection cut because the transfer is being stopped is not the store's failure.
        self._gate.check()
        self._failed = 1 if progressed else self._failed + 1
        if failure.transient and failure.status is None and answers.has_expired(self._url):
            kind = AmbiguousError if failure.kind is AmbiguousError else TransferFailedError
            failure = replace(failure, kind=kind, text=answers.EXPIRED, transient=False)
        if not failure.transient or self._failed >= self._options.attempts:
            raise self.error(failure)
        wait = self._wait(failure)
        log.info(
            "%s: %s%s; attempt %d of %d follows in %.1f s.",
            self._doing,
            failure.text,
            f" ({failure.code})" if failure.code else "",
            self._failed + 1,
            self._options.attempts,
            wait,
        )
        self._gate.pause(wait)

    def error(self, failure: Failure) -> FirecrestError:
        """Return the exception that says what failed, where, and how often it was tried."""
        host, path = place(self._url)
        doubt = (
            " It may be done all the same: look before sending again."
            if failure.kind is AmbiguousError
            else ""
        )
        times = f" {self._failed} attempts were made." if self._failed > 1 else ""
        return failure.kind(
            f"{self._doing} at {host} failed: {failure.text}.{doubt}{times}",
            method=self._method,
            path=path,
            status=failure.status,
            server_message=without_secrets_of(self._url, failure.words or "") or None,
        )

    def _wait(self, failure: Failure) -> float:
        # Full jitter: parts that failed together must not come back together.
        ceiling = min(self._options.backoff_cap, self._options.backoff * 2 ** min(self._failed - 1, 30))
        asked = min(failure.retry_after or 0.0, _LONGEST_RETRY_AFTER)
        return asked + random.uniform(0.0, ceiling)
