"""Which failed calls are repeated, when, and for how long.

The table is kind of call x outcome; the waiting is tenacity's. Knows nothing of transports or endpoints.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from tenacity import RetryCallState, retry_if_exception, stop_before_delay

from .errors import (
    AmbiguousError,
    CommandTimeoutError,
    FirecrestError,
    QuotaError,
    RateLimitError,
    Retry,
    UnavailableError,
)
from .flow import Request

DEFAULT_DELAY = 10.0
"""Seconds to wait after a 429 that does not say how long."""

_MAX_BACKOFF = 20.0
_LONGEST_DELAY = 10 * 365 * 86_400.0


def server_delay(headers: Mapping[str, str]) -> float | None:
    """Return the seconds the server asks us to wait: `Retry-After` (seconds or date), else `RateLimit-Reset`,
    else None.

    A moment is one of the server's clock, which the answer's `Date` tells: ours may be hours off.
    """
    for name in ("retry-after", "ratelimit-reset", "x-ratelimit-reset"):
        delay = _delay(headers.get(name, "").strip(), headers)
        if delay is not None:
            return delay
    return None


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the moment of an answer by the server's clock, in seconds since the epoch, or None.

    :param headers: the answer's, with names in lower case.
    """
    return _moment(headers.get("date", ""))


def _delay(value: str, headers: Mapping[str, str]) -> float | None:
    """Read seconds, a date, or the moment at which a window ends in seconds since the epoch."""
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]+)?", value):
        seconds = float(value)
        if seconds < _LONGEST_DELAY:
            return seconds
        ends: float | None = seconds
    else:
        ends = _moment(value)
    if ends is None:
        return None
    now = server_time(headers)
    return max(0.0, ends - (time.time() if now is None else now))


def _moment(value: str) -> float | None:
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (when.replace(tzinfo=UTC) if when.tzinfo is None else when).timestamp()


def may_repeat(request: Request, error: BaseException) -> bool:
    """Say whether the driver itself may send ``request`` again after ``error``.

    An error that is safe to repeat says so itself: for calls that create something only those that surely did
    not arrive
    (429, "is unhealthy", connection refused) do. An ambiguous outcome is never repeated here: somebody has to
    look first. A quota lasts longer than a call should.
    """
    if not isinstance(error, FirecrestError) or isinstance(error, AmbiguousError | QuotaError):
        return False
    if isinstance(error, CommandTimeoutError) and not request.repeat_command_timeout:
        return False
    if isinstance(error, UnavailableError) and not request.repeat:
        return False
    return error.retry is Retry.YES


def policy(request: Request, *, budget: float) -> dict[str, Any]:
    """Return tenacity's settings for one request.

    :param budget: seconds from the first attempt after which no new attempt starts; a wait that would pass it
        is not begun.
    """
    return {
        "retry": retry_if_exception(lambda error: may_repeat(request, error)),
        "wait": _wait,
        "stop": stop_before_delay(budget),
        "reraise": True,
    }


def _wait(state: RetryCallState) -> float:
    """Full jitter, so that a crowd that failed together does not return together; never shorter than the
    server asked for.
    """
    # The exponent has an end: a budget of hours makes thousands of attempts, more than a float can count.
    backoff = random.uniform(0, min(_MAX_BACKOFF, 0.5 * 2 ** min(state.attempt_number, 10)))
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    if asked is None and isinstance(error, RateLimitError):
        asked = DEFAULT_DELAY
    # A date that has passed, or 0, asks for nothing: that must not make us quicker than our own backoff.
    return backoff if asked is None or asked < 1 else float(asked) + random.uniform(0, 1)
