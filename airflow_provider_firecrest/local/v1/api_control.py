"""``/control``, the part about v1: settings that tests change while the server runs. Not part of FirecREST.

Knows: `V1Settings`, objects. Must not know: v1's answers.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from airflow_provider_firecrest.local.object_store import StoreError
from airflow_provider_firecrest.local.v1.context import V1, V1Settings


def v1_control_router(v1: V1) -> APIRouter:
    """Routes under ``/control``."""
    router = APIRouter(prefix="/control", include_in_schema=False)

    @router.get("/v1")
    def get_settings() -> dict[str, Any]:
        """The settings in force; see `V1Settings`."""
        return asdict(v1.settings)

    @router.put("/v1", response_model=None)
    async def put_settings(request: Request) -> dict[str, Any] | JSONResponse:
        """Change the settings named, and only these."""
        changes = await request.json()
        unknown = set(changes) - {field.name for field in fields(V1Settings)}
        if unknown:
            return JSONResponse({"error": f"unknown settings: {', '.join(sorted(unknown))}"}, status_code=400)
        for name, value in changes.items():
            setattr(v1.settings, name, value)
        return asdict(v1.settings)

    @router.delete("/objects", response_model=None)
    def delete_object(bucket: str, key: str) -> Response:
        """Lose an object of the object store."""
        try:
            v1.local.store.delete(bucket, key)
        except StoreError as error:
            return JSONResponse({"error": error.message}, status_code=404)
        return Response(status_code=204)

    return router
