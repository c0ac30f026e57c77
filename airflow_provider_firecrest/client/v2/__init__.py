"""FirecREST v2: every call of its API as a flow, by area."""

from __future__ import annotations

from .files import Files
from .status import Status
from .transfer import Transfer
from .waiting import Waiting


class V2(Status, Waiting, Files, Transfer):
    """All calls of FirecREST v2."""


__all__ = ["V2"]
