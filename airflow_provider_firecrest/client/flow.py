"""What an API call is before anything is sent: a generator that yields requests and is sent answers.

Knows nothing of sockets, tokens or Airflow. A *flow* yields :class:`Request` (and is sent a
:class:`Response`) or
:class:`Sleep` (and is sent ``None``), and returns a typed result. Drivers run it: ``sync_client`` over
    requests,
``async_client`` over httpx. A driver throws a :class:`~.errors.FirecrestError` into the flow where the call
failed, so a
flow can catch it and go another way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import IO, Any, TypeAlias, TypeVar

T = TypeVar("T")


class Kind(Enum):
    """What a repeated request would do; the retry table is keyed by it."""

    READ = "read"
    """Changes nothing: repeat freely."""
    IDEMPOTENT = "idempotent"
    """Doing it twice is doing it once (chmod, overwrite, cancel): repeat freely."""
    CREATE = "create"
    """Doing it twice makes two (submit, transfer jobs): repeat only when it surely did not arrive."""


@dataclass(frozen=True)
class Upload:
    """A file for ``multipart/form-data``: opened anew for each attempt, so that a retry sends all of it."""

    field: str
    filename: str
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Request:
    """One HTTP request, relative to the connection's base URL.

    :param method: HTTP method.
    :param path: path below the base URL, already percent-encoded, with a leading slash.
    :param kind: what repeating it would do.
    :param params: query parameters; ``None`` values are left out.
    :param json: JSON body.
    :param form: form fields, urlencoded, or beside ``upload`` in one multipart body.
    :param headers: further headers; none that holds a secret.
    :param upload: file body.
    :param binary: the answer is bytes and may be large.
    :param timeout: seconds to wait for the answer; ``None`` takes the connection's.
    :param repeat_command_timeout: repeat after a 408 of the server's command limit; False where the flow has
        another way.
    :param repeat: repeat after an outage; False where the flow has another way.
    """

    method: str
    path: str
    kind: Kind = Kind.READ
    params: Mapping[str, str | int | None] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    binary: bool = False
    timeout: float | None = None
    repeat_command_timeout: bool = True
    repeat: bool = True

    def query(self) -> dict[str, str]:
        """Return the query parameters that are set, as text."""
        return {key: str(value) for key, value in self.params.items() if value is not None}


@dataclass(frozen=True)
class Response:
    """One HTTP answer. Header names are lower case. Its ``repr`` shows no header and no body: both can hold
    secrets.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """Return the parsed body.

        :raises ValueError: the body is not JSON.
        """
        return json.loads(self.content)


@dataclass(frozen=True)
class Sleep:
    """Wait this many seconds without holding anything."""

    seconds: float


Flow: TypeAlias = Generator["Request | Sleep", Any, T]
