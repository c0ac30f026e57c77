"""FirecREST v2: every call of its API as a flow, by area."""

from __future__ import annotations

from ..waiting.wait_for_job import Waiting
from .compute import Compute
from .files import Files
from .transfer import Transfer


class V2(Compute, Files, Transfer, Waiting):
    """All calls of FirecREST v2."""


__all__ = ["V2"]
