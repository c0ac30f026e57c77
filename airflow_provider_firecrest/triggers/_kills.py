"""Telling a user's kill from what only looks like one, and clearing up after it undisturbed.

Knows what Airflow 3.3.2's triggerer does to a trigger whose task it is not to wait for any more. Must not
know what there is to clear up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from .._compat import task_state

if TYPE_CHECKING:
    from ._base import FirecrestTrigger

_STATE_TIMEOUT = 10.0
"""Seconds within which Airflow must tell the task's state; a kill has to go on without it then. The first
question of a triggerer takes seconds, because Airflow loads its API for it.
"""

_MARKED = ("failed", "success", "skipped")
"""States a user gives a task that is over. One that was cleared has none, or that of its next attempt."""


async def is_waited_for(trigger: FirecrestTrigger, *, after_clear: bool = False) -> bool:
    """Return True when this was no user's kill.

    A triggerer that was taken for dead (its machine was suspended, its heartbeat did not come through) finds
    its triggers with another one, and is told the same as at a kill. So is the trigger of a cleared task if
    the new attempt waits already; that one has cancelled, or adopted, the job itself.

    :param after_clear: a cleared task's next attempt goes on with what is there.
    """
    try:
        state = await asyncio.wait_for(task_state(trigger), _STATE_TIMEOUT)
    except Exception as error:
        trigger.log.warning("The task's state cannot be asked for (%s).", type(error).__name__)
        return False
    return state == "deferred" or (after_clear and state not in _MARKED)


async def undisturbed(work: Coroutine[Any, Any, None], *, within: float) -> None:
    """Do something to its end, however often the task that waits for it is cancelled meanwhile.

    Airflow 3.3.2 cancels a killed trigger anew at each heartbeat, about once a second, and each time breaks
    off what ``on_kill`` is doing: a cancellation that takes two requests might never send the second one.

    :param work: what to do.
    :param within: seconds it may take at most; then it is broken off.
    :raises TimeoutError: it took longer.
    """
    doing = asyncio.create_task(asyncio.wait_for(work, within))
    while not doing.done():
        # `wait` neither cancels what it waits for nor raises what that raised.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([doing])
    doing.result()
