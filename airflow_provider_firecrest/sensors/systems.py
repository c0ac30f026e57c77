"""Waits until a system can be worked with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..hooks._task import DEFAULT_CONN_ID, default_deferrable
from ._base import FirecrestSensor

if TYPE_CHECKING:
    from ..client import FirecrestClient
    from ..triggers.systems import FirecrestSystemTrigger


class FirecrestSystemSensor(FirecrestSensor):
    """Waits until FirecREST says that a system's services are healthy: scheduler, ssh, file systems, object
    storage.

    FirecREST answers from its last health check, which can be some minutes old. The result is
    ``{system, services}`` with the names of the services looked at.

    :param system: name of the system; default: the connection's.
    :param services: names of the services that must be healthy (``scheduler``, ``ssh``, ``filesystem``,
        ``s3``); default: all.
    :param firecrest_conn_id: the connection's id.
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("system", "firecrest_conn_id")

    def __init__(
        self,
        *,
        system: str | None = None,
        services: list[str] | str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.system = system
        self.services = [services] if isinstance(services, str) else services
        self.firecrest_conn_id = firecrest_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def subject(self) -> str:
        """Return what is waited for, for a message."""
        return f"the system {self.system}" if self.system else "the connection's system"

    def look(self, client: FirecrestClient) -> Any:
        """Ask for the system once."""
        from airflow.providers.common.compat.sdk import PokeReturnValue

        from ..triggers._looks import system_flow

        found, remark = client.run(system_flow(client.api, self.services, self.system))
        if found is None:
            self.log.info("%s.", remark)
            return False
        return PokeReturnValue(is_done=True, xcom_value=found)

    def trigger(self, deadline: float) -> FirecrestSystemTrigger:
        """Return the trigger that goes on asking."""
        from ..triggers.systems import FirecrestSystemTrigger

        return FirecrestSystemTrigger(
            firecrest_conn_id=self.firecrest_conn_id,
            system=self.system or self.hook.settings.system,
            services=self.services,
            poll_interval=self.poke_interval,
            deadline=deadline,
        )

    def found(self, event: dict[str, Any]) -> Any:
        """Return what was found."""
        return event["found"]
