"""FirecREST v2 ``/compute``: jobs of the local scheduler in the words of the real server."""

from __future__ import annotations

from fastapi import APIRouter


def compute_router() -> APIRouter:
    """Routes under ``/compute/{system_name}``; needs ``app.state.firecrest`` and ``request.state.user``."""
    return APIRouter()
