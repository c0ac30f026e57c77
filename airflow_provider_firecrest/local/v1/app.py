"""FirecREST v1 as an application: its services behind one gateway.

Knows: which router goes where. Must not know: what they do.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_firecrest.local.v1.api_compute import compute_router
from airflow_provider_firecrest.local.v1.api_external import external_router
from airflow_provider_firecrest.local.v1.api_internal import internal_router
from airflow_provider_firecrest.local.v1.api_reservations import reservations_router
from airflow_provider_firecrest.local.v1.api_status import VERSION, status_router
from airflow_provider_firecrest.local.v1.api_tasks import tasks_router
from airflow_provider_firecrest.local.v1.api_utilities import utilities_router
from airflow_provider_firecrest.local.v1.api_utilities_write import utilities_write_router
from airflow_provider_firecrest.local.v1.context import V1
from airflow_provider_firecrest.local.v1.errors import (
    V1Error,
    handle_http_exception,
    handle_unforeseen,
    handle_v1_error,
)


def v1_app(v1: V1) -> FastAPI:
    """The application around ``v1``."""
    app = FastAPI(
        title="FirecREST",
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.v1 = v1
    app.include_router(status_router())
    app.include_router(tasks_router())
    app.include_router(utilities_router())
    app.include_router(utilities_write_router())
    app.include_router(compute_router())
    app.include_router(internal_router())
    app.include_router(external_router())
    app.include_router(reservations_router())
    app.add_exception_handler(V1Error, handle_v1_error)
    app.add_exception_handler(StarletteHTTPException, handle_http_exception)
    app.add_exception_handler(Exception, handle_unforeseen)
    return app
