"""What a task remembers of its job from one try to the next, in Airflow's task state store (3.3).

Knows the store only. A shortcut: the mark in the job's name alone is enough, so that a store that fails is
no failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STATE_KEY = "firecrest_job"
"""Key in the store: generation and ordinal of the attempt, and its job's id once there is one."""


class JobMemory:
    """The memory of one task instance.

    :param store: Airflow's task state store, or None: then nothing is remembered.
    :param log: the task's logger.
    """

    def __init__(self, store: Any, log: Any) -> None:
        self._store, self._log = store, log

    def known(self) -> Mapping[str, Any] | None:
        """Return what was kept last, or None."""
        if self._store is None:
            return None
        try:
            known = self._store.get(STATE_KEY)
        except Exception as error:
            self._log.info("Airflow's task state store cannot be read: %s", type(error).__name__)
            return None
        return known if isinstance(known, dict) else None

    def keep(self, values: Mapping[str, Any]) -> None:
        """Keep plain JSON values for a later try."""
        if self._store is None:
            return
        try:
            self._store.set(STATE_KEY, dict(values))
        except Exception as error:
            self._log.info("Airflow's task state store cannot be written: %s", type(error).__name__)
