"""The HTTP application: FirecREST under /v2 and /v1, tokens, object store and control beside it.

Knows: which router goes where. Must not know: what they do.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp

from airflow_provider_firecrest.local.api_compute import compute_router
from airflow_provider_firecrest.local.api_control import control_router
from airflow_provider_firecrest.local.api_ops import ops_read_router
from airflow_provider_firecrest.local.api_ops_write import ops_write_router
from airflow_provider_firecrest.local.api_s3 import s3_router
from airflow_provider_firecrest.local.api_status import status_router
from airflow_provider_firecrest.local.api_token import token_router
from airflow_provider_firecrest.local.api_transfer import transfer_router
from airflow_provider_firecrest.local.errors import (
    ApiError,
    handle_api_error,
    handle_http_exception,
    handle_unforeseen,
    handle_validation_error,
)
from airflow_provider_firecrest.local.lies import Liar
from airflow_provider_firecrest.local.middleware import FirecrestHeaders, Observer
from airflow_provider_firecrest.local.state import LocalState
from airflow_provider_firecrest.local.v1.api_control import v1_control_router
from airflow_provider_firecrest.local.v1.api_form import form_router
from airflow_provider_firecrest.local.v1.app import v1_app
from airflow_provider_firecrest.local.v1.context import build_v1


def build_app(state: LocalState) -> ASGIApp:
    """The whole application around ``state``."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.firecrest = state
    app.include_router(token_router())
    v1 = build_v1(state)
    # Before the rest of the object store: a form is posted to the bucket itself.
    app.include_router(form_router())
    app.include_router(s3_router())
    app.include_router(control_router())
    app.include_router(v1_control_router(v1))
    app.mount("/v1", v1_app(v1))
    app.mount("/v2", _v2(state))
    return Observer(Liar(app, state.faults, state.scheduler.job_list), state.faults, state.requests)


def _v2(state: LocalState) -> FastAPI:
    """FirecREST v2. An application of its own: its errors and headers differ from everything beside it."""
    app = FastAPI(title="FirecREST", version="2.x.x", docs_url=None, redoc_url=None)
    app.state.firecrest = state
    for router in (status_router(), compute_router()):
        app.include_router(router)
    for router in (ops_read_router(), ops_write_router(), transfer_router()):
        app.include_router(router)
    app.add_exception_handler(ApiError, handle_api_error)
    app.add_exception_handler(StarletteHTTPException, handle_http_exception)
    app.add_exception_handler(RequestValidationError, handle_validation_error)
    app.add_exception_handler(Exception, handle_unforeseen)
    app.add_middleware(FirecrestHeaders)
    return app
