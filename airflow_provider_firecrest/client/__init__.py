"""Everything known about FirecREST, usable from plain Python; imports nothing of Airflow.

The names here are loaded on first use, so that whoever needs only an error class or a model does not pay for
the HTTP
libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .async_client import AsyncFirecrestClient
    from .auth import ApiKey, ClientCredentials, StaticToken, TokenCommand
    from .errors import FirecrestError
    from .settings import Settings
    from .sync_client import FirecrestClient

_HOMES = {
    "ApiKey": "auth",
    "AsyncFirecrestClient": "async_client",
    "ClientCredentials": "auth",
    "FirecrestClient": "sync_client",
    "FirecrestError": "errors",
    "Settings": "settings",
    "StaticToken": "auth",
    "TokenCommand": "auth",
}

__all__ = [
    "ApiKey",
    "AsyncFirecrestClient",
    "ClientCredentials",
    "FirecrestClient",
    "FirecrestError",
    "Settings",
    "StaticToken",
    "TokenCommand",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
