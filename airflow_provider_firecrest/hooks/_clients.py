"""One client per event loop and connection, shared by everything that waits in the triggerer.

Looking a connection up costs a triggerer some 26 ms, one lookup at a time; a thousand triggers that each
did it would stand still for half a minute after a restart. Keyed by loop, because ``dag.test()`` runs every
trigger in a loop of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from ..client import AsyncFirecrestClient, Settings

logger = logging.getLogger(__name__)

RECHECK_AFTER = 900.0
"""Seconds after which a connection is looked up again:

secrets are rotated while a triggerer runs for weeks.
"""

_LOOKUP_TIMEOUT = 30.0


async def resolve(conn_id: str) -> Settings:
    """Look a connection up, keep its secrets out of the logs, and check it.

    :raises ConfigurationError: there is no such connection, or a field is missing or wrong.
    :raises UnavailableError: Airflow could not look it up now.
    """
    from airflow.providers.common.compat.connection import get_async_connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from .._compat import mask
    from ..client.errors import ConfigurationError, UnavailableError
    from ._settings import secrets_of, settings_from_connection

    try:
        connection = await asyncio.wait_for(get_async_connection(conn_id), _LOOKUP_TIMEOUT)
    except AirflowNotFoundException:
        raise ConfigurationError(f"There is no Airflow connection {conn_id!r}.") from None
    except Exception as error:
        # A secrets back end or the API server is away: an outage like any other. Its message could hold the
        # connection.
        raise UnavailableError(
            f"Airflow could not look up connection {conn_id!r} ({type(error).__name__})."
        ) from None
    settings = settings_from_connection(connection)
    await mask(secrets_of(connection))
    return settings


class SharedClient:
    """The client of one connection on one loop.

    Ask :meth:`get` for each question: it may have been replaced.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.users = 0
        self._client: AsyncFirecrestClient | None = None
        self._settings: Settings | None = None
        self._retired: list[AsyncFirecrestClient] = []
        self._check_at = 0.0
        self._lock = asyncio.Lock()

    async def get(self) -> AsyncFirecrestClient:
        """Return the client; look the connection up first, if that was long ago."""
        async with self._lock:
            if self._client is None or time.monotonic() >= self._check_at:
                await self._refresh()
            assert self._client is not None
            return self._client

    async def settings(self) -> Settings:
        """Return the settings behind the client, for somebody who needs a client of his own."""
        await self.get()
        assert self._settings is not None
        return self._settings

    def distrust(self) -> None:
        """Look the connection up again before the next question: its secret may have been changed."""
        self._check_at = 0.0

    async def close(self) -> None:
        """Close every client handed out."""
        clients, self._retired = [*self._retired, *([self._client] if self._client else [])], []
        self._client = None
        for client in clients:
            await client.aclose()

    async def _refresh(self) -> None:
        from ..client import AsyncFirecrestClient
        from ..client.errors import FirecrestError

        try:
            settings = await resolve(self.conn_id)
        except FirecrestError as error:
            if self._client is None or self._settings is None:
                raise
            # A job in flight does not end because somebody is editing the connection.
            logger.warning("Going on with what is known of connection %r: %s", self.conn_id, error)
            settings = self._settings
        self._check_at = time.monotonic() + RECHECK_AFTER
        if self._client is not None and settings == self._settings:
            return
        if self._client is not None:
            # Somebody may be in the middle of a request with it; it is closed together with the last one.
            self._retired.append(self._client)
        self._client, self._settings = AsyncFirecrestClient(settings), settings


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, SharedClient]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(conn_id: str) -> AsyncIterator[SharedClient]:
    """Use the running loop's client for a connection; the last user closes it."""
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    shared = clients.setdefault(conn_id, SharedClient(conn_id))
    shared.users += 1
    try:
        yield shared
    finally:
        shared.users -= 1
        if shared.users == 0:
            clients.pop(conn_id, None)
            await shared.close()


def known_settings(conn_id: str) -> Settings | None:
    """Return what the running loop already knows of a connection, without looking it up."""
    shared = _shared.get(asyncio.get_running_loop(), {}).get(conn_id)
    return shared._settings if shared is not None else None
