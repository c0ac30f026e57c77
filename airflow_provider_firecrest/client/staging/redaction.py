"""Keeps the signatures of presigned URLs out of other people's logs.

urllib3 writes every request's path *with its query* at DEBUG, and the query of a presigned URL is the
credential. A filter on the loggers concerned rewrites such records before any handler sees them. Queries
without a signature are left alone.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote, urlsplit

_LOGGERS = ("urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager", "urllib3.util.retry")

_QUERY = re.compile(r"\?[^\s\"'<>]*")
# AWS and Google signatures of versions 2 and 4, upload ids (enough to add parts on some stores), Azure's
# `sig`.
_SIGNED = re.compile(
    r"x-amz-|x-goog-|signature=|awsaccesskeyid=|googleaccessid=|uploadid=|[?&]sig=", re.IGNORECASE
)

_SHORTEST_SECRET = 8


def without_signatures(text: str) -> str:
    """Return ``text`` with the query of every signed URL or path replaced by ``?***``."""
    return _QUERY.sub(lambda match: "?***" if _SIGNED.search(match[0]) else match[0], text)


def place(url: str) -> tuple[str, str]:
    """Return host (with port) and path of ``url``: all that may be shown of it."""
    try:
        pieces = urlsplit(url)
        port = f":{pieces.port}" if pieces.port else ""
    except ValueError:
        return "an unusable URL", ""
    return f"{pieces.hostname or 'an unusable URL'}{port}", pieces.path


def without_secrets_of(url: str, text: str) -> str:
    """Return a server's own words without the values in the query of ``url``; some stores quote them."""
    values = {pair.partition("=")[2] for pair in url.partition("?")[2].split("&")}
    for value in sorted(values | {unquote(each) for each in values}, key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    return without_signatures(text)


class _SignatureFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:
            # A record that cannot be formatted is the business of its handler, as without this filter.
            return True
        clean = without_signatures(text)
        if clean != text:
            record.msg, record.args = clean, ()
        return True


_filter = _SignatureFilter()


def guard_logs() -> None:
    """Put the filter on urllib3's loggers; calling it again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)
