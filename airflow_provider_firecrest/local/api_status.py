"""FirecREST v2 ``/status``: systems, nodes, partitions, reservations, user information."""

from __future__ import annotations

from fastapi import APIRouter


def status_router() -> APIRouter:
    """Routes under ``/status``; needs ``app.state.firecrest`` and ``request.state.user``."""
    return APIRouter()
