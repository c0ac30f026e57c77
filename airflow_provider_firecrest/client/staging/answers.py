"""What an object store's answer, or the lack of one, means: try again, give up, or nobody knows.

Knows S3's error documents and the exceptions of requests and urllib3. Only the status, S3's `Code` and its
`Message` are taken out of an answer: other elements of an error document repeat the credentials of the
request.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from urllib.parse import parse_qs

import requests
import urllib3

from ..errors import (
    ConfigurationError,
    FirecrestError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    TooLargeError,
    TransferFailedError,
    UnavailableError,
)

# ValueError: requests and urllib3 raise it, in several subclasses, for URLs they cannot use.
TRANSPORT_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)

_BODY_LIMIT = 64 * 1024

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html: these pass when sent again.
_TRANSIENT_CODES = frozenset({
    "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError", "OperationAborted",
    "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "TooManyRequests",
})  # fmt: skip
# The store refused before it did anything; after other 5xx it may have acted all the same.
_REFUSED_CODES = frozenset({"SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests"})
_PERMANENT_5XX = (501, 505)

EXPIRED = (
    "the presigned URL has expired; the store accepts it for a limited time only. "
    "Start the transfer anew to get a fresh one"
)


@dataclass(frozen=True)
class Failure:
    """Why an attempt did not succeed.

    :ivar kind: the exception to raise once there are no attempts left.
    :ivar text: what happened, after "failed: ".
    :ivar may_have_acted: the store may have done it although no success came back.
    """

    kind: type[FirecrestError]
    text: str
    transient: bool = False
    may_have_acted: bool = False
    status: int | None = None
    code: str | None = None
    words: str | None = None
    retry_after: float | None = None


def from_response(response: requests.Response) -> Failure:
    """Read the body of an answer that is not success, and say what it means."""
    code, message = error_in(_body_of(response))
    return from_error(response.status_code, code, message, _seconds(response.headers.get("Retry-After")))


def from_error(
    status: int, code: str | None, message: str | None, retry_after: float | None = None
) -> Failure:
    """Say what a status with S3's error code and message means."""
    words = ": ".join(filter(None, (code, message))) or None
    expired = status in (400, 403) and "expired" in (words or "").lower()
    kind, text = (TransferFailedError, EXPIRED) if expired else _meaning(status, code)
    return Failure(
        kind=kind,
        text=text,
        transient=_is_transient(status, code),
        may_have_acted=(status >= 500 or code == "InternalError") and code not in _REFUSED_CODES,
        status=status,
        code=code,
        words=words,
        retry_after=retry_after,
    )


def from_exception(error: Exception, stall_timeout: float) -> Failure:
    """Say what an exception of the transport means; nothing of its text is used, for it holds the URL."""
    causes = _causes(error)

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in causes)

    if caused_by(ssl.SSLCertVerificationError):
        text = "the store's TLS certificate is not accepted; if it is a site's own, give the CA bundle"
        return Failure(ConfigurationError, text)
    if caused_by(socket.gaierror):
        return Failure(UnavailableError, "the store's host name cannot be resolved", transient=True)
    reasons = (each.strerror for each in causes if isinstance(each, OSError) and each.strerror)
    reason = next(reasons, "it was closed too early")
    if caused_by(urllib3.exceptions.NewConnectionError):
        # A kind of timeout to urllib3, although the refusal may come at once.
        return Failure(UnavailableError, f"no connection ({reason})", transient=True)
    if caused_by(requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError):
        return Failure(UnavailableError, "the store could not be reached in time", transient=True)
    if caused_by(requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        text = f"nothing moved for {stall_timeout:g} s"
        return Failure(RequestTimeoutError, text, transient=True, may_have_acted=True)
    if isinstance(error, ValueError):
        return Failure(ProtocolError, "the server handed out a URL that cannot be used")
    return Failure(UnavailableError, f"connection lost ({reason})", transient=True, may_have_acted=True)


def error_in(body: bytes) -> tuple[str | None, str | None]:
    """Return code and message of an S3 error document, or two times None when ``body`` is something else."""
    root = document(body)
    if root is None or local_name(root) != "Error":
        return None, None
    return child_text(root, "Code"), child_text(root, "Message")


def document(body: bytes) -> ElementTree.Element | None:
    """Parse an XML answer; blanks in front (S3's sign of life while it assembles an object) are allowed."""
    try:
        return ElementTree.fromstring(body.strip())
    except ElementTree.ParseError:
        return None


def local_name(element: ElementTree.Element) -> str:
    """Return an element's name without its namespace; stores differ in whether they send one."""
    return element.tag.rpartition("}")[2]


def child_text(element: ElementTree.Element, name: str) -> str | None:
    """Return the text of the first child called ``name``, or None."""
    return next((child.text for child in element if local_name(child) == name and child.text), None)


def has_expired(url: str, *, within: float = 0.0) -> bool:
    """Whether a presigned URL says itself that its time is over (by this machine's clock).

    A store may refuse an expired URL and close before a large part is through; then only a broken connection
    is seen.

    :param within: or will be over in so many seconds.
    """
    query = {name.lower(): values[0] for name, values in parse_qs(url.partition("?")[2]).items()}
    try:
        if "x-amz-expires" in query:
            signed = datetime.datetime.strptime(query["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(
                tzinfo=datetime.UTC
            )
            return time.time() + within > signed.timestamp() + int(query["x-amz-expires"])
        return "expires" in query and time.time() + within > int(query["expires"])
    except (KeyError, ValueError):
        return False


def _is_transient(status: int, code: str | None) -> bool:
    if code in _TRANSIENT_CODES or status in (408, 425, 429):
        return True
    return status >= 500 and status not in _PERMANENT_5XX


def _meaning(status: int, code: str | None) -> tuple[type[FirecrestError], str]:
    answered = f"the store answered {status}{' with an error' if status == 200 else ''}"
    if code == "NoSuchUpload":
        return (
            TransferFailedError,
            "the store does not know this upload: it was aborted, cleaned up or completed",
        )
    if status == 404:
        return NotFoundError, "it is not in the object store"
    if status == 412:
        return IntegrityError, "the object changed while it was being downloaded"
    if status in (401, 403):
        return PermissionDeniedError, "the store refuses the presigned URL"
    if status == 429:
        return RateLimitError, "the store is asked too often"
    if status == 413 or code == "EntityTooLarge":
        return TooLargeError, "the store does not take this much at once"
    if 300 <= status < 400:
        return ProtocolError, f"{answered}, a redirect, which a presigned URL cannot follow"
    return (UnavailableError if _is_transient(status, code) else TransferFailedError), answered


def _causes(error: BaseException) -> list[BaseException]:
    """Return the exception and what it wraps, outermost first; causes are kept in three places."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or any(each is known for known in found):
            continue
        found.append(each)
        waiting += [getattr(each, "reason", None), each.__cause__, each.__context__, *each.args]
    return found


def _body_of(response: requests.Response) -> bytes:
    try:
        return bytes(response.raw.read(_BODY_LIMIT, decode_content=True))
    except TRANSPORT_ERRORS:
        return b""


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.isascii() and value.isdigit() else None
