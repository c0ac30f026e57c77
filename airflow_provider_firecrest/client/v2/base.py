"""What all v2 flows share: the default system and how a path segment and an answer are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from ..errors import AmbiguousError, ConfigurationError, FirecrestError, InvalidRequestError, ProtocolError
from ..flow import Flow, Kind, Request, Response
from ..settings import Settings
from . import answers

T = TypeVar("T")


class Base:
    """Settings and helpers; the flows of each area inherit them.

    :param settings: the connection's settings.
    """

    generation = 2

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @staticmethod
    def error_of(request: Request, response: Response) -> FirecrestError | None:
        """Return the error an answer stands for, or None."""
        return answers.error_of(request, response)

    def _system(self, system: str | None) -> str:
        name = system or self.settings.system
        if not name:
            raise ConfigurationError(
                "system: name one in the call or in the connection; `systems()` lists them."
            )
        if "/" in name or name != name.strip():
            raise ConfigurationError(f"system: {name!r} cannot be a system's name.")
        return quote(name, safe="")

    def _account(self, account: str | None) -> str | None:
        return account or self.settings.account

    def _ask(self, request: Request, read: Callable[[Any], T]) -> Flow[T]:
        """Send a request and read its JSON answer; what cannot be read is a protocol error, not a crash."""
        response: Response = yield request
        try:
            return read(response.json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"The answer is not what FirecREST v2 sends ({type(error).__name__})."
            cls = AmbiguousError if request.kind is Kind.CREATE else ProtocolError
            raise cls(problem, method=request.method, path=request.path, status=response.status) from None


def identifier(job_id: str) -> str:
    """Return a job id that v2's paths accept (`^[a-zA-Z0-9]+$`); of an array element, the array's.

    :raises InvalidRequestError: it is none. (The server would answer 500 to a word or a zero.)
    """
    text = str(job_id).strip()
    base = text.split("_", 1)[0].split("+", 1)[0].split(".", 1)[0]
    if (
        not (base.isascii() and base.isalnum() and any(char.isdigit() for char in base))
        or base.strip("0") == ""
    ):
        raise InvalidRequestError(f"{job_id!r} is not a job id.")
    return base


def output(body: Mapping[str, Any]) -> Any:
    """Return the `output` of a file-system answer."""
    return body["output"]
