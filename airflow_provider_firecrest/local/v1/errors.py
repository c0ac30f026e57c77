"""How v1 says no: JSON with whatever keys an endpoint likes, headers that name the cause, or an HTML page.

Knows: the shapes. Must not know: which endpoint says what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

# First path elements the gateway in front of the services lets through.
_SERVICES = ("status", "utilities", "compute", "storage", "tasks", "reservations")
_PAGES = {
    404: (
        "Not Found",
        "The requested URL was not found on the server. If you entered the URL manually please check your "
        "spelling and try again.",
    ),
    405: ("Method Not Allowed", "The method is not allowed for the requested URL."),
    500: (
        "Internal Server Error",
        "The server encountered an internal error and was unable to complete your request. Either the server "
        "is overloaded or there is an error in the application.",
    ),
}


class V1Error(Exception):
    """An answer other than success.

    Args:
        body: the JSON object; None answers with the HTML page of the status.
        status: HTTP status.
        headers: the headers that name the cause, such as ``X-Invalid-Path``.
    """

    def __init__(
        self, body: Mapping[str, Any] | None, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(str(body))
        self.body = body
        self.status = status
        self.headers = dict(headers or {})


def refused(description: str, error: str | None = None, headers: Mapping[str, str] | None = None) -> V1Error:
    """The usual refusal: 400 with ``description`` and, mostly, ``error``."""
    body = {"description": description} if error is None else {"description": description, "error": error}
    return V1Error(body, headers=headers)


def html_page(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The page the real services' framework answers with."""
    title, text = _PAGES[status]
    page = (
        f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n"
    )
    return HTMLResponse(page, status_code=status, headers=dict(headers or {}))


async def handle_v1_error(_request: Request, exc: Exception) -> Response:
    """Exception handler for `V1Error`."""
    assert isinstance(exc, V1Error)
    if exc.body is None:
        return html_page(exc.status, exc.headers)
    # Names in error headers are sent as UTF-8; HTTP libraries show them as Latin-1.
    headers = {name: text.encode("utf-8", "replace").decode("latin-1") for name, text in exc.headers.items()}
    return JSONResponse(dict(exc.body), status_code=exc.status, headers=headers)


async def handle_http_exception(request: Request, exc: Exception) -> Response:
    """Exception handler for unknown paths and wrong methods: the gateway's answer or the service's page."""
    assert isinstance(exc, StarletteHTTPException)
    # Without the mount point.
    path = request.url.path.removeprefix(str(request.scope.get("root_path", ""))).lstrip("/")
    service = path.split("/", 1)[0]
    # Of the tasks service the gateway lets nothing through but GET.
    gateway_knows = service in _SERVICES and not (service == "tasks" and request.method != "GET")
    if not gateway_knows:
        return JSONResponse({"message": "Invalid"}, status_code=400)
    status = exc.status_code if exc.status_code in _PAGES else 500
    return html_page(status, exc.headers)


async def handle_unforeseen(_request: Request, _exc: Exception) -> Response:
    """Exception handler for everything else."""
    return html_page(500)
