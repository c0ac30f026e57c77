"""Waiting in the worker: the blocking way, by the same rules as the triggers.

Must not be imported when a DAG file is parsed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..client.errors import FirecrestError
from ..client.waiting.job_watch import JobWatch
from ..client.waiting.patience import Patience

if TYPE_CHECKING:
    from ..client import FirecrestClient
    from ..client.waiting.task_watch import TaskWatch


def wait_for_jobs(
    client: FirecrestClient,
    job_ids: Iterable[str],
    *,
    system: str | None,
    poll_interval: float,
    deadline: float | None,
    submitted_at: float | None,
    carry: dict[str, Any],
    log: Any,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Wait until jobs are over.

    :returns: what ``FirecrestJobTrigger`` would have put into its event.
    """
    watch = JobWatch(job_ids, submitted_at=submitted_at)
    patience = Patience(poll_interval, deadline, quiet_since=submitted_at)

    def look() -> list[str]:
        return watch.observe(client.find_jobs(watch.pending, system=system))

    def outcome() -> str | None:
        return None if not watch.done else "lost" if watch.lost else "done"

    try:
        status, message = follow(look, outcome, watch, patience, log, sleep), None
    except FirecrestError as error:
        status, message = "error", str(error)
    return {
        "status": status,
        "message": message,
        "system": system,
        "job_ids": watch.job_ids,
        "jobs": watch.as_dicts(),
        "lost": watch.lost,
        "carry": carry,
    }


def follow(
    look: Callable[[], list[str]],
    outcome: Callable[[], str | None],
    watch: JobWatch | TaskWatch,
    patience: Patience,
    log: Any,
    sleep: Callable[[float], None],
) -> str:
    """Ask again and again, through outages.

    :param look: asks once; returns one line per change.
    :param outcome: says what came of it, or None to go on.
    :param watch: what ``look`` puts the answers into.
    :returns: the outcome, or ``timeout``.
    :raises FirecrestError: asking is pointless.
    """
    while True:
        try:
            news = look()
        except FirecrestError as error:
            watch.unanswered()
            log.warning("Waiting on; the last question failed: %s", error)
            pause = patience.failed(error)
        else:
            for line in news:
                log.info("%s", line)
            pause = patience.answered(bool(news))
        found = outcome()
        if found is not None:
            return found
        if patience.expired:
            return "timeout"
        sleep(pause)
