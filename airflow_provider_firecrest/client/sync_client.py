"""The blocking driver, over requests: what a worker uses.

Knows how to run a flow; everything FirecREST-specific stands in the flows.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, TypeVar

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from tenacity import Retrying

from . import retry
from .auth import TokenRequest
from .calls import Calls
from .detect import Api, after_page, detect, explained
from .driver import Driver, causes, lost_answer, no_token_server, not_sent, tls_problem
from .errors import (
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    NotFirecrestError,
)
from .flow import Flow, Kind, Request, Response, Sleep
from .settings import Settings

T = TypeVar("T")


class _NoAuth(AuthBase):
    """Keeps requests from adding a login out of ~/.netrc; ours stands in the headers."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class FirecrestClient(Driver, Calls):
    """A FirecREST, call by call; safe to share among threads.

    :param settings: the connection.

    Example::

        with FirecrestClient(settings) as client:
            job_id = client.submit_job("#!/bin/bash -l\\nhostname\\n", working_dir="/scratch/me")
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._local = threading.local()
        # Weak: the session of a thread that ended closes itself, whether or not anybody closes the client.
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._sessions_lock = threading.Lock()
        self._places = threading.BoundedSemaphore(settings.max_concurrent_requests)

    def __enter__(self) -> FirecrestClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept alive."""
        with self._sessions_lock:
            sessions = list(self._sessions)
            self._sessions.clear()
        for session in sessions:
            session.close()

    @property
    def api(self) -> Api:
        """The flows of the generation this connection speaks;

        the server is asked when the settings do not say.
        """
        if self._api is None:
            self._api = self.run(detect(self.settings))
        return self._api

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its result.

        :param flow: a flow of this client's ``api``, or one of your own that yields requests.
        :returns: what the flow returns.
        :raises FirecrestError: what the flow lets pass.
        """
        try:
            step = next(flow)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    step = flow.send(None)
                    continue
                try:
                    response = self.send(step)
                except FirecrestError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _call(self, name: str, doc: str | None) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                result = self.run(self._flow(self.api, name)(*args, **kwargs))
            except FirecrestError as error:
                if not self._doubtful(error):
                    raise
                raise self.run(explained(self.settings, error)) from None
            self._answered = True
            return result

        call.__name__, call.__doc__ = name, doc
        return call

    def send(self, request: Request) -> Response:
        """Send one request, with token, pace, retries and time limit.

        :raises FirecrestError: anything but success, once repeating it is of no use any more.
        """
        for attempt in Retrying(**retry.policy(request, budget=self.settings.retry_budget), sleep=time.sleep):
            with attempt:
                try:
                    return self._sent(request)
                except FirecrestError as error:
                    error.repeated = attempt.retry_state.attempt_number > 1
                    raise
        raise AssertionError("tenacity ends by a result or an exception")

    def _sent(self, request: Request) -> Response:
        try:
            return self._authorised(request)
        except NotFirecrestError as error:
            if request.kind is not Kind.CREATE:
                raise
            raise self.run(after_page(self.settings, error)) from None

    def _authorised(self, request: Request) -> Response:
        """Send once; after a 401 once more with a new token, since the server's clock or its memory may
        differ.
        """
        token = self._token()
        try:
            return self._once(request, token)
        except AuthenticationError:
            if not self._renewable():
                raise
        return self._once(request, self._token(rejected=token))

    def _token(self, rejected: str | None = None) -> str | None:
        if not self._renewable():
            return None
        token = self._tokens.current(rejected)
        if token is not None:
            return token
        with self._tokens.renewing():
            # Somebody else may have renewed it while we waited.
            token = self._tokens.current(rejected)
            if token is not None:
                return token
            question = self.settings.auth.request()
            if question is None:
                return self._tokens.store(self.settings.auth.fetch())
            return self._tokens.store(self.settings.auth.accept(self._ask_token(question)))

    def _ask_token(self, question: TokenRequest) -> Response:
        try:
            answer = self._session().post(
                question.url,
                data=dict(question.form),
                auth=_basic(question) or _NoAuth(),
                headers={"Accept": "application/json"},
                timeout=self.settings.timeout,
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.exceptions.RequestException as error:
            if problem := tls_problem(error):
                raise ConfigurationError(f"auth_url: {problem}.") from None
            if isinstance(error, ValueError):
                raise ConfigurationError("auth_url: nothing can be sent to this address.") from None
            raise no_token_server(question, _reason(error)) from None
        return _response(answer)

    def _once(self, request: Request, token: str | None) -> Response:
        with self._places:
            wait = self._reserve(request)
            if wait:
                time.sleep(wait)
            started = time.monotonic()
            response = self._transport(request, token)
        return self._checked(request, response, time.monotonic() - started)

    def _transport(self, request: Request, token: str | None) -> Response:
        stream = request.upload.open() if request.upload else None
        timeout = request.timeout or self.settings.timeout
        try:
            answer = self._session().request(
                request.method,
                self.base_url + request.path,
                params=request.query(),
                json=request.json,
                data=dict(request.form) if request.form is not None else None,
                files=_files(request, stream),
                headers=self._headers(token, request),
                auth=_NoAuth(),
                timeout=(min(timeout, 10.0), timeout),
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.exceptions.ConnectTimeout:
            raise not_sent(self.base_url, request, "no connection within the time limit") from None
        except requests.exceptions.ConnectionError as error:
            raise _connection_error(self.base_url, request, error) from None
        except requests.exceptions.Timeout:
            raise lost_answer(request, f"nothing within {timeout:.0f} s") from None
        except requests.exceptions.RequestException as error:
            if isinstance(error, ValueError):
                raise ConfigurationError("host: nothing can be sent to this address.") from None
            raise lost_answer(request, _reason(error)) from None
        finally:
            if stream is not None:
                stream.close()
        return _response(answer)

    def _session(self) -> requests.Session:
        """Return this thread's session: requests does not promise that one may be shared."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            with self._sessions_lock:
                self._sessions.add(session)
        return session


def _files(request: Request, stream: IO[bytes] | None) -> dict[str, tuple[str, IO[bytes]]] | None:
    if request.upload is None or stream is None:
        return None
    # The server takes a backslash before another character for an escape; httpx writes it twice, requests
    # does not.
    return {request.upload.field: (request.upload.filename.replace("\\", "\\\\"), stream)}


def _basic(question: TokenRequest) -> HTTPBasicAuth | None:
    # As bytes: requests would encode text as Latin-1, and fail where httpx does not.
    return HTTPBasicAuth(*(each.encode() for each in question.basic)) if question.basic else None


def _connection_error(
    base_url: str, request: Request, error: requests.exceptions.ConnectionError
) -> FirecrestError:
    """Tell a connection that never came about from one that broke: only the first surely changed nothing."""
    if problem := tls_problem(error):
        return ConfigurationError(f"host: {problem}.")
    cause: Any = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    if type(cause).__name__ in (
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ProxyError",
    ):
        return not_sent(base_url, request, _reason(error))
    return lost_answer(request, "the connection broke")


def _reason(error: BaseException) -> str:
    """Name a transport error without its text, which holds URLs; the system's own words are safe."""
    systems_words = (
        each.strerror
        for each in causes(error)
        if isinstance(each, OSError) and not isinstance(each, requests.exceptions.RequestException)
    )
    reason = next((words for words in systems_words if words), type(error).__name__)
    through_proxy = isinstance(error, requests.exceptions.ProxyError)
    return f"by the proxy that the environment names: {reason}" if through_proxy else reason


def _response(answer: requests.Response) -> Response:
    headers = {key.lower(): value for key, value in answer.headers.items()}
    return Response(answer.status_code, headers, answer.content)
