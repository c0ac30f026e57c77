"""``/control``: what tests ask and tell the server behind FirecREST's back. Not part of FirecREST.

Knows: the server's parts. Must not know: v2's answers, so that what it reports is an independent witness.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_firecrest.local.state import state_of


def control_router() -> APIRouter:
    """Routes under ``/control``; needs ``app.state.firecrest``."""
    router = APIRouter(prefix="/control", include_in_schema=False)
    router.get("/jobs")(get_jobs)
    router.get("/objects")(get_objects)
    router.get("/requests")(get_requests)
    router.get("/faults")(get_faults)
    router.post("/faults", status_code=201, response_model=None)(post_fault)
    router.delete("/faults", status_code=204)(delete_faults)
    router.delete("/holds", status_code=204)(delete_holds)
    router.get("/secrets")(get_secrets)
    router.post("/tokens", status_code=201)(post_token)
    router.delete("/tokens", status_code=204)(delete_tokens)
    router.put("/tokens/life", status_code=204)(put_token_life)
    return router


def get_jobs(request: Request, mentioning: str = "") -> list[dict[str, Any]]:
    """The scheduler's own job list: one entry for each job or array element that ever was.

    With ``mentioning`` only those in whose script that text is.
    """
    return state_of(request).scheduler.job_list(mentioning)


async def get_objects(request: Request) -> dict[str, Any]:
    """Objects with size and SHA-256 computed from disk, and uploads that are still open."""
    return await asyncio.to_thread(state_of(request).store.listing)


def get_requests(request: Request, since: int = 0) -> list[dict[str, Any]]:
    """The last requests (none of ``/control``), after the one numbered ``since``."""
    return state_of(request).requests.since(since)


def get_faults(request: Request) -> list[dict[str, Any]]:
    """The faults in force and how often each was used."""
    return state_of(request).faults.active()


async def post_fault(request: Request) -> dict[str, Any] | JSONResponse:
    """Put a fault in force; see `faults.Fault` for its fields (``match`` may hold method and path_regex)."""
    try:
        fault = state_of(request).faults.add(await request.json())
    except (ValueError, TypeError, AttributeError) as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    return {"id": fault.id}


def delete_faults(request: Request) -> None:
    """End all faults; jobs that one of them holds back go on."""
    state_of(request).faults.clear()
    state_of(request).release_holds()


def delete_holds(request: Request) -> None:
    """Let the jobs go on that a fault holds back; the faults stay."""
    state_of(request).release_holds()


async def post_token(request: Request) -> dict[str, str]:
    """A token with chosen claims (``claims``), life (``ttl``, seconds) or key id (``key_id``)."""
    wish = await request.json()
    minted = state_of(request).tokens.mint(
        wish.get("claims"), ttl=wish.get("ttl"), key_id=wish.get("key_id", "local-1")
    )
    return {"access_token": minted}


def get_secrets(request: Request) -> dict[str, list[str]]:
    """The tokens and the signatures of presigned URLs made last, for tests that look whether one leaked."""
    state = state_of(request)
    return {"tokens": list(state.tokens.minted), "signatures": list(state.presigner.signatures)}


def delete_tokens(request: Request) -> None:
    """Refuse every token there is, as a server does that lost its memory or changed its key."""
    state_of(request).tokens.revoke_all()


async def put_token_life(request: Request) -> None:
    """Let new tokens end after ``seconds``; the token endpoint goes on to promise the configured life."""
    state_of(request).tokens.ttl = (await request.json())["seconds"]
