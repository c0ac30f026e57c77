"""The asynchronous driver, over httpx: what the triggerer uses.

Knows how to run a flow on an event loop; everything FirecREST-specific stands in the flows. httpx is loaded
by
`airflow.sdk` anyway.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from tenacity import AsyncRetrying

from . import retry
from .auth import TokenRequest
from .calls import Calls
from .detect import Api, after_page, detect, explained
from .driver import Driver, lost_answer, no_token_server, not_sent, tls_problem
from .errors import (
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    NotFirecrestError,
)
from .flow import Flow, Kind, Request, Response, Sleep
from .settings import Settings

T = TypeVar("T")

# One INFO line per request would fill every task's log; ours are at DEBUG.
logging.getLogger("httpx").setLevel(max(logging.getLogger("httpx").level, logging.WARNING))


class _NoHeaders(logging.Filter):
    """httpcore writes every answer's headers at DEBUG, and FirecREST's 401 answers echo the token in one."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "headers" in str(record.msg):
            record.msg, record.args = str(record.msg).split(" return_value=", 1)[0], ()
        return True


_no_headers = _NoHeaders()
for _name in ("httpcore.http11", "httpcore.http2", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_no_headers)


class AsyncFirecrestClient(Driver, Calls):
    """A FirecREST, call by call, awaitable; belongs to the event loop it is first used on.

    :param settings: the connection.

    Example::

        async with AsyncFirecrestClient(settings) as client:
            job = await client.get_job("123")
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._http = httpx.AsyncClient(
            verify=_context(self._verify), follow_redirects=False, timeout=settings.timeout
        )
        self._places = asyncio.Semaphore(settings.max_concurrent_requests)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> AsyncFirecrestClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are kept alive."""
        await self._http.aclose()

    async def get_api(self) -> Api:
        """Return the flows of the generation this connection speaks;

        the server is asked when the settings do not say.
        """
        if self._api is None:
            self._api = await self.run(detect(self.settings))
        return self._api

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its result.

        :param flow: a flow of :meth:`get_api`, or one of your own that yields requests.
        :returns: what the flow returns.
        :raises FirecrestError: what the flow lets pass.
        """
        try:
            step = next(flow)
            while True:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    step = flow.send(None)
                    continue
                try:
                    response = await self.send(step)
                except FirecrestError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _call(self, name: str, doc: str | None) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            try:
                result = await self.run(self._flow(await self.get_api(), name)(*args, **kwargs))
            except FirecrestError as error:
                if not self._doubtful(error):
                    raise
                raise await self.run(explained(self.settings, error)) from None
            self._answered = True
            return result

        call.__name__, call.__doc__ = name, doc
        return call

    async def send(self, request: Request) -> Response:
        """Send one request, with token, pace, retries and time limit.

        :raises FirecrestError: anything but success, once repeating it is of no use any more.
        :raises RuntimeError: the client is used on a second event loop; its connections belong to the first.
        """
        self._check_loop()
        async for attempt in AsyncRetrying(
            **retry.policy(request, budget=self.settings.retry_budget), sleep=asyncio.sleep
        ):
            with attempt:
                try:
                    return await self._sent(request)
                except FirecrestError as error:
                    error.repeated = attempt.retry_state.attempt_number > 1
                    raise
        raise AssertionError("tenacity ends by a result or an exception")

    async def _sent(self, request: Request) -> Response:
        try:
            return await self._authorised(request)
        except NotFirecrestError as error:
            if request.kind is not Kind.CREATE:
                raise
            raise await self.run(after_page(self.settings, error)) from None

    async def _authorised(self, request: Request) -> Response:
        """Send once; after a 401 once more with a new token, since the server's clock or its memory may
        differ.
        """
        token = await self._token()
        try:
            return await self._once(request, token)
        except AuthenticationError:
            if not self._renewable():
                raise
        return await self._once(request, await self._token(rejected=token))

    def _check_loop(self) -> None:
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise RuntimeError("This AsyncFirecrestClient belongs to another event loop; make one for each.")

    async def _token(self, rejected: str | None = None) -> str | None:
        if not self._renewable():
            return None
        token = self._tokens.current(rejected)
        if token is not None:
            return token
        async with self._tokens.renewing_async():
            # Somebody else may have renewed it while we waited.
            token = self._tokens.current(rejected)
            if token is not None:
                return token
            question = self.settings.auth.request()
            if question is None:
                return self._tokens.store(await asyncio.to_thread(self.settings.auth.fetch))
            return self._tokens.store(self.settings.auth.accept(await self._ask_token(question)))

    async def _ask_token(self, question: TokenRequest) -> Response:
        try:
            answer = await self._http.post(
                question.url,
                data=dict(question.form),
                auth=question.basic or httpx.USE_CLIENT_DEFAULT,
                headers={"Accept": "application/json"},
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise ConfigurationError("auth_url: nothing can be sent to this address.") from None
        except httpx.HTTPError as error:
            if problem := tls_problem(error):
                raise ConfigurationError(f"auth_url: {problem}.") from None
            raise no_token_server(question, type(error).__name__) from None
        return _response(answer)

    async def _once(self, request: Request, token: str | None) -> Response:
        async with self._places:
            wait = self._reserve(request)
            if wait:
                await asyncio.sleep(wait)
            started = time.monotonic()
            response = await self._transport(request, token)
        return self._checked(request, response, time.monotonic() - started)

    async def _transport(self, request: Request, token: str | None) -> Response:
        stream = await asyncio.to_thread(request.upload.open) if request.upload else None
        timeout = request.timeout or self.settings.timeout
        try:
            answer = await self._http.request(
                request.method,
                self.base_url + request.path,
                params=request.query() or None,
                json=request.json,
                data=dict(request.form) if request.form is not None else None,
                files={request.upload.field: (request.upload.filename, stream)}
                if request.upload and stream
                else None,
                headers=self._headers(token, request),
                timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise ConfigurationError("host: nothing can be sent to this address.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            if problem := tls_problem(error):
                raise ConfigurationError(f"host: {problem}.") from None
            raise not_sent(self.base_url, request, type(error).__name__) from None
        except httpx.TimeoutException:
            raise lost_answer(request, f"nothing within {timeout:.0f} s") from None
        except httpx.HTTPError as error:
            raise lost_answer(request, type(error).__name__) from None
        finally:
            if stream is not None:
                stream.close()
        return _response(answer)


def _context(verify: bool | str) -> bool | ssl.SSLContext:
    if isinstance(verify, bool):
        return verify
    try:
        if Path(verify).is_dir():
            return ssl.create_default_context(capath=verify)
        return ssl.create_default_context(cafile=verify)
    except OSError as error:
        raise ConfigurationError(f"verify: {verify} is no CA bundle ({error.strerror}).") from None


def _response(answer: httpx.Response) -> Response:
    return Response(answer.status_code, dict(answer.headers.items()), answer.content)
