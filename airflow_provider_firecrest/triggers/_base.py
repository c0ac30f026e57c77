"""What every trigger here has: a connection, a deadline, an event of its own making.

Knows Airflow's trigger rules: arguments are plain JSON, nothing is done in ``__init__``, an event carries
all that the resumed task needs (``dag.test()`` drops the keyword arguments of ``defer``), and the generator
ends right after its event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class FirecrestTrigger(BaseTrigger):
    """Base of the triggers.

    :param firecrest_conn_id: the connection's id.
    :param system: system name; None: the connection's.
    :param poll_interval: seconds between questions when nothing happens.
    :param deadline: seconds since the epoch at which waiting ends, or None. Absolute: a triggerer may
        restart many times.
    :param unknown: arguments of other versions: triggers written to the database before an upgrade must
        still load.
    """

    def __init__(
        self,
        *,
        firecrest_conn_id: str,
        system: str | None = None,
        poll_interval: float = 30.0,
        deadline: float | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self.firecrest_conn_id = firecrest_conn_id
        self.system = system
        self.poll_interval = poll_interval
        self.deadline = deadline
        self._fired = False
        if unknown:
            self.log.debug("Arguments ignored: %s", ", ".join(sorted(unknown)))

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make this trigger again."""
        return {
            "firecrest_conn_id": self.firecrest_conn_id,
            "system": self.system,
            "poll_interval": self.poll_interval,
            "deadline": self.deadline,
        }

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and :meth:`arguments`."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self.arguments()

    async def wait(self) -> dict[str, Any]:
        """Wait for the end and return the event's payload."""
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire one event."""
        payload = await self.wait()
        # Set before the event leaves: a generator that lingers after it is "killed" by the triggerer like
        # by a user.
        self._fired = True
        yield TriggerEvent({"firecrest_conn_id": self.firecrest_conn_id, "system": self.system, **payload})
