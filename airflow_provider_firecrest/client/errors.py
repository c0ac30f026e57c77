"""What can go wrong, as classes to act on.

Every error says which call failed, what the server said, and whether the same call may be repeated. None of
them ever holds
a token, a presigned URL, a response header (FirecREST's 401 answers echo the token in one) or a whole body.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from .models import Job, TransferJob

_MAX_WORDS = 2000

_SECRET_NAMES = (
    r"(?:client[_-]secret|(?:access|refresh|id|auth)[_-]token|(?:x[_-])?api[_-]key|password"
    r"|x-amz-(?:signature|credential|security-token))"
)
_SECRET_PATTERNS = (
    # Presigned URLs: everything behind the question mark is a credential.
    re.compile(r"(https?://[^\s\"'<>?]+)\?[^\s\"'<>]*", re.IGNORECASE),
    # A user and password in front of a host.
    re.compile(r"(https?://)[^\s\"'<>/?@]+(?=@)", re.IGNORECASE),
    # Some stores repeat a part of it in their answer.
    re.compile(r"((?:signature|credential|security-token|policy)=)[^\s&\"'<>]+", re.IGNORECASE),
    # Bearer tokens and JWTs, wherever they stand.
    re.compile(r"(bearer\s+)(?=[A-Za-z0-9._~+/-]*[0-9._~+/-])[A-Za-z0-9._~+/=-]+", re.IGNORECASE),
    re.compile(r"(authorization[\"']?\s*[=:]\s*[\"']?\w+\s+)[^\s\"',;]+", re.IGNORECASE),
    re.compile(r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    # Assigned, or quoted as in JSON: a secret whatever it looks like.
    re.compile(rf"({_SECRET_NAMES}\s*=\s*[\"']?)[^\s\"'&,}}]+", re.IGNORECASE),
    re.compile(rf"({_SECRET_NAMES}\\?[\"']\s*:\s*\\?[\"'])[^\"'\\]+", re.IGNORECASE),
    # Behind a colon alone it may be a sentence of ours about the field of that name.
    re.compile(rf"({_SECRET_NAMES}\s*:\s*)(?=[^\s\"',]*[0-9])[^\s\"',]{{12,}}", re.IGNORECASE),
)


def redact(text: str) -> str:
    """Return ``text`` without anything that looks like a token, a secret or the query of a presigned URL."""
    # An URL-encoded presigned URL hides its query from the patterns below; quoted twice, twice as well.
    for _ in range(3):
        decoded = unquote(text)
        if decoded == text or "signature" not in decoded.lower():
            break
        text = decoded
    for pattern in _SECRET_PATTERNS:
        text = pattern.sub(r"\1***", text)
    return text


class Retry(Enum):
    """Whether the same call may be repeated by the caller."""

    YES = "yes"
    NO = "no"
    CHECK_FIRST = "check first"
    """The server may have acted: look before repeating."""


class FirecrestError(Exception):
    """Anything FirecREST, its token server or its object store answered that is not success.

    :ivar method: HTTP method of the call, or None.
    :ivar path: path of the call below the base URL, without query, or None.
    :ivar status: HTTP status, or None when there was no answer.
    :ivar server_message: the server's own words, redacted, or None.
    :ivar retry: whether the same call may be repeated.
    :ivar repeated: the request had been sent before, and what came of that is not known.
    """

    default_retry = Retry.NO

    def __init__(
        self,
        message: str,
        *,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        server_message: str | None = None,
        retry: Retry | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = redact(message)[:_MAX_WORDS]
        self.method = method
        self.path = path
        self.status = status
        self.server_message = redact(server_message)[:_MAX_WORDS] if server_message else None
        self.retry = retry or self.default_retry
        self.retry_after = retry_after
        self.repeated = False
        super().__init__(self.message)

    def __str__(self) -> str:
        text = self.message
        if self.server_message and self.server_message not in text:
            text = f"{text} The server said: {self.server_message}"
        if self.method:
            where = f"{self.method} {self.path}" + (f" -> {self.status}" if self.status else "")
            text = f"{text} [{where}]"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # Airflow carries exceptions between processes; keyword arguments do not survive the default pickling.
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[FirecrestError], state: dict[str, Any]) -> FirecrestError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state.get("message", ""),)
    return error


class ConfigurationError(FirecrestError):
    """A setting is missing or wrong; nothing was sent. The message names the field."""


class AuthenticationError(FirecrestError):
    """No valid token: wrong client id or secret, wrong token URL, or the API refuses the token."""


class PermissionDeniedError(FirecrestError):
    """The account may not do this (403, "Permission denied", "Operation not permitted")."""


class NotFoundError(FirecrestError):
    """A file, a job or an endpoint is not there. For a job: unknown, which is not the same as
    ended.
    """


class InvalidRequestError(FirecrestError):
    """The server, or our own check before sending, refuses the request as it is. Repeating it changes
    nothing.
    """


class ConflictError(FirecrestError):
    """Something is already there ("File exists")."""


class TooLargeError(FirecrestError):
    """More than this call can carry (413); a transfer job can."""


class QuotaError(FirecrestError):
    """A limit on jobs or space is reached (QOS..., Assoc..., disk quota): later the same call may pass."""

    default_retry = Retry.YES


class RateLimitError(FirecrestError):
    """429: too many requests. ``retry_after`` holds the seconds the server asked for, or None."""

    default_retry = Retry.YES


class UnavailableError(FirecrestError):
    """The API, the scheduler or a machine behind it is down or unreachable: the same call may pass later."""

    default_retry = Retry.YES


class RequestTimeoutError(UnavailableError):
    """No answer in time, from the server (408) or for us, on a call that may be repeated."""


class CommandTimeoutError(RequestTimeoutError):
    """408 "Command execution timeout limit exceeded": longer than the server's 5 s for direct calls."""


class AmbiguousError(FirecrestError):
    """The server may have acted although no success came back: look before doing it again."""

    default_retry = Retry.CHECK_FIRST


class ProtocolError(FirecrestError):
    """The answer is not what FirecREST sends (HTML from a proxy, missing fields): probably not a FirecREST
    URL.
    """


class NotFirecrestError(ProtocolError):
    """A web page is all that this process has ever got from the address: a login page, a portal. Nothing was
    acted on.
    """


class JobFailedError(FirecrestError):
    """A Slurm job ended in a state that is not success.

    :ivar job: the job as last seen.
    """

    def __init__(self, message: str, *, job: Job | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.job = job


class TransferFailedError(FirecrestError):
    """A file operation did not do what it said; the message holds the evidence.

    :ivar transfer: the server's job behind it, or None.
    """

    def __init__(self, message: str, *, transfer: TransferJob | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.transfer = transfer


class IntegrityError(TransferFailedError):
    """Size or digest at the destination differs from the source."""


class DeadlineError(FirecrestError):
    """Our own deadline passed while waiting."""
