"""Bytes that are lost, late or changed on their way.

Knows: ASGI messages. Must not know: what the bytes mean, when to break them (`faults`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_firecrest.local.faults import Fault


async def answer_broken(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, server_send: Send, fault: Fault
) -> None:
    """Let ``app`` answer, and spoil what is sent or what it is given."""
    if fault.action == "bit_flip_upload":
        await app(scope, _with_flipped_bit(receive), send)
        return
    start, body = await collected(app, scope, receive)
    half = len(body) // 2
    if fault.action == "bit_flip":
        body = body[:half] + bytes([byte ^ 1 for byte in body[half : half + 1]]) + body[half + 1 :]
        half = 0
    await send(start)
    if half:
        await send({"type": "http.response.body", "body": body[:half], "more_body": True})
    if fault.action == "truncate":
        await close_connection(receive, server_send, flush=True)
        return
    if fault.action == "stall":
        await asyncio.sleep(fault.delay_s)
    await send({"type": "http.response.body", "body": body[half:]})


async def collected(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """The beginning of an answer and all of its body, kept from who asked."""
    start: Message = {}
    body = bytearray()

    async def keep(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
        else:
            body.extend(message.get("body", b""))

    await app(scope, receive, keep)
    return start, bytes(body)


async def close_connection(receive: Receive, server_send: Send, *, flush: bool = False) -> None:
    """Cut the connection, after what was sent already or (``flush`` not given) without it.

    ASGI has no word for that, hence uvicorn's transport.
    """
    cycle: Any = getattr(server_send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise RuntimeError("this server does not let a fault close its connection")
    if flush:
        transport.close()
    else:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _with_flipped_bit(receive: Receive) -> Receive:
    done = False

    async def flipping() -> Message:
        nonlocal done
        message = await receive()
        body = message.get("body", b"")
        if done or not body:
            return message
        done = True
        return {**message, "body": bytes([body[0] ^ 1]) + body[1:]}

    return flipping
