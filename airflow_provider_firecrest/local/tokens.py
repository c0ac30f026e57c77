"""OAuth2 as far as FirecREST needs it: tokens for client credentials, and the check of a bearer token.

Knows: JSON web tokens and the texts of the refusals. Must not know: HTTP routing.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from typing import Any

import jwt

from airflow_provider_firecrest.local.errors import ApiError

_ALGORITHM = "HS256"
_KEY_ID = "local-1"
_CLAIM = "preferred_username"
# The server subtracts this much of a token's life: one that is valid can be refused all the same.
MINIMUM_LIFE = 30


class TokenIssuer:
    """Mints and checks access tokens with one key that lives as long as the server.

    Args:
        client_id: the only client.
        client_secret: its secret.
        ttl: life of a token in seconds.
        username: user the client acts as.

    Attributes:
        minted: the tokens made last: what a test looks for where no secret may be.
    """

    def __init__(self, client_id: str, client_secret: str, ttl: int, username: str) -> None:
        self.client_id = client_id
        self.ttl = ttl
        self._secret = client_secret
        self._username = username
        self._key = secrets.token_hex(32)
        self.minted: deque[str] = deque(maxlen=10_000)

    def credentials_match(self, client_id: str, client_secret: str) -> bool:
        """Whether these are the client's credentials."""
        same_id = secrets.compare_digest(client_id.encode(), self.client_id.encode())
        return same_id and secrets.compare_digest(client_secret.encode(), self._secret.encode())

    def mint(
        self, claims: dict[str, Any] | None = None, *, ttl: float | None = None, key_id: str = _KEY_ID
    ) -> str:
        """A signed token; ``claims`` replaces single claims, a value of None leaves one out."""
        now = int(time.time())
        payload: dict[str, Any] = {
            "iss": "local",
            "aud": "firecrest",
            "iat": now,
            "exp": now + (self.ttl if ttl is None else ttl),
            "jti": secrets.token_hex(8),
            "azp": self.client_id,
            "scope": "profile firecrest-v2 email",
            _CLAIM: self._username,
        }
        payload.update(claims or {})
        payload = {name: value for name, value in payload.items() if value is not None}
        token = jwt.encode(payload, self._key, algorithm=_ALGORITHM, headers={"kid": key_id})
        self.minted.append(token)
        return token

    def revoke_all(self) -> None:
        """Refuse every token minted up to now, however long it had to live."""
        self._key = secrets.token_hex(32)

    def decode(self, token: str) -> dict[str, Any]:
        """Claims of a token that is signed by us and not expired.

        Raises:
            jwt.PyJWTError: it is not.
        """
        options: Any = {"verify_aud": False, "verify_iss": False, "verify_iat": False, "require": ["exp"]}
        claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=[_ALGORITHM], options=options)
        return claims

    def user_of(self, token: str) -> str:
        """Name of the user the token is for.

        Audience, issuer and scope are not looked at: the real server does not either.

        Raises:
            ApiError: 401 with the token echoed in a header, as the real server does; 400 without a user name.
        """
        claims = self._claims(token)
        name = claims.get(_CLAIM)
        if not name:
            raise ApiError(400, f"Authentication token '{_CLAIM}' claim is missing")
        return str(name)

    def _claims(self, token: str) -> dict[str, Any]:
        echo = {"auth-token": token}
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != _ALGORITHM:
                raise ApiError(401, "Access token is invalid.", headers=echo)
            if header.get("kid") != _KEY_ID:
                raise ApiError(401, "Token's public key not found.", headers=echo)
            claims = self.decode(token)
        except jwt.ExpiredSignatureError:
            raise ApiError(401, "Access token expired", headers=echo) from None
        except jwt.PyJWTError:
            raise ApiError(401, "Access token is invalid.", headers=echo) from None
        if claims["exp"] - time.time() < MINIMUM_LIFE:
            text = f"Access token expires too soon (less than {MINIMUM_LIFE}s remaining)."
            raise ApiError(401, text, headers=echo)
        return claims
