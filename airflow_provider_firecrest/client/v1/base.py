"""What all v1 flows share: the machine goes into a header, arguments into a form."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from .. import paths
from ..api import ApiBase
from ..errors import FirecrestError
from ..flow import Kind, Request, Response
from . import answers


class Base(ApiBase):
    """Settings and helpers of v1."""

    generation = 1
    rules = paths.V1

    @staticmethod
    def error_of(request: Request, response: Response) -> FirecrestError | None:
        """Return the error an answer stands for, or None."""
        return answers.error_of(request, response)

    def _machine(self, system: str | None) -> dict[str, str]:
        return {"X-Machine-Name": unquote(self._system(system))}

    def _get(self, path: str, system: str | None, **params: Any) -> Request:
        return Request(
            "GET", path, params=params, headers=self._machine(system), repeat_command_timeout=False
        )

    def _send(
        self, method: str, path: str, system: str | None, kind: Kind, form: dict[str, Any] | None = None
    ) -> Request:
        fields = {key: str(value) for key, value in (form or {}).items() if value is not None}
        return Request(
            method, path, kind, form=fields, headers=self._machine(system), repeat_command_timeout=False
        )
