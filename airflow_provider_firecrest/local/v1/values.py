"""Values in queries and forms: which characters pass, what "missing" and "empty" answer.

Knows: the checks every service shares. Must not know: endpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from airflow_provider_firecrest.local.v1.errors import V1Error, refused

# A single quote would end the quoting of the commands the values go into, the others are refused with it.
_FORBIDDEN = re.compile(r"[<>|;\"'&\\()\x00-\x1f\x7f`]")


def has_forbidden(text: str) -> bool:
    """Whether ``text`` holds a character v1 refuses in any path or name."""
    return _FORBIDDEN.search(text) is not None


@dataclass
class Values:
    """The query or form of one request.

    Args:
        texts: its plain values.
        description: what refusals of a value say first.
        file: the uploaded file, if there is one.
    """

    texts: Mapping[str, str]
    description: str
    file: UploadFile | None = field(default=None)

    def required(self, name: str) -> str:
        """A value that must be there.

        Raises:
            V1Error: it is missing, empty, or holds a forbidden character.
        """
        value = self.texts.get(name)
        if value is None:
            raise refused(self.description, f"'{name}' not specified")
        if not value:
            raise refused(self.description, f"'{name}' is empty")
        return self._checked(name, value)

    def optional(self, name: str) -> str | None:
        """A value that may be missing; an empty one counts as missing.

        Raises:
            V1Error: it holds a forbidden character.
        """
        value = self.texts.get(name)
        return self._checked(name, value) if value else None

    def flag(self, name: str) -> bool:
        """Whether a value is ``true``."""
        return (self.texts.get(name) or "").lower() == "true"

    def _checked(self, name: str, value: str) -> str:
        if has_forbidden(value):
            raise refused(self.description, f"'{name}' has invalid char")
        return value


def query_values(request: Request, description: str) -> Values:
    """The values of a query."""
    return Values(dict(request.query_params), description)


async def form_values(request: Request, description: str) -> Values:
    """The values of a form, urlencoded or multipart."""
    form: FormData = await request.form()
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    file = form.get("file")
    return Values(texts, description, file if isinstance(file, UploadFile) else None)


async def refuse_large(request: Request, limit: int, description: str) -> None:
    """Refuse a request of more than ``limit`` bytes, its multipart wrapping included.

    Raises:
        V1Error: 413.
    """
    if int(request.headers.get("content-length", "0")) <= limit:
        return
    async for _chunk in request.stream():
        pass  # read to the end: a client that is still sending does not see the answer
    raise V1Error({"description": description}, status=413)


def stored_name(file: UploadFile) -> str:
    """Name an uploaded file gets: backslashes are lost on the way, and a percent-encoded quote is a quote."""
    return (file.filename or "").replace("%22", '"').replace("\\", "")
