"""How long to wait between two questions, and which failures to wait through.

Pure: no I/O, no event loop. One :class:`Patience` belongs to one wait, of a trigger, a worker or a script.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from .. import errors

REFUSALS_TOLERATED = 7200.0
"""Seconds of nothing but refusals (401, 403, 4xx, a bad certificate) before a wait gives up. A token server
or a gateway that is being replaced refuses for half an hour and more; a deleted account refuses for ever."""

_FIRST_PAUSE = 2.0
_SHORTEST_CAP = 10.0
_LONGEST_ERROR_PAUSE = 120.0


class Patience:
    """Decides when to ask next. Quick after news, slower when nothing happens, never slower than
    ``interval``.

    :param interval: seconds between questions when nothing has changed for some minutes.
    :param deadline: seconds since the epoch at which waiting ends, or None.
    :param quiet_since: seconds since the epoch since when nothing has changed; default: now.
    """

    def __init__(
        self,
        interval: float,
        deadline: float | None = None,
        *,
        quiet_since: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.interval = max(0.05, float(interval))
        self.deadline = deadline
        self._clock = clock
        self._changed_at = clock() if quiet_since is None else quiet_since
        self._failures = 0
        self._refused_since: float | None = None

    @property
    def expired(self) -> bool:
        """True when the deadline is reached."""
        return self.deadline is not None and self._clock() >= self.deadline

    def left(self) -> float | None:
        """Return the seconds until the deadline, or None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - self._clock())

    @property
    def floor(self) -> float:
        """Seconds between two questions at least: 2 s, or a sixth of ``interval`` when that is more."""
        return min(self.interval, max(_FIRST_PAUSE, self.interval / 6))

    def pace(self) -> float:
        """Return the seconds that fit between two questions now: a quarter of the quiet time, from floor to
        ``interval``.

        A job of one minute is seen ending within seconds, a job of a day is asked about once per interval.
        """
        quiet = self._clock() - self._changed_at
        return min(self.interval, max(self.floor, quiet / 4))

    def answered(self, changed: bool) -> float:
        """Return the pause after an answer."""
        self._failures = 0
        self._refused_since = None
        if changed:
            self._changed_at = self._clock()
        return self.until_deadline(jittered(self.pace()))

    def failed(self, error: errors.FirecrestError) -> float:
        """Return the pause after a failed question.

        :raises FirecrestError: ``error`` itself, when waiting longer is pointless.
        """
        self._failures += 1
        if is_outage(error):
            self._refused_since = None
        else:
            now = self._clock()
            self._refused_since = now if self._refused_since is None else self._refused_since
            if now - self._refused_since >= REFUSALS_TOLERATED:
                raise error
        backoff: float = self.floor * 2 ** min(self._failures - 1, 10)
        pause = min(backoff, max(self.interval, _SHORTEST_CAP), _LONGEST_ERROR_PAUSE)
        return self.until_deadline(max(jittered(pause), error.retry_after or 0.0))

    def until_deadline(self, seconds: float) -> float:
        """Shorten a pause so that it does not pass the deadline."""
        left = self.left()
        return seconds if left is None else min(seconds, left)


def is_outage(error: errors.FirecrestError) -> bool:
    """True when the server may well answer the same question later, however long it takes."""
    return isinstance(
        error,
        errors.UnavailableError
        | errors.RateLimitError
        | errors.QuotaError
        | errors.TooLargeError
        | errors.AmbiguousError
        | errors.ProtocolError,
    )


def jittered(seconds: float) -> float:
    """Return about ``seconds``: a thousand tasks started together shall not ask together."""
    return seconds * random.uniform(0.9, 1.1)
