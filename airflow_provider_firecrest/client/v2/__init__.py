"""FirecREST v2: every call of its API as a flow, by area."""

from __future__ import annotations

from .compute import Compute
from .files import Files
from .status import Status
from .transfer import Transfer


class V2(Status, Compute, Files, Transfer):
    """All calls of FirecREST v2."""


__all__ = ["V2"]
