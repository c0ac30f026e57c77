"""Web pages that come where FirecREST's answer should be: a login, a welcome, maintenance.

FirecREST's successes are JSON, or a file as bytes. What a page means depends on whether FirecREST was ever
heard at the address: if it was, it is away; if not, the address is a wrong one.
"""

from __future__ import annotations

import html
import re

from .errors import AmbiguousError, FirecrestError, NotFirecrestError, ProtocolError
from .flow import Kind, Request, Response

_TYPES = ("text/html", "application/xhtml+xml")
_NO_WORDS = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_FIRST_WORDS = 80

_heard: set[str] = set()
"""Base URLs at which this process was answered by something that speaks JSON, or sent a file."""


def is_page(response: Response) -> bool:
    """Return whether an answer is a web page. A file is none, HTML or not: FirecREST sends bytes as such."""
    return response.headers.get("content-type", "").lower().startswith(_TYPES)


def _is_json(response: Response) -> bool:
    return "json" in response.headers.get("content-type", "").lower()


def plain_words(text: str) -> str:
    """Return what of a page one would read, on one line."""
    return " ".join(html.unescape(_TAG.sub(" ", _NO_WORDS.sub(" ", text))).split())


def page_for_success(request: Request, response: Response) -> FirecrestError | None:
    """Return the error that a success with a page in it stands for, or None when it is no page."""
    if not is_page(response):
        return None
    cls = AmbiguousError if request.kind is Kind.CREATE else ProtocolError
    return cls(
        "A web page came instead of FirecREST's answer.",
        method=request.method,
        path=request.path,
        status=response.status,
        server_message=plain_words(response.text)[:_FIRST_WORDS],
    )


def not_firecrest(base_url: str, request: Request, response: Response) -> NotFirecrestError | None:
    """Return the error for a page at an address where FirecREST was never heard, or None.

    Takes note of every answer: where JSON came from, or a file, a later page is maintenance.
    """
    success = 200 <= response.status < 300
    if not is_page(response):
        if success or _is_json(response):
            _heard.add(base_url)
        return None
    if base_url in _heard or not success:
        return None
    words = plain_words(response.text)[:_FIRST_WORDS]
    return NotFirecrestError(
        f"host: what answers at {base_url} is a web page ({words!r}), neither FirecREST v1 nor v2."
        " Put FirecREST's base URL into the connection's host.",
        method=request.method,
        path=request.path,
        status=response.status,
    )
