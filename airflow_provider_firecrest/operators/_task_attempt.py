"""Which logical attempt a running task is, and since when jobs can belong to it.

Knows what of Airflow's task instance stays the same over retries and what a clear changes. Must not know what
an attempt does.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal

from ..client.attempts import Attempt
from ..client.attempts.life import CLOCKS_DIFFER

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient

Reattach = Literal["retry", "always", "never"]


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
    return None if started is None else float(started.timestamp()) - CLOCKS_DIFFER
