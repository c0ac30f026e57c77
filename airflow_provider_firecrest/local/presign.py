"""Presigned URLs: AWS signature version 4 in the query string, made and checked.

Knows: the signature. Must not know: what objects exist.

The signature binds the method, the path, the host, every query parameter and the time, as S3's does: a
URL made for GET is refused for HEAD.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_REGION = "us-east-1"
_REMEMBERED = 10_000
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"


class SignatureError(Exception):
    """A URL that must be refused.

    Args:
        status: HTTP status.
        code: S3 error code.
        message: S3 error message.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Presigner:
    """Signs URLs with a key of its own.

    Args:
        ttl: life of a URL in seconds.

    Attributes:
        signatures: those made last: what a test looks for where no secret may be.
    """

    def __init__(self, ttl: int) -> None:
        self._ttl = ttl
        self._access_key = "storage_access_key"
        self._secret = secrets.token_hex(20)
        self.signatures: deque[str] = deque(maxlen=_REMEMBERED)

    def sign(self, method: str, url: str, *, ttl: int | None = None, now: datetime | None = None) -> str:
        """``url`` with the parameters that allow ``method`` on it for ``ttl`` seconds."""
        moment = now or datetime.now(UTC)
        stamp = moment.strftime(_TIME_FORMAT)
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        query += [
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{self._access_key}/{_scope(stamp)}"),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", str(self._ttl if ttl is None else ttl)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        signature = self._remembered(self._signature(method, parts.path, query, parts.netloc, stamp))
        text = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in query)
        return f"{parts.scheme}://{parts.netloc}{parts.path}?{text}&X-Amz-Signature={signature}"

    def form_fields(self, now: datetime) -> dict[str, str]:
        """The fields of a POST form that say who signed it and when; they belong into its policy, too."""
        stamp = now.strftime(_TIME_FORMAT)
        return {
            "x-amz-algorithm": _ALGORITHM,
            "x-amz-credential": f"{self._access_key}/{_scope(stamp)}",
            "x-amz-date": stamp,
        }

    def sign_policy(self, stamp: str, policy: str) -> str:
        """Signature of a POST form's policy (base64 text), made at ``stamp`` (``x-amz-date``)."""
        return self._remembered(self._sign_text(stamp, policy))

    def check(self, method: str, raw_path: str, raw_query: str, host: str) -> dict[str, str]:
        """The query parameters of a request whose signature holds.

        Args:
            raw_path: the path as it was sent, percent-encoding included.

        Raises:
            SignatureError: unsigned, forged, meant for another method or object, or expired.
        """
        query = parse_qsl(raw_query, keep_blank_values=True)
        values = dict(query)
        given = values.pop("X-Amz-Signature", None)
        stamp, expires = values.get("X-Amz-Date"), values.get("X-Amz-Expires")
        if given is None or stamp is None or expires is None:
            raise SignatureError(403, "AccessDenied", "Access Denied")
        signed = [(key, value) for key, value in query if key != "X-Amz-Signature"]
        expected = self._signature(method, raw_path, signed, host, stamp)
        if not hmac.compare_digest(expected, given):
            text = "The request signature we calculated does not match the signature you provided."
            raise SignatureError(403, "SignatureDoesNotMatch", f"{text} Check your key and signing method.")
        age = (datetime.now(UTC) - datetime.strptime(stamp, _TIME_FORMAT).replace(tzinfo=UTC)).total_seconds()
        if age > int(expires):
            raise SignatureError(403, "AccessDenied", "Request has expired")
        return values

    def _signature(
        self, method: str, path: str, query: Iterable[tuple[str, str]], host: str, stamp: str
    ) -> str:
        pairs = sorted((quote(key, safe="-_.~"), quote(value, safe="-_.~")) for key, value in query)
        canonical_query = "&".join(f"{key}={value}" for key, value in pairs)
        canonical = f"{method}\n{path}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return self._sign_text(stamp, f"{_ALGORITHM}\n{stamp}\n{_scope(stamp)}\n{digest}")

    def _sign_text(self, stamp: str, text: str) -> str:
        key = f"AWS4{self._secret}".encode()
        for element in (stamp[:8], _REGION, "s3", "aws4_request"):
            key = hmac.new(key, element.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def _remembered(self, signature: str) -> str:
        self.signatures.append(signature)
        return signature


def _scope(stamp: str) -> str:
    return f"{stamp[:8]}/{_REGION}/s3/aws4_request"
