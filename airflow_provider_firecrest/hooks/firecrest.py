"""The hook: an Airflow connection in, a FirecREST client out.

Knows Airflow's connections and how they are tested. Everything about FirecREST is the client's.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from ._settings import misspelt, secrets_of, settings_from_connection

if TYPE_CHECKING:
    from ..client import AsyncFirecrestClient, FirecrestClient, Settings

__all__ = ["FirecrestHook", "settings_from_connection"]

_TEST_WITHIN = 9.5
"""Seconds for a connection test: those who wait for it look at a form."""


class FirecrestHook(BaseHook):
    """Gives access to one FirecREST through an Airflow connection of type ``firecrest``.

    The client has a method for every endpoint::

        with FirecrestHook("my_cluster").get_conn() as client:
            client.userinfo().name
            client.ls("/scratch/me")
            client.get_job("4711").state

    :param firecrest_conn_id: the connection's id.
    """

    conn_name_attr = "firecrest_conn_id"
    default_conn_name = "firecrest_default"
    conn_type = "firecrest"
    hook_name = "FirecREST"

    def __init__(self, firecrest_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.firecrest_conn_id = firecrest_conn_id
        self._client: FirecrestClient | None = None
        self._hints: list[str] = []

    @cached_property
    def settings(self) -> Settings:
        """The connection, checked.

        :raises ConfigurationError: a field is missing or wrong; the message names it.
        """
        connection = self.get_connection(self.firecrest_conn_id)
        settings = settings_from_connection(connection)
        self._mask(connection)
        self._hints = misspelt(connection)
        for hint in self._hints:
            self.log.warning("Connection %r: %s", self.firecrest_conn_id, hint)
        return settings

    def get_conn(self) -> FirecrestClient:
        """Return the blocking client; the same one each time, until :meth:`close`.

        :raises ConfigurationError: a field of the connection is missing or wrong; the message names it.
        """
        if self._client is None:
            from ..client import FirecrestClient

            self._client = FirecrestClient(self.settings)
        return self._client

    @property
    def client(self) -> FirecrestClient:
        """The same as :meth:`get_conn`."""
        return self.get_conn()

    async def get_async_conn(self) -> AsyncFirecrestClient:
        """Return a new client for event loops; the caller closes it (``async with await
        hook.get_async_conn() as client``).

        :raises ConfigurationError: a field of the connection is missing or wrong; the message names it.
        """
        from ..client import AsyncFirecrestClient
        from ._clients import resolve

        return AsyncFirecrestClient(await resolve(self.firecrest_conn_id))

    def close(self) -> None:
        """Close the blocking client's connections. The hook can be used again afterwards."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def test_connection(self) -> tuple[bool, str]:
        """Walk the way a task goes (token, API, system, its services) in less than 10 s and name the hop
        that fails.

        :returns: whether all is well, and one line that says so or says what is not.
        """
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        from ..client import FirecrestClient, FirecrestError
        from ..client.health import check_connection

        try:
            with FirecrestClient(self.settings.with_changes(timeout=4.0, retry_budget=0.0)) as client:
                well, told = check_connection(client, within=_TEST_WITHIN)
                return well, " ".join([told, *self._hints])
        except FirecrestError as error:
            return False, str(error)
        except AirflowNotFoundException:
            variable = f"AIRFLOW_CONN_{self.firecrest_conn_id.upper()}"
            if os.environ.get(variable):
                return False, f"{variable} in the environment holds no connection: neither JSON nor a URI."
            return False, f"There is no connection {self.firecrest_conn_id!r}; create it, or correct the id."

    @staticmethod
    def _mask(connection: Any) -> None:
        from airflow.providers.common.compat.sdk import mask_secret

        # Airflow masks the password and the extra as a whole; the secrets inside the extra are ours to name.
        for value in secrets_of(connection):
            mask_secret(value)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the standard fields of the form, for Airflow before 3.2;

        later ones read the provider info.
        """
        declared = _connection_type()["ui-field-behaviour"]
        return {
            "hidden_fields": declared["hidden-fields"],
            "relabeling": declared["relabeling"],
            "placeholders": declared["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the extra fields of the form, for Airflow before 3.2;

        later ones read the provider info.
        """
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, PasswordField, StringField
        from wtforms.validators import Optional

        widgets: dict[str, Any] = {}
        for name, field in _connection_type()["conn-fields"].items():
            schema, label, help_text = field["schema"], field["label"], field.get("description", "")
            if "boolean" in schema["type"]:
                widgets[name] = BooleanField(label, default=schema.get("default"), description=help_text)
            elif schema.get("format") == "password":
                widgets[name] = PasswordField(
                    label, widget=BS3PasswordFieldWidget(), validators=[Optional()], description=help_text
                )
            else:
                widgets[name] = StringField(
                    label, widget=BS3TextFieldWidget(), validators=[Optional()], description=help_text
                )
        return widgets


def _connection_type() -> dict[str, Any]:
    from ..get_provider_info import get_provider_info

    found: dict[str, Any] = get_provider_info()["connection-types"][0]
    return found
