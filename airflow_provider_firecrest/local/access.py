"""Who asks, on which system, for which path: what every v2 endpoint checks before it does anything.

Knows: the bearer token, system names, published file systems. Must not know: what endpoints do.

All three are FastAPI dependencies, in this order, because the order decides which of two errors is answered.
They are coroutines, though two of them wait for nothing: plain functions would cost a thread each.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Request

from airflow_provider_firecrest.local.config import SystemConfig
from airflow_provider_firecrest.local.errors import ApiError
from airflow_provider_firecrest.local.state import state_of

_PATH_KEYS = ("path", "sourcePath", "source_path")
_NO_PATH = "Unable to decode request and retreive the required path or source_path parameter."


async def authenticate(request: Request) -> str:
    """Name of the user who asks; also left in ``request.state.user`` for the error handlers.

    Raises:
        ApiError: 401 without a bearer token or with a bad one.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise ApiError(401, "Not authenticated", headers={"WWW-Authenticate": "Bearer"})
    user = state_of(request).tokens.user_of(token.strip())
    request.state.user = user
    return user


async def known_system(request: Request, system_name: str) -> SystemConfig:
    """The system named in the URL.

    Raises:
        ApiError: 404 for an unknown one; 500 for a user with no account there.
    """
    state = state_of(request)
    system = state.config.system(system_name)
    if system is None:
        raise ApiError(404, "System not found")
    user = request.state.user
    if user not in state.config.known_users:
        raise ApiError(500, f"('No SSH credentials found for user:{user}',)")
    return system


async def published_path(request: Request) -> str:
    """The path a request is about, as the client wrote it.

    Raises:
        ApiError: 400 when there is none, it is relative, or it lies outside the file systems.
    """
    path = _first_path(dict(request.query_params))
    if path is None:
        path = _first_path(await _json_body(request))
    if path is None:
        raise ApiError(400, _NO_PATH)
    if not path.startswith("/"):
        raise ApiError(400, f"The provided path ({path}) is not an absolute path.")
    state = state_of(request)
    normal, inside = state.sandbox.locate(path)
    if not inside:
        name = request.path_params.get("system_name", "")
        text = "does not match any of the defined filesystem paths for the requested system"
        raise ApiError(400, f"The provided path ({normal}) {text} ({name}).")
    return path


def _first_path(values: Any) -> str | None:
    if not isinstance(values, dict):
        return None
    found = next((values[key] for key in _PATH_KEYS if values.get(key)), None)
    return found if isinstance(found, str) else None


async def _json_body(request: Request) -> Any:
    if "json" not in request.headers.get("content-type", ""):
        return None
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


User = Annotated[str, Depends(authenticate)]
System = Annotated[SystemConfig, Depends(known_system)]
PublishedPath = Annotated[str, Depends(published_path)]
