"""Around every exchange: the server's headers, the fault switch, the request log.

Knows: ASGI. Must not know: endpoints.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_firecrest.local.broken_wire import answer_broken, close_connection
from airflow_provider_firecrest.local.disk import ROOM
from airflow_provider_firecrest.local.faults import (
    DISK_ACTIONS,
    EXCHANGE_ACTIONS,
    WIRE_ACTIONS,
    Fault,
    FaultSwitch,
)
from airflow_provider_firecrest.local.requests_log import RequestLog

_ID_HEADERS = ("X-Request-ID", "X-Correlation-ID")


class FirecrestHeaders:
    """The headers every v2 answer carries, the check of the ids a client sends, and lower-case paths.

    An id that is not a UUID is answered with 400 and nothing else: no body, not even our own headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope)
        ids = {name: sent.get(name) or uuid.uuid4().hex for name in _ID_HEADERS}
        if not all(_is_uuid(value) for value in ids.values()):
            await _send_answer(send, 400, {}, b"")
            return
        always = {"F7T-Timestamp": str(time.time()), "F7T-AppVersion": "2.x.x"}
        inner = dict(scope, path=scope["path"].lower(), state=dict(scope.get("state") or {}))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The real server's answers to exceptions it did not foresee have lost the ids.
                extra = always if inner["state"].get("unforeseen") else {**always, **ids}
                headers = MutableHeaders(scope=message)
                for name, value in extra.items():
                    headers[name] = value
            await send(message)

        await self._app(inner, receive, send_with_headers)


class Observer:
    """Writes the request log and makes the faults happen; outermost, as it needs uvicorn's own ``send``."""

    def __init__(self, app: ASGIApp, faults: FaultSwitch, log: RequestLog) -> None:
        self._app = app
        self._faults = faults
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/control/"):
            await self._app(scope, receive, send)
            return
        began, clock = time.time(), time.perf_counter()
        status: list[int | None] = [None]

        async def observed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self._exchange(scope, receive, observed_send, send)
        finally:
            elapsed = (time.perf_counter() - clock) * 1000
            query = scope["query_string"]
            self._log.add(scope["method"], scope["path"], status[0], began, elapsed, query)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send, server_send: Send) -> None:
        actions = EXCHANGE_ACTIONS + WIRE_ACTIONS + DISK_ACTIONS
        fault = self._faults.take(actions, scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.action in DISK_ACTIONS:
            # Every task and thread that this request starts inherits it.
            before = ROOM.set(int(fault.body or 0))
            await self._app(scope, receive, send)
            ROOM.reset(before)
        elif fault.action in WIRE_ACTIONS:
            await answer_broken(self._app, scope, receive, send, server_send, fault)
        elif fault.action == "delay":
            await asyncio.sleep(fault.delay_s)
            await self._app(scope, receive, send)
        elif fault.action == "status":
            await _send_fault(send, fault)
        else:
            await self._act_or_not(scope, receive, send, server_send, fault)

    async def _act_or_not(
        self, scope: Scope, receive: Receive, send: Send, server_send: Send, fault: Fault
    ) -> None:
        """What was asked for happens or not, and who asked does not learn it."""
        if fault.action != "drop":
            await self._app(scope, receive, _swallow)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.action == "status_after_acting":
            await _send_fault(send, fault)
        else:
            await close_connection(receive, server_send)


async def _send_fault(send: Send, fault: Fault) -> None:
    is_text = isinstance(fault.body, str)
    body = b"" if fault.body is None else (fault.body if is_text else json.dumps(fault.body)).encode()
    headers = {"content-type": "text/plain" if is_text else "application/json", **fault.headers}
    await _send_answer(send, fault.status, headers, body)


async def _send_answer(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _swallow(message: Message) -> None:
    """Stands in for ``send`` when an answer is to be lost."""


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
