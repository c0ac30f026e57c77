"""The OAuth2 token endpoint, shaped like Keycloak's: client credentials in the form or as basic auth.

Knows: the token request and its errors. Must not know: what tokens are good for.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs, unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.state import state_of


def token_router() -> APIRouter:
    """``POST /token``; needs ``app.state.firecrest``."""
    router = APIRouter()
    router.post("/token", include_in_schema=False)(post_token)
    return router


async def post_token(request: Request) -> JSONResponse:
    """An access token for the client's credentials."""
    state = state_of(request)
    form = {
        key: values[0] for key, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()
    }
    if form.get("grant_type") != "client_credentials":
        return _refused(400, "unsupported_grant_type", "Unsupported grant_type")
    client_id, secret = _basic_credentials(request) or (
        form.get("client_id", ""),
        form.get("client_secret", ""),
    )
    if not state.tokens.credentials_match(client_id, secret):
        return _refused(401, "unauthorized_client", "Invalid client or Invalid client credentials")
    answer = {
        "access_token": state.tokens.mint(),
        "expires_in": state.config.token_ttl,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "profile firecrest-v2 email",
    }
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _refused(status: int, error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)


def _basic_credentials(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    client_id, _, secret = text.partition(":")
    # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
    return unquote_plus(client_id), unquote_plus(secret)
