"""FirecREST v1: every call of its API as a flow, by area, under the names of v2's where both have it."""

from __future__ import annotations

from ..waiting.wait_for_job import Waiting
from .transfer import Transfer


class V1(Transfer, Waiting):
    """All calls of FirecREST v1."""


__all__ = ["V1"]
