"""What a task remembers of a file operation from one try to the next, in Airflow's task state store (3.3).

Knows the store, and how far an operation may have got. Must not know what follows from it
(``_fileop_attempts`` does). The plan is kept, since what stood on the file system before is the evidence
that a proof needs. No secrets: paths and job ids only.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..client.attempts import Attempt
    from ..client.fileops import FileOperation, FileOperationResult, Intent, StartedOperation

STATE_KEY = "firecrest_file_operation"
"""Key in the store: whose operation it is, and how far it has got."""

_FORMAT = 1
"""Of what is kept; what another version left in another format is not gone on with."""

Stage = Literal["called", "submitting", "started", "failed", "done"]
"""A direct call may have been sent; a job may have been submitted; it was, and this is it; it is over."""


class FileOperationMemory:
    """The memory of one task instance.

    :param store: Airflow's task state store, or None: then nothing is remembered.
    :param attempt: the logical attempt, at ordinal 0.
    :param first_try: nothing can have been left.
    """

    def __init__(self, store: Any, attempt: Attempt, *, first_try: bool, log: Any) -> None:
        self.attempt, self.first_try, self.log = attempt, first_try, log
        self._store = store

    @property
    def keeps(self) -> bool:
        """Whether a later try finds what is remembered."""
        return self._store is not None

    def known(self) -> dict[str, Any] | None:
        """Return what an earlier try left: ``stage``, ``ordinal`` and ``left``; None when there is nothing.

        :raises UnavailableError: nobody can say; to begin anew might do it twice.
        """
        from ..client.errors import UnavailableError

        if self.first_try or self._store is None:
            return None
        try:
            return self._read()
        except Exception as error:
            raise UnavailableError(
                "Airflow's task state store cannot be read, which holds what an earlier try of this task has"
                f" begun ({type(error).__name__}). Nothing was done; a retry looks again."
            ) from None

    def is_own(self, known: dict[str, Any]) -> bool:
        """Return whether an earlier try of this attempt left it, not one before a clear."""
        return bool(known.get("mark") == self.attempt.mark)

    def call(self, operation: FileOperation, ordinal: int) -> None:
        """Remember that a direct call is about to be sent."""
        self._write("called", ordinal, {"operation": asdict(operation), "asked_at": time.time()})

    def intend(self, intent: Intent, ordinal: int) -> None:
        """Remember that a job is about to be submitted."""
        self._write("submitting", ordinal, intent.as_dict())

    def keep(self, started: StartedOperation, ordinal: int) -> None:
        """Remember the job."""
        self._write("started", ordinal, started.as_dict())

    def succeed(self, result: FileOperationResult) -> None:
        """Remember the result: the worker can still die before Airflow hears of it."""
        self._end("done", result.as_dict())

    def fail(self) -> None:
        """Remember that nothing is going on any more: a retry begins anew."""
        self._end("failed", {})

    def _end(self, stage: Stage, left: dict[str, Any]) -> None:
        try:
            known = self._read()
        except Exception as error:
            self._complain("read", error)
            return
        if known is not None and self.is_own(known):
            self._write(stage, int(known["ordinal"]), left)

    def _write(self, stage: Stage, ordinal: int, left: dict[str, Any]) -> None:
        if self._store is None:
            return
        value = {
            "format": _FORMAT,
            "mark": self.attempt.mark,
            "ordinal": ordinal,
            "stage": stage,
            "left": left,
        }
        try:
            self._store.set(STATE_KEY, value)
        except Exception as error:
            self._complain("written", error)

    def _read(self) -> dict[str, Any] | None:
        found = None if self._store is None else self._store.get(STATE_KEY)
        return found if isinstance(found, dict) and found.get("format") == _FORMAT else None

    def _complain(self, what: str, error: Exception) -> None:
        # The mark in the job's name remains, where that is ours to give.
        self.log.warning("Airflow's task state store cannot be %s: %s", what, type(error).__name__)
