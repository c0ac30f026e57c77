"""Telling a kill that ends a task from one after which another worker goes on with it.

Knows whom Airflow sends SIGTERM: the task of a user's kill, one whose worker is shut down, and one whose
worker was suspended, or cut off, for so long that Airflow began the next try. Must not know what there is to
cancel.
"""

from __future__ import annotations

import threading
from typing import Any

from .._compat import task_state_in_worker

_WITHIN = 0.5
"""Seconds in which Airflow must tell the task's state, of the five that it leaves a killed task."""

_GOES_ON = frozenset({"up_for_retry", "scheduled", "queued", "running", "deferred"})
"""States of a task whose next try begins, or has begun. One that a user marked has none of them."""


def is_taken_over(ti: Any, log: Any) -> bool:
    """Return True when the next try of a killed task goes on with its job, or ends it by itself.

    Only within the retries that the task has: what nobody takes over must be cancelled.

    :param ti: the task instance, as the worker knows it.
    """
    tries, most = getattr(ti, "try_number", None), getattr(ti, "max_tries", None)
    if not isinstance(tries, int) or not isinstance(most, int) or tries > most:
        return False
    found: list[str | None] = []

    def ask() -> None:
        try:
            found.append(task_state_in_worker(ti))
        except Exception as error:
            log.info("Airflow cannot be asked for the task's state: %s", type(error).__name__)

    # In a thread: a kill interrupts the code that may be talking to Airflow already.
    thread = threading.Thread(target=ask, name="firecrest-task-state", daemon=True)
    thread.start()
    thread.join(_WITHIN)
    return bool(found) and found[0] in _GOES_ON
