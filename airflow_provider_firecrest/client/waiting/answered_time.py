"""Time that passes from one answer to the next, and stands still while nobody answers.

What a job or a task was like during an outage nobody knows: an outage makes neither lost nor stuck.
"""

from __future__ import annotations

from collections.abc import Callable


class AnsweredTime:
    """A clock that only answers move.

    :param clock: seconds, from whenever.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: float | None = None
        self.now = 0.0
        """Seconds in all between answers with no failed question between them."""

    def answered(self) -> None:
        """Take note of an answer."""
        moment = self._clock()
        self.now += 0.0 if self._last is None else max(0.0, moment - self._last)
        self._last = moment

    def unanswered(self) -> None:
        """Take note of a question that failed: the time until the next answer does not count."""
        self._last = None
