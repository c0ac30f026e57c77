"""Where access tokens come from: client credentials, a static token, a command that prints one, or an API
key.

Knows how to ask for a token and when it has to be renewed; the drivers send the question. Tokens and secrets
never appear
in a ``repr``, a log or an error.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import re
import shlex
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from . import limits
from .errors import (
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    RateLimitError,
    UnavailableError,
    redact,
)
from .flow import Response
from .retry import server_delay

logger = logging.getLogger(__name__)

_COMMAND_TIMEOUT = 30.0
_UNKNOWN_LIFE = 60.0
_TRAVEL = 5.0
"""Seconds that a call may take to arrive, and clocks differ."""


@dataclass(frozen=True)
class TokenRequest:
    """A POST of a form to the token endpoint."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Token:
    """An access token and the moment (``time.time``) from which it is not used any more."""

    value: str = field(repr=False)
    renew_at: float


class Auth(ABC):
    """How a connection authenticates."""

    @abstractmethod
    def identity(self) -> Hashable:
        """Return what tells this login from others, without its secret being readable from it."""

    def static_headers(self) -> dict[str, str] | None:
        """Return the headers when they need no renewal, else None."""
        return None

    def request(self) -> TokenRequest | None:
        """Return the question for a new token, or None when :meth:`fetch` gets it without HTTP."""
        return None

    def fetch(self) -> Token:
        """Get a new token without HTTP; may block for seconds."""
        raise NotImplementedError

    def accept(self, response: Response) -> Token:
        """Read the token endpoint's answer."""
        raise NotImplementedError


@dataclass(frozen=True)
class ClientCredentials(Auth):
    """OAuth2 client credentials (RFC 6749, 4.4).

    :param auth_url: the token endpoint itself, not the issuer.
    :param client_id: client id.
    :param client_secret: client secret.
    :param scope: scope to ask for; None asks for the server's default.
    :param style: ``"post"`` sends the secret in the form, ``"basic"`` in the Authorization header.
    """

    auth_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    style: str = "post"

    def __post_init__(self) -> None:
        check_url(self.auth_url, field="auth_url", example="https://auth.example.org/token")
        if self.style not in ("post", "basic"):
            raise ConfigurationError(f"auth_method: style {self.style!r} is neither 'post' nor 'basic'.")

    def identity(self) -> Hashable:
        return (
            "client_credentials",
            self.auth_url,
            self.client_id,
            hash(self.client_secret),
            self.scope,
            self.style,
        )

    def request(self) -> TokenRequest:
        form = {"grant_type": "client_credentials"}
        if self.scope:
            form["scope"] = self.scope
        if self.style == "basic":
            return TokenRequest(self.auth_url, form, (self.client_id, self.client_secret))
        return TokenRequest(
            self.auth_url, {**form, "client_id": self.client_id, "client_secret": self.client_secret}
        )

    def accept(self, response: Response) -> Token:
        error = self._error_of(response)
        if error is not None:
            raise error
        try:
            return _token_of(response.json())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AuthenticationError(
                f"The token server at {_host(self.auth_url)} answered without a token;"
                " is auth_url the token endpoint?",
                status=response.status,
            ) from None

    def _error_of(self, response: Response) -> FirecrestError | None:
        if 200 <= response.status < 300:
            return None
        host = _host(self.auth_url)
        if response.status == 429:
            return RateLimitError(
                f"The token server at {host} says: too many requests.",
                retry_after=server_delay(response.headers),
            )
        if response.status >= 500 or response.status == 408:
            return UnavailableError(
                f"The token server at {host} is down ({response.status}).", status=response.status
            )
        try:
            body = response.json()
            words = str(body.get("error_description") or body.get("error") or "")
        except (ValueError, AttributeError):
            words = ""
        if response.status == 404 or not words:
            return AuthenticationError(
                f"There is no token endpoint at auth_url (host {host}, {response.status}).",
                status=response.status,
                server_message=words or None,
            )
        return AuthenticationError(
            f"The token server at {host} refuses the client id or secret.",
            status=response.status,
            server_message=words,
        )


@dataclass(frozen=True)
class StaticToken(Auth):
    """An access token obtained elsewhere; good for a try, it cannot be renewed."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _check_header_value(self.token, field="access_token")

    def identity(self) -> Hashable:
        return ("static", hash(self.token))

    def static_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class ApiKey(Auth):
    """A long-lived key in a header, as gateways in front of FirecREST take it for service accounts."""

    key: str = field(repr=False)
    header: str = "X-API-Key"

    def __post_init__(self) -> None:
        _check_header_value(self.key, field="api_key")
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", self.header):
            raise ConfigurationError(f"api_key_header: {self.header!r} is no name of a header.")

    def identity(self) -> Hashable:
        return ("api_key", self.header, hash(self.key))

    def static_headers(self) -> dict[str, str]:
        return {self.header: self.key}


@dataclass(frozen=True)
class TokenCommand(Auth):
    """A program that prints an access token, or JSON with ``access_token`` and ``expires_in``.

    :param command: the command line; split like a shell does, but run without one. It may hold a secret, so
        it is not shown.
    """

    command: str = field(repr=False)

    def identity(self) -> Hashable:
        return ("command", self.command)

    def fetch(self) -> Token:
        try:
            arguments = shlex.split(self.command)
            if not arguments:
                raise ValueError("it is empty")
            done = subprocess.run(
                arguments,
                capture_output=True,
                text=True,
                timeout=_COMMAND_TIMEOUT,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"auth_command did not finish within {_COMMAND_TIMEOUT:.0f} s.") from None
        except OSError as error:
            raise ConfigurationError(f"auth_command cannot be run: {error.strerror}.") from None
        except ValueError as error:
            raise ConfigurationError(f"auth_command cannot be run: {error}.") from None
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["(no message)"]
            raise AuthenticationError(
                f"auth_command ended with exit code {done.returncode}: {redact(last[0])}"
            )
        return self._parse(done.stdout.strip())

    @staticmethod
    def _parse(output: str) -> Token:
        if output.startswith("{"):
            try:
                return _token_of(json.loads(output))
            except (ValueError, KeyError, TypeError):
                raise AuthenticationError("auth_command printed JSON without access_token.") from None
        if not _HEADER_VALUE.fullmatch(output):
            raise AuthenticationError("auth_command must print the token and nothing else.")
        expiry = expiry_of(output)
        return _token(output, _UNKNOWN_LIFE if expiry is None else expiry - time.time())


def expiry_of(token: str) -> float | None:
    """Return the `exp` of a JWT in seconds since the epoch, or None when it is not readable. The signature is
    not checked.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


def _check_header_value(value: str, *, field: str) -> None:
    """Refuse what no header can carry: a line break that came along when the value was copied, say."""
    if not _HEADER_VALUE.fullmatch(value):
        raise ConfigurationError(
            f"{field}: empty, or with a blank, a line break or another character that no header can carry."
        )


def check_url(url: str, *, field: str, example: str) -> None:
    """Refuse what is no http(s) URL.

    :raises ConfigurationError: the message names the field, and shows of the URL no user name or query.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = None, False
    if usable and not re.search(r"[\s\x00-\x1f\x7f]", url):
        return
    # What cannot be taken apart could hold a password anywhere.
    shown = f"{url!r} is" if parts is not None and "@" not in url and not parts.query else "This is"
    raise ConfigurationError(f"{field}: {shown} not a URL such as {example}.")


def _token_of(body: Any) -> Token:
    """Read a token endpoint's answer.

    :raises ValueError: it holds no usable token; likewise KeyError and TypeError.
    """
    value, life = body["access_token"], float(body.get("expires_in") or _UNKNOWN_LIFE)
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value) or not math.isfinite(life):
        raise ValueError("no token")
    return _token(value, life)


def _token(value: str, life: float) -> Token:
    if life <= limits.MIN_TOKEN_LIFE:
        logger.warning(
            "The access token lives %.0f s; FirecREST refuses tokens with less than %d s left.",
            life,
            limits.MIN_TOKEN_LIFE,
        )
    # Short-lived tokens are used for half their life, else every call would fetch one; but never so long that
    # the server refuses them.
    margin = min(limits.TOKEN_MARGIN, max(life / 2, limits.MIN_TOKEN_LIFE + _TRAVEL))
    return Token(value, time.time() + life - margin)


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]
