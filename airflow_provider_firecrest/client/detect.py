"""Finds out which generation of FirecREST answers at a URL, from its answers."""

from __future__ import annotations

from typing import Any

from .errors import (
    AmbiguousError,
    ConfigurationError,
    FirecrestError,
    InvalidRequestError,
    NotFirecrestError,
    NotFoundError,
    ProtocolError,
)
from .flow import Flow, Request, Response
from .settings import Settings
from .v1 import V1
from .v2 import V2

Api = V1 | V2

_QUESTION = Request("GET", "/status/systems")
"""Both have it, and answer with other words: v2 ``{"systems": ...}``, v1 ``{"out": ...}``."""


_found: dict[str, type[Api]] = {}
"""By base URL: asked once per process, since a server does not change its generation while it runs."""


def known_api(settings: Settings) -> Api | None:
    """Return the API that the settings name, or that was found at this URL before; else None."""
    if settings.api_version == "auto":
        found = _found.get(settings.base_url)
        return None if found is None else found(settings)
    return V1(settings) if settings.api_version == "1" else V2(settings)


def detect(settings: Settings) -> Flow[Api]:
    """Ask the server which API it speaks.

    :param settings: settings with ``api_version="auto"``.
    :returns: its flows.
    :raises ProtocolError: it speaks neither; :class:`NotFirecrestError` if it is a web page.
    :raises FirecrestError: no answer; nothing is concluded from that.
    :endpoint: GET /status/systems
    """
    try:
        response: Response = yield _QUESTION
        body: Any = response.json()
    except NotFirecrestError:
        raise
    except (ValueError, NotFoundError, ProtocolError, InvalidRequestError):
        body = None
    for key, api in (("systems", V2), ("out", V1)):
        if isinstance(body, dict) and isinstance(body.get(key), list):
            _found[settings.base_url] = api
            return api(settings)
    raise ProtocolError(
        f"host: what answers at {settings.base_url} is neither FirecREST v1 nor v2 (GET /status/systems)."
        " Write FirecREST's whole base URL, with its path, such as https://api.example.org/firecrest/v2."
    )


def explained(settings: Settings, error: FirecrestError) -> Flow[FirecrestError]:
    """Return the error to show when an answer cannot be read: the named version may be the wrong one.

    That is said only when the server answers as the other generation does. A maintenance page must not look
    like a wrong setting to somebody who waits.

    :param settings: the connection's settings.
    :param error: what became of a call.
    :endpoint: GET /status/systems
    """
    try:
        found = yield from detect(settings)
    except FirecrestError:
        return error
    if str(found.generation) == settings.api_version:
        return error
    return ConfigurationError(
        f"api_version: the connection says {settings.api_version}, but what answers at {settings.base_url} is"
        f" FirecREST v{found.generation}; set api_version to {found.generation} or auto."
    )


def after_page(settings: Settings, error: NotFirecrestError) -> Flow[FirecrestError]:
    """Return what a page in answer to a call that creates something means.

    Asked once more for what cannot be acted on, an address that is no FirecREST answers with a page again.
    Anything else leaves it open whether FirecREST is behind it, and has acted.

    :param settings: the connection's settings.
    :param error: what became of the call.
    :endpoint: GET /status/systems
    """
    try:
        yield from detect(settings)
    except NotFirecrestError:
        return error
    except FirecrestError:
        pass
    return AmbiguousError(
        "A web page came instead of FirecREST's answer; what was asked may have happened.",
        method=error.method,
        path=error.path,
        status=error.status,
    )
