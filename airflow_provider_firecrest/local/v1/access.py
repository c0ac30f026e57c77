"""Who asks, and for which machine: what v1 checks first.

Knows: the texts of 401, the machine header. Must not know: how each service words a bad machine.
"""

from __future__ import annotations

from enum import Enum

import jwt
from fastapi import Request

from airflow_provider_firecrest.local.v1.context import NO_HOST_MACHINE, V1, v1_of
from airflow_provider_firecrest.local.v1.errors import V1Error, refused

_SCOPE = "firecrest"


class Reach(Enum):
    """How a connection to a machine ends, as a user."""

    OPEN = "open"
    REFUSED = "Connection refused"
    NO_HOST = "Machine is not available"
    NO_USER = "Authentication failed: transport shut down or saw EOF"


def authenticate(request: Request) -> str:
    """Name of the user who asks.

    Raises:
        V1Error: 401, with a sentence about what is wrong with the token.
    """
    header = request.headers.get("authorization")
    if header is None:
        raise _unauthorised("No Auth Header given")
    try:
        claims = v1_of(request).local.tokens.decode(header.partition(" ")[2])
    except jwt.ExpiredSignatureError:
        raise _unauthorised("JWT token has expired") from None
    except jwt.InvalidSignatureError:
        raise _unauthorised("JWT token has invalid signature") from None
    except jwt.PyJWTError:
        raise _unauthorised("Bad header or JWT, general exception raised") from None
    # Real sites name the scope as they like; tokens of the local issuer carry that of both generations.
    if not any(scope.startswith(_SCOPE) for scope in str(claims.get("scope", "")).split()):
        raise _unauthorised(f"Scope '{_SCOPE}' wasn't found in JWT")
    return str(claims.get("preferred_username", ""))


def _unauthorised(text: str) -> V1Error:
    return V1Error({"description": text}, status=401)


def machine_of(request: Request, *, missing: V1Error | None = None, unknown: V1Error) -> str:
    """The machine a request names.

    Raises:
        V1Error: it names none (``missing``), or one that is not published (``unknown``).
    """
    name = request.headers.get("x-machine-name")
    if name is None:
        raise missing or refused("No machine name given")
    if name not in v1_of(request).machines:
        raise unknown
    return name


def reach(v1: V1, machine: str, user: str) -> Reach:
    """How connecting to a published machine ends."""
    if machine == NO_HOST_MACHINE:
        return Reach.NO_HOST
    if machine in v1.settings.down:
        return Reach.REFUSED
    return Reach.OPEN if user in v1.local.config.known_users else Reach.NO_USER
