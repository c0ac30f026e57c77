"""Waiting out a limit of the site: so many jobs at once, so many requests.

Knows how long to wait and where. Must not know what was refused: whatever it is, it is done again from its
beginning, since nothing came of it. Imported whenever a DAG file is parsed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..hooks._task import FirecrestMixin, framework_timeout

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client.errors import FirecrestError

FIRST_PAUSE = 60.0
"""Seconds; each following pause is twice as long."""

LONGEST_PAUSE = 600.0

_STORAGE = re.compile(r"\bdisk|\bspace\b|file system", re.IGNORECASE)

T = TypeVar("T")


class WaitsForQuota(FirecrestMixin):
    """Does what was refused again, later: out of the triggerer, or here."""

    wait_for_quota: bool
    deferrable: bool
    poll_interval: float
    quota_pauses: int = 0
    """Pauses so far. Not 0: what is asked for may have been asked for before."""

    def within_quota(self, action: Callable[[], T], context: Context) -> T:
        """Return what ``action`` returns, as soon as no limit stands in its way.

        In deferrable mode the task starts again after a pause, in ``submit_again``.

        :raises AirflowTaskTimeout: ``execution_timeout`` is over.
        """
        from ..client.errors import QuotaError, RateLimitError

        while True:
            try:
                return action()
            except (QuotaError, RateLimitError) as error:
                if not self.wait_for_quota or not passes(error):
                    raise
                self._pause(error, context)

    def submit_again(self, context: Context, event: dict[str, Any]) -> Any:
        """Take up the task again after a pause."""
        self.quota_pauses = int(event["carry"]["pauses"])
        if event["status"] == "timeout":
            raise _out_of_time(event["carry"]["limit"])
        return self.execute(context)  # type: ignore[attr-defined]

    def _pause(self, error: FirecrestError, context: Context) -> None:
        """Wait; in deferrable mode this does not return."""
        from ..triggers.pause import FirecrestPauseTrigger

        deadline = self.deadline(context)
        pause = max(min(FIRST_PAUSE * 2**self.quota_pauses, LONGEST_PAUSE), error.retry_after or 0.0)
        self.quota_pauses += 1
        self.log.warning("A limit of the site: %s Trying again in %.0f s.", error, pause)
        if not self.deferrable:
            self._pause_here(pause, deadline, str(error))
            return
        self.defer(  # type: ignore[attr-defined]
            trigger=FirecrestPauseTrigger(
                firecrest_conn_id=self.firecrest_conn_id,
                system=self.system,
                poll_interval=self.poll_interval,
                deadline=deadline,
                until=time.time() + pause,
                carry={"pauses": self.quota_pauses, "limit": str(error)},
            ),
            method_name="submit_again",
            timeout=framework_timeout(deadline, self.poll_interval),
        )

    @staticmethod
    def _pause_here(pause: float, deadline: float | None, limit: str) -> None:
        left = pause if deadline is None else min(pause, deadline - time.time())
        if left > 0:
            time.sleep(left)
        if left < pause:
            raise _out_of_time(limit)


def is_waited_out(error: BaseException) -> bool:
    """Return True for what :meth:`WaitsForQuota.within_quota` waits out."""
    from ..client.errors import QuotaError, RateLimitError

    return isinstance(error, QuotaError | RateLimitError) and passes(error)


def passes(error: FirecrestError) -> bool:
    """Return True for a limit that others' jobs and time lift; a full disk, there or here, wants somebody to
    clear it.
    """
    from ..client.errors import RateLimitError

    if isinstance(error, RateLimitError):
        return True
    # Without a word of the server's it is a limit of this machine.
    words = error.server_message
    return words is not None and not _STORAGE.search(f"{error.message} {words}")


def _out_of_time(limit: str) -> BaseException:
    from airflow.providers.common.compat.sdk import AirflowTaskTimeout

    timeout: BaseException = AirflowTaskTimeout(
        f"execution_timeout is over, and a limit of the site still stood in the way: {limit}"
    )
    return timeout
