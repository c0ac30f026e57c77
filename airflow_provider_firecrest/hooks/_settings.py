"""An Airflow connection of type ``firecrest``, read into the client's settings.

Knows every field of the connection, in the form, JSON and URI way of writing it. Sends nothing, looks
nothing up, and must not import Airflow: a connection is anything with ``host``, ``login``, ``password``,
``schema``, ``port`` and ``extra``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from ..client.errors import ConfigurationError

if TYPE_CHECKING:
    from ..client.auth import Auth
    from ..client.settings import Settings

AUTH_METHODS = ("client_secret_post", "client_secret_basic", "static_token", "token_command", "api_key")

SECRET_FIELDS = ("access_token", "api_key")
"""Extras that are secrets as they stand; the client secret is the connection's password."""

FIELDS = (
    "auth_url",
    "auth_method",
    "scope",
    "access_token",
    "auth_command",
    "api_key",
    "api_key_header",
    "api_version",
    "system",
    "account",
    "working_dir",
    "installation",
    "verify",
    "ca_bundle",
    "timeout",
    "max_requests_per_second",
    "max_concurrent_requests",
    "retry_budget",
    "max_script_size",
)

_TEXTS = ("system", "account", "working_dir", "installation")

_FORM_PREFIX = "extra__firecrest__"


class ConnectionLike(Protocol):
    """The part of Airflow's connection that is read here."""

    conn_id: Any
    host: Any
    login: Any
    password: Any
    schema: Any
    port: Any
    extra: Any


def settings_from_connection(conn: ConnectionLike) -> Settings:
    """Translate a connection into settings.

    :param conn: the connection; ``extra`` as JSON text.
    :returns: the settings, complete and checked.
    :raises ConfigurationError: a field is missing or wrong. The message names connection and field, and
        holds no secret.
    """
    from ..client.settings import Settings

    name = conn.conn_id or "firecrest"
    try:
        extra = extra_of(conn)
        return Settings(
            base_url=base_url(conn),
            auth=_auth(conn, extra),
            **_options(extra),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"Connection {name!r}: {error.message}") from None


def extra_of(conn: ConnectionLike) -> dict[str, Any]:
    """Return the extra fields that are set, whichever way they were written down.

    :raises ConfigurationError: ``extra`` is not a JSON object.
    """
    if not conn.extra:
        return {}
    try:
        fields = json.loads(conn.extra) if isinstance(conn.extra, str) else dict(conn.extra)
    except ValueError:
        raise ConfigurationError("extra: not valid JSON.") from None
    if not isinstance(fields, Mapping):
        raise ConfigurationError("extra: must be a JSON object.")
    # Airflow 2's form wrote its fields with a prefix. Fields left empty in a form come as "" or null.
    unprefixed = {str(key).removeprefix(_FORM_PREFIX): value for key, value in fields.items()}
    return {key: value for key, value in unprefixed.items() if value is not None and value != ""}


def misspelt(conn: ConnectionLike) -> list[str]:
    """Return a sentence for each extra field that nobody reads and that is almost one of ours.

    A connection may hold fields for somebody else; one that was misspelt would be left out without a word.
    """
    told = []
    for key in extra_of(conn):
        likely = [] if key in FIELDS else difflib.get_close_matches(key, FIELDS, n=1, cutoff=0.75)
        if likely:
            told.append(f"The field {key!r} in extra is not used; is {likely[0]!r} meant?")
    return told


def secrets_of(conn: ConnectionLike) -> list[str]:
    """Return the values of a connection that must not be seen."""
    extra = extra_of(conn)
    return [str(value) for value in (conn.password, *(extra.get(key) for key in SECRET_FIELDS)) if value]


def base_url(conn: ConnectionLike) -> str:
    """Return FirecREST's base URL: ``https`` unless the host says otherwise.

    In a URI (``firecrest://id:secret@api.example.org:8443/firecrest/v2``) Airflow calls the path ``schema``
    and the port ``port``; in a form, ``schema`` may also be the protocol, as for Airflow's HTTP
    connections.
    """
    host, schema = (conn.host or "").strip(), (conn.schema or "").strip()
    if not host:
        raise ConfigurationError(
            "host is missing; it is FirecREST's URL, such as https://api.example.org/firecrest/v2."
        )
    protocol = schema if schema in ("http", "https") else "https"
    path = "" if schema in ("http", "https") else schema
    parts = urlsplit(host if "://" in host else f"{protocol}://{host}")
    netloc = parts.netloc
    try:
        has_port = parts.port is not None
    except ValueError:
        raise ConfigurationError(f"host: {host!r} has a port that is not a number.") from None
    if conn.port and not has_port:
        netloc = f"{netloc}:{conn.port}"
    whole = "/".join(part for part in (parts.path.strip("/"), path.strip("/")) if part)
    return urlunsplit((parts.scheme, netloc, f"/{whole}" if whole else "", parts.query, parts.fragment))


def _auth(conn: ConnectionLike, extra: Mapping[str, Any]) -> Auth:
    from ..client import auth

    method = str(extra.get("auth_method") or _likely_method(extra))
    if method not in AUTH_METHODS:
        raise ConfigurationError(f"auth_method: {method!r} is not one of {', '.join(AUTH_METHODS)}.")
    if method == "static_token":
        return auth.StaticToken(_needed(extra, "access_token", "the access token"))
    if method == "token_command":
        return auth.TokenCommand(_needed(extra, "auth_command", "a command that prints an access token"))
    if method == "api_key":
        key = _needed(extra, "api_key", "the key")
        return (
            auth.ApiKey(key, str(extra["api_key_header"])) if "api_key_header" in extra else auth.ApiKey(key)
        )
    if not conn.login:
        raise ConfigurationError("login is missing; it is the client id.")
    if not conn.password:
        raise ConfigurationError("password is missing; it is the client secret.")
    auth_url = _needed(extra, "auth_url", "the token endpoint's URL")
    if urlsplit(auth_url).scheme not in ("http", "https") or not urlsplit(auth_url).hostname:
        raise ConfigurationError(f"auth_url: {auth_url!r} is not a URL.")
    return auth.ClientCredentials(
        auth_url=auth_url,
        client_id=str(conn.login),
        client_secret=str(conn.password),
        scope=_text(extra, "scope"),
        style="basic" if method == "client_secret_basic" else "post",
    )


def _likely_method(extra: Mapping[str, Any]) -> str:
    """What was meant when no method is named: the one whose field is filled in."""
    if "auth_url" in extra:
        return "client_secret_post"
    for field, method in (
        ("access_token", "static_token"),
        ("auth_command", "token_command"),
        ("api_key", "api_key"),
    ):
        if field in extra:
            return method
    return "client_secret_post"


def _options(extra: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {key: _text(extra, key) for key in _TEXTS}
    # A JSON connection may well say 2 instead of "2".
    options["api_version"] = _text(extra, "api_version") or "auto"
    options["verify"] = _verify(extra)
    for key in ("timeout", "max_requests_per_second", "retry_budget"):
        if key in extra:
            options[key] = _number(extra, key)
    for key in ("max_concurrent_requests", "max_script_size"):
        if key in extra:
            options[key] = _whole_number(extra, key)
    return options


def _verify(extra: Mapping[str, Any]) -> bool | str:
    value = extra.get("verify", True)
    if isinstance(value, str):
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if value.strip().lower() not in words:
            raise ConfigurationError("verify: must be true or false; a CA bundle goes into ca_bundle.")
        value = words[value.strip().lower()]
    if not isinstance(value, bool):
        raise ConfigurationError("verify: must be true or false.")
    bundle = _text(extra, "ca_bundle")
    return bundle if value and bundle else value


def _needed(extra: Mapping[str, Any], key: str, what: str) -> str:
    value = _text(extra, key)
    if value is not None:
        return value
    likely = difflib.get_close_matches(key, [each for each in extra if each not in FIELDS], n=1)
    hint = f" There is an unknown field {likely[0]!r}; is that what it should be?" if likely else ""
    raise ConfigurationError(f"{key} is missing in extra; it is {what}.{hint}")


def _text(extra: Mapping[str, Any], key: str) -> str | None:
    value = extra.get(key)
    if value is None:
        return None
    if isinstance(value, Mapping | list | bool):
        raise ConfigurationError(f"{key}: must be text.")
    return str(value).strip() or None


def _number(extra: Mapping[str, Any], key: str) -> float:
    try:
        if isinstance(extra[key], bool):
            raise TypeError
        return float(extra[key])
    except (TypeError, ValueError):
        raise ConfigurationError(f"{key}: {extra[key]!r} is not a number.") from None


def _whole_number(extra: Mapping[str, Any], key: str) -> int:
    number = _number(extra, key)
    if not number.is_integer():
        raise ConfigurationError(f"{key}: {number} is not a whole number.")
    return int(number)
