"""Waits until a file or a directory is on a system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..hooks._task import DEFAULT_CONN_ID, default_deferrable
from ._base import FirecrestSensor

if TYPE_CHECKING:
    from ..client import FirecrestClient
    from ..triggers.files import FirecrestFileTrigger


class FirecrestFileSensor(FirecrestSensor):
    """Waits until a path exists. The result is ``{path, size, mtime}``: bytes, and seconds since the epoch.

    A file appears before it is complete. Wait for the job that writes it, for a marker file written last,
    or for ``min_size``.

    :param path: absolute path on the system; a link counts by what it points to.
    :param min_size: bytes the file must have at least; 1 waits for a file that is not empty.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("path", "system", "firecrest_conn_id")

    def __init__(
        self,
        *,
        path: str,
        min_size: int = 0,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.min_size = min_size
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def subject(self) -> str:
        """Return what is waited for, for a message."""
        return self.path

    def look(self, client: FirecrestClient) -> Any:
        """Ask for the path once."""
        from airflow.providers.common.compat.sdk import PokeReturnValue

        from ..triggers._looks import file_flow

        found, remark = client.run(file_flow(client.api, self.path, self.min_size, self.system))
        if found is None:
            self.log.info("%s.", remark)
            return False
        return PokeReturnValue(is_done=True, xcom_value=found)

    def trigger(self, deadline: float) -> FirecrestFileTrigger:
        """Return the trigger that goes on asking."""
        from ..triggers.files import FirecrestFileTrigger

        return FirecrestFileTrigger(
            firecrest_conn_id=self.firecrest_conn_id,
            system=self.system or self.hook.settings.system,
            path=self.path,
            min_size=self.min_size,
            poll_interval=self.poke_interval,
            deadline=deadline,
        )

    def found(self, event: dict[str, Any]) -> Any:
        """Return what was found."""
        return event["found"]
