"""What all v2 flows share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import paths
from ..api import ApiBase, identifier
from ..errors import FirecrestError
from ..flow import Request, Response
from . import answers

__all__ = ["Base", "identifier", "output"]


class Base(ApiBase):
    """Settings and helpers of v2."""

    generation = 2
    rules = paths.V2

    @staticmethod
    def error_of(request: Request, response: Response) -> FirecrestError | None:
        """Return the error an answer stands for, or None."""
        return answers.error_of(request, response)


def output(body: Mapping[str, Any]) -> Any:
    """Return the `output` of a file-system answer."""
    return body["output"]
