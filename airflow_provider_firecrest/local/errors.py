"""How the server says no: one exception, rendered exactly as FirecREST v2 renders its errors.

Knows: the error body and the headers that go with it. Must not know: which endpoint raises what.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_firecrest.local.slurm import SlurmCommandError


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: HTTP status.
        message: text of the ``message`` field.
        data: JSON value of the ``data`` field.
        headers: extra response headers.
        error_type: ``error`` or ``validation``.
        anonymous: leave the ``user`` field null although the user is known, as the real server does for
            exceptions it did not foresee.
        caused_by: texts of the ``causedBy`` field.
    """

    def __init__(
        self,
        status: int,
        message: str,
        data: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        error_type: str = "error",
        anonymous: bool = False,
        caused_by: Sequence[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.data = data
        self.headers = dict(headers or {})
        self.error_type = error_type
        self.anonymous = anonymous
        self.caused_by = list(caused_by) if caused_by else None


def slurm_failure(error: SlurmCommandError) -> ApiError:
    """The answer to a Slurm command that refused: 403 when it names a limit of the site, else 500."""
    text = f"Unexpected Slurm command response. exit_status:{error.exit_status} std_err:{error.stderr}"
    limited = re.search(r"\b(QOS|Assoc)\w*Limit\b", error.stderr)
    return ApiError(403 if limited else 500, text)


def error_response(request: Request, error: ApiError) -> Response:
    """Render an error with the five keys every FirecREST error has."""
    request.state.unforeseen = error.anonymous
    user = None if error.anonymous else getattr(request.state, "user", None)
    headers = dict(error.headers)
    if user is not None:
        headers["f7t-authusername"] = user
    body = {
        "errorType": error.error_type,
        "message": error.message,
        "causedBy": error.caused_by,
        "data": error.data,
        "user": user,
    }
    return Response(
        json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape"),
        status_code=error.status,
        headers=headers,
        media_type="application/json",
    )


async def handle_api_error(request: Request, exc: Exception) -> Response:
    """Exception handler for `ApiError`."""
    assert isinstance(exc, ApiError)
    return error_response(request, exc)


async def handle_http_exception(request: Request, exc: Exception) -> Response:
    """Exception handler for what the framework itself refuses: unknown path, wrong method."""
    assert isinstance(exc, StarletteHTTPException)
    return error_response(request, ApiError(exc.status_code, str(exc.detail), headers=exc.headers))


async def handle_validation_error(request: Request, exc: Exception) -> Response:
    """Exception handler for bodies and parameters of the wrong shape: 400, the text in lower case."""
    assert isinstance(exc, RequestValidationError)
    fields = [
        {"location": place, "name": inner[0] if inner else None, "message": item["msg"]}
        for item in exc.errors()
        for place, *inner in [item["loc"]]
    ]
    # The text ends with the route as it was declared. Ours lies below a mount point the real server has not.
    text = str(exc).replace(f" {request.scope.get('root_path', '')}/", " /").lower()
    error = ApiError(400, text, {"fields": fields}, error_type="validation")
    return error_response(request, error)


async def handle_unforeseen(request: Request, exc: Exception) -> Response:
    """Exception handler for everything else: the real server shows the exception's arguments."""
    return error_response(request, ApiError(500, str(exc.args), anonymous=True))
