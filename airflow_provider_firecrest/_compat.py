"""What differs between the Airflow versions this provider runs on, and nothing else.

Each shim says which version it is for. Must not know FirecREST.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger


def deferral_ended(error: Exception) -> Literal["timeout", "failure"] | None:
    """Say whether a resumed task's exception means that its deferral ran out of time, or that its trigger
    raised.

    Airflow 3 raises ``TaskDeferralTimeout`` and ``TaskDeferralError`` out of its SDK; 2.11 knows the second
    only, from ``airflow.exceptions``, and tells a timeout by its text. common-compat exports neither.
    """
    names = {each.__name__ for each in type(error).__mro__}
    if "TaskDeferralTimeout" in names or ("TaskDeferralError" in names and "timeout" in str(error).lower()):
        return "timeout"
    return "failure" if "TaskDeferralError" in names else None


def triggers_hear_kills() -> bool:
    """Return True where the triggerer calls ``on_kill`` (Airflow 3.3);

    before, a trigger has to find out in ``cleanup``.
    """
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill")


async def mask(values: Iterable[str]) -> None:
    """Keep values out of the logs; safe on an event loop.

    Airflow 3.3.2 has ``amask_secret``. The synchronous one talks to the supervisor and can deadlock on a
    loop, so on older versions it runs in a thread.
    """
    try:
        from airflow.sdk.log import amask_secret
    except ImportError:
        import asyncio

        from airflow.providers.common.compat.sdk import mask_secret

        for value in values:
            await asyncio.to_thread(mask_secret, value)
        return
    for value in values:
        await amask_secret(value)


def fernet() -> Any | None:
    """Return Airflow's Fernet, or None where no key is configured (then it would "encrypt" to clear text)."""
    from airflow.models.crypto import get_fernet

    found = get_fernet()
    return found if getattr(found, "is_encrypted", False) else None


async def left_deferred(trigger: BaseTrigger) -> bool:
    """Return True when the trigger's task is deferred no more: a user acted on it. For Airflow before 3.3
    only.

    After a *clear* the new attempt may be deferred again by the time we ask; the old job then keeps
    running. Airflow before 3.3 gives no way to tell these apart.
    """
    if trigger.task_instance is None:
        return False
    return await task_state(trigger) not in (None, "deferred")


async def task_state(trigger: BaseTrigger) -> str | None:
    """Return the state that the trigger's task has now; None when it has none: it was cleared and waits for
    the scheduler, or nothing is known of it.
    """
    ti: Any = trigger.task_instance
    if ti is None:
        return None
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return await _task_state_airflow_2(ti)
    import asyncio

    return await asyncio.to_thread(_state_told_to, RuntimeTaskInstance, ti)


def task_state_in_worker(ti: Any) -> str | None:
    """Return the state that Airflow gives a worker's task now, whoever runs it; as :func:`task_state`.

    :raises ImportError: Airflow before 3.0.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return _state_told_to(RuntimeTaskInstance, ti)


def _state_told_to(runtime: Any, ti: Any) -> str | None:
    states = runtime.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    key = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states.get(ti.run_id, {}).get(key)
    return None if state is None else str(getattr(state, "value", state))


async def _task_state_airflow_2(ti: Any) -> str | None:
    import asyncio

    def state_now() -> str | None:
        # Airflow 2.11: triggers run beside the database.
        ti.refresh_from_db()
        return None if ti.state is None else str(ti.state)

    return await asyncio.to_thread(state_now)
