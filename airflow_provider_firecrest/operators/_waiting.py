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
    try:
        status, message = _follow(client, watch, patience, system, log, sleep), None
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


def _follow(
    client: FirecrestClient,
    watch: JobWatch,
    patience: Patience,
    system: str | None,
    log: Any,
    sleep: Callable[[float], None],
) -> str:
    while True:
        try:
            news = watch.observe(client.find_jobs(watch.pending, system=system))
        except FirecrestError as error:
            watch.unanswered()
            log.warning("Waiting on; the last question failed: %s", error)
            pause = patience.failed(error)
        else:
            for line in news:
                log.info("%s", line)
            pause = patience.answered(bool(news))
        if watch.done:
            return "lost" if watch.lost else "done"
        if patience.expired:
            return "timeout"
        sleep(pause)
