"""Threads that stop: run workers side by side, watch them from the caller's thread, always join them.

Knows nothing of HTTP or files. The caller's thread only waits, in short steps, so that Ctrl-C, a SIGTERM
handler that raises, and the caller's ``cancelled`` event all take effect at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from .options import Progress, TransferCancelledError

log = logging.getLogger("airflow_provider_firecrest.staging")

Worker = Callable[[], None]

_CANCELLED = "The transfer was cancelled before it was complete."
_LOOK_EVERY = 0.2  # seconds
_REPORT_EVERY = 1.0  # seconds


class Halted(Exception):
    """Inside a worker: the transfer is being stopped, for a reason somebody else reports."""


class Gate:
    """The one place that says whether a transfer goes on.

    :param cancelled: the caller's event, or None.
    :param on_halt: called once when the transfer stops, to wake what is blocked.
    """

    def __init__(self, cancelled: threading.Event | None, on_halt: Callable[[], None]) -> None:
        self._cancelled = cancelled
        self._halted = threading.Event()
        self._on_halt = on_halt

    @property
    def cancelled(self) -> bool:
        """Whether the caller asked to stop."""
        return self._cancelled is not None and self._cancelled.is_set()

    def check(self) -> None:
        """Raise ``Halted`` once the transfer is being stopped."""
        if self._halted.is_set():
            raise Halted

    def pause(self, seconds: float) -> None:
        """Sleep, unless the transfer is being stopped."""
        if self._halted.wait(seconds):
            raise Halted

    def halt(self) -> None:
        """Stop all workers."""
        if not self._halted.is_set():
            self._halted.set()
            self._on_halt()


class Meter:
    """Counts bytes from many threads and reports them from one."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()
        self._next = time.monotonic() + _REPORT_EVERY

    def add(self, count: int) -> None:
        """Count ``count`` more bytes; a negative number takes bytes back that have to be moved again."""
        with self._lock:
            self._done += count

    def tick(self) -> None:
        """Report if a second has passed since the last time."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_EVERY
            self.report()

    def report(self) -> None:
        """Report now."""
        if self._progress is None:
            return
        try:
            self._progress(self._done, max(self.total, self._done))
        except Exception as error:
            log.warning(
                "The progress callback raised %s; the transfer goes on without it.", type(error).__name__
            )
            self._progress = None


def sharing(jobs: Iterable[Worker], number: int) -> list[Worker]:
    """Return up to ``number`` workers that take ``jobs`` in order, each the next one free."""
    waiting = deque(jobs)

    def take_next() -> None:
        while True:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            job()

    return [take_next] * min(number, len(waiting))


def run(workers: Sequence[Worker], gate: Gate, meter: Meter) -> None:
    """Run ``workers`` in threads of their own until all are done.

    :raises TransferCancelledError: when the caller's event is set.
    :raises BaseException: the first error of a worker, after the others have stopped.
    """
    if gate.cancelled:
        raise TransferCancelledError(_CANCELLED)
    errors: list[BaseException] = []

    def guarded(worker: Worker) -> None:
        try:
            gate.check()
            worker()
        except Halted:
            pass
        except BaseException as error:
            errors.append(error)
            gate.halt()

    threads = [
        threading.Thread(target=guarded, args=(each,), name="firecrest-staging", daemon=True)
        for each in workers
    ]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        was_cancelled = _watch(started, gate, meter)
    except BaseException:
        gate.halt()
        raise
    finally:
        _join(started)
    if errors:
        raise errors[0]
    if was_cancelled:
        raise TransferCancelledError(_CANCELLED)


def _join(threads: Sequence[threading.Thread]) -> None:
    # Even a second Ctrl-C waits: the caller closes files next, and a thread may not use a closed descriptor.
    late: BaseException | None = None
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except BaseException as error:
                late = error
    if late is not None:
        raise late


def _watch(threads: Sequence[threading.Thread], gate: Gate, meter: Meter) -> bool:
    for thread in threads:
        while thread.is_alive():
            if gate.cancelled:
                gate.halt()
                return True
            thread.join(_LOOK_EVERY)
            meter.tick()
    return False
