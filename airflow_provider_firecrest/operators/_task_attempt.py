"""Which logical attempt a running task is, and since when jobs can belong to it.

Knows what of Airflow's task instance stays the same over retries and what a clear changes. Must not know what
an attempt does.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Literal

from ..client.attempts import Attempt

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient

Reattach = Literal["retry", "always", "never"]

_CLOCKS_DIFFER = 300.0
"""Seconds by which the clocks of Airflow's machines may differ."""


def attempt_of(
    context: Context, client: FirecrestClient, *, conn_id: str, system: str | None, reattach: Reattach
) -> tuple[Attempt, bool]:
    """Return the logical attempt of a running task, and whether this is its very first try.

    Airflow keeps ``max_tries`` over its own retries and raises it with every clear; ``ti.id`` and
    ``try_number`` change with both, so they cannot tell one from the other.

    :param client: the client, whose connection may name the Airflow installation.
    :param conn_id: the connection's id.
    :param system: system that the task names; default: the connection's.
    :param reattach: ``retry``: retries share an attempt; ``always``: retries and clears do; ``never``:
        every try is one.
    """
    ti = context["ti"]
    index = getattr(ti, "map_index", -1)
    identity: tuple[str, ...] = (
        str(ti.dag_id),
        str(getattr(ti, "run_id", "")),
        str(ti.task_id),
        str(index if isinstance(index, int) else -1),
        conn_id,
        system or client.system or "",
    )
    if client.settings.installation:
        identity = (*identity, client.settings.installation)
    tries = getattr(ti, "try_number", 1)
    first = isinstance(tries, int) and tries <= 1
    if reattach == "never":
        return Attempt((*identity, uuid.uuid4().hex), 0), True
    generation = getattr(ti, "max_tries", 0) if reattach == "retry" else 0
    return Attempt(identity, generation if isinstance(generation, int) else 0), first


def life_began(context: Context) -> float | None:
    """Return since when jobs can belong to this task instance, in seconds since the epoch, or None.

    The start of its run, less what clocks may differ by. A run deleted and made again has the same id.
    """
    started = getattr(context.get("dag_run"), "start_date", None)
    return None if started is None else float(started.timestamp()) - _CLOCKS_DIFFER


def by_the_systems_clock(client: FirecrestClient, began: float | None) -> float | None:
    """Return since when jobs can belong to a task instance by the system's clock, as the ends of jobs are:

    ours may be hours off, or have been when it was noted. Rather a job of an earlier life than a second one:
    the earlier moment.

    :param began: what :func:`life_began` returned.
    """
    if began is None or began > time.time() + _CLOCKS_DIFFER:
        # A beginning that is still to come was noted by a clock that has been put back since.
        return None
    return min(began, client.server_time(began))
