"""What every operator and sensor here has: a connection, a client, a deadline, Airflow's exceptions.

Imported whenever a DAG file is parsed: anything of the client is imported when a task runs.
"""

from __future__ import annotations

import ast
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from .firecrest import FirecrestHook

DEFAULT_CONN_ID = "firecrest_default"

_FRACTION = re.compile(r"\s*\d+\.\d*\s*")

KILL_BUDGET = 4.0
"""Seconds for ``on_kill`` in a worker: Airflow sends SIGKILL 5 s after SIGTERM, whatever its settings say."""


def default_deferrable() -> bool:
    """Return Airflow's ``[operators] default_deferrable``."""
    found: bool = conf.getboolean("operators", "default_deferrable", fallback=False)
    return found


class FirecrestMixin:
    """Connection and client of a task; goes in front of ``BaseOperator`` or ``BaseSensorOperator``."""

    firecrest_conn_id: str
    system: str | None
    execution_timeout: timedelta | None
    log: Any

    @cached_property
    def hook(self) -> FirecrestHook:
        """The task's hook."""
        from .firecrest import FirecrestHook

        return FirecrestHook(self.firecrest_conn_id)

    @contextmanager
    def firecrest(self) -> Iterator[FirecrestClient]:
        """Give the task's client, and close it at the end.

        What it raises comes out as Airflow's exceptions.
        """
        from ._errors import airflow_errors

        with airflow_errors():
            try:
                yield self.hook.get_conn()
            finally:
                self.hook.close()

    def deadline(self, context: Context) -> float | None:
        """Return when ``execution_timeout`` ends, in seconds since the epoch, or None.

        Airflow does not count while a task is deferred, and starts anew when it resumes; counted from the
        task's start.
        """
        if self.execution_timeout is None:
            return None
        started = getattr(context["ti"], "start_date", None)
        return (started.timestamp() if started else time.time()) + self.execution_timeout.total_seconds()


def framework_timeout(deadline: float | None, poll_interval: float) -> timedelta | None:
    """Return a timeout for ``defer`` that our own deadline always beats, unless no triggerer runs."""
    if deadline is None:
        return None
    return timedelta(seconds=max(0.0, deadline - time.time()) + max(120.0, 2 * poll_interval))


def within_kill_budget(
    log: Any,
    what: str,
    action: Callable[[FirecrestClient], object],
    hook: FirecrestHook,
    *,
    wait: float = KILL_BUDGET,
) -> None:
    """Run ``action`` with a client of its own, and return after ``wait`` seconds at the latest.

    In a thread, because ``on_kill`` is a signal handler: the code it interrupted may hold locks that
    ``action`` needs. If it does, the thread goes on once the handler has returned.
    """
    settings = hook.settings.with_changes(timeout=KILL_BUDGET - 1, retry_budget=1.0)

    def run() -> None:
        from ..client import FirecrestClient

        try:
            with FirecrestClient(settings) as client:
                action(client)
        except Exception as error:
            log.error("%s did not work out: %s", what, error)

    thread = threading.Thread(target=run, name="firecrest-on-kill", daemon=True)
    thread.start()
    thread.join(wait)
    if thread.is_alive():
        log.error("%s is not finished after %.0f s; it goes on as long as this process lives.", what, wait)


def job_ids_of(value: Any) -> list[str]:
    """Return job ids as a list of texts.

    A template may have made one id, a list, a list written as text, or a text with commas.

    :raises InvalidRequestError: there is none, or one is no id.
    """
    from ..client.errors import InvalidRequestError

    if isinstance(value, str):
        value = _written_list(value) if value.strip().startswith(("[", "(")) else value.split(",")
    elif isinstance(value, Mapping) or not isinstance(value, Iterable):
        value = [] if value is None else [value]
    given = list(value)
    for each in given:
        whole = isinstance(each, int) and not isinstance(each, bool)
        if not whole and (not isinstance(each, str) or _FRACTION.fullmatch(each)):
            raise InvalidRequestError(
                f"job_id: {repr(each)[:100]} is no job id; give a text such as '4711', or a whole number."
            )
    found = [str(each).strip() for each in given if str(each).strip()]
    if not found:
        raise InvalidRequestError("job_id: empty.")
    return found


def _written_list(text: str) -> list[Any]:
    """Return the list that a template has written as text, in Python's notation or in JSON's."""
    from ..client.errors import InvalidRequestError

    try:
        return list(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InvalidRequestError(f"job_id: {text[:100]!r} cannot be read as a list of job ids.") from None
