"""What the flows of both API generations share: defaults of the connection, ids, and reading an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

from . import arrays, paths
from .errors import AmbiguousError, ConfigurationError, FirecrestError, InvalidRequestError, ProtocolError
from .flow import Flow, Kind, Request, Response
from .settings import Settings

T = TypeVar("T")


class ApiBase(ABC):
    """Settings and helpers; the flows of each area inherit them.

    :param settings: the connection's settings.
    """

    generation: ClassVar[int]
    """1 or 2."""

    rules: ClassVar[paths.Rules]
    """Which paths the calls of this generation can carry."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @staticmethod
    @abstractmethod
    def error_of(request: Request, response: Response) -> FirecrestError | None:
        """Return the error an answer stands for, or None."""

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
            problem = f"The answer is not what FirecREST v{self.generation} sends ({type(error).__name__})."
            cls = AmbiguousError if request.kind is Kind.CREATE else ProtocolError
            raise cls(problem, method=request.method, path=request.path, status=response.status) from None


def identifier(job_id: str) -> str:
    """Return a job id that the servers' paths accept; of an array element, the array's.

    :raises InvalidRequestError: it is none. (The server would answer 500 to a word or a zero.)
    """
    base = arrays.base_id(str(job_id).strip().split(".", 1)[0])
    plain = base.isascii() and base.isalnum() and any(char.isdigit() for char in base)
    if not plain or not base.strip("0"):
        raise InvalidRequestError(f"{job_id!r} is not a job id.")
    return base
