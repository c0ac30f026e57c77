"""What a trigger does on the system when its task is killed, besides cancelling: remove a transfer's
leftovers.

Runs when the trigger has been cancelled already, so with a client of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


async def remove_leftover_of(conn_id: str, leftover: Mapping[str, Any] | None, log: Any) -> None:
    """Remove what a killed transfer left on the system; what does not work out is logged.

    :param conn_id: the connection's id.
    :param leftover: ``client.leftovers.Leftover`` as plain JSON, or None.
    :param log: the trigger's.
    """
    if leftover is None:
        return
    from ..client import AsyncFirecrestClient
    from ..client.errors import FirecrestError
    from ..client.leftovers import Leftover, remove_leftover
    from ..hooks._clients import known_settings, resolve

    left = Leftover.from_dict(leftover)
    log.info("Clearing up at %s on %s.", left.path, left.system)
    try:
        async with AsyncFirecrestClient(known_settings(conn_id) or await resolve(conn_id)) as client:
            await client.run(remove_leftover(await client.get_api(), left))
    except FirecrestError as error:
        log.error("%s on %s could not be removed: %s", left.path, left.system, error)
