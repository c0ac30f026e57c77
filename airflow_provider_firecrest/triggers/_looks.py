"""The questions of the file and the system sensor, written once for workers and triggerer.

Generators of requests, like every call of the client: run them with ``client.run(...)`` or ``await
client.run(...)``. Each returns what was found (plain JSON) or None, and a remark on what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from ..client.errors import InvalidRequestError, NotFoundError
from ..client.flow import Flow
from ..client.models import ServiceHealth

Look: TypeAlias = tuple[dict[str, Any] | None, str]


def file_flow(api: Any, path: str, min_size: int, system: str | None) -> Flow[Look]:
    """Look for a path.

    :param api: the client's ``api``.
    :param path: absolute path.
    :param min_size: bytes it must have at least.
    :param system: system name; None: the connection's.
    :endpoint: GET .../ops/stat
    """
    try:
        found = yield from api.stat(path, system=system)
    except NotFoundError:
        return None, f"{path} is not there yet"
    if found.size < min_size:
        return None, f"{path} has {found.size} bytes, fewer than {min_size}"
    return {"path": path, "size": found.size, "mtime": found.mtime}, ""


def system_flow(api: Any, services: Sequence[str] | None, system: str | None) -> Flow[Look]:
    """Look at a system's health.

    :param api: the client's ``api``.
    :param services: names of the services that must be healthy; None: all.
    :param system: system name; None: the connection's.
    :raises InvalidRequestError: the system has no service of such a name.
    :endpoint: GET /status/systems
    """
    info = yield from api.system_info(system=system)
    known = {each.service for each in info.health}
    unknown = sorted(set(services or ()) - known - {"exception"})
    if unknown and known and "exception" not in known:
        raise InvalidRequestError(
            f"services: {info.name} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    sick = [each for each in info.health if not each.healthy and _counts(each, services)]
    if sick or not known:
        return None, f"{info.name}: " + ("; ".join(map(_words, sick)) or "health not known")
    return {"system": info.name, "services": sorted(set(services or known))}, ""


def _counts(health: ServiceHealth, services: Sequence[str] | None) -> bool:
    # "exception" stands for a health check that could not be made at all.
    return services is None or health.service in services or health.service == "exception"


def _words(health: ServiceHealth) -> str:
    where = f" {health.path}" if health.path else ""
    return f"{health.service}{where} is not healthy" + (f" ({health.message})" if health.message else "")
