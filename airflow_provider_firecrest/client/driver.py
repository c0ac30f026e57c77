"""What both drivers have in common: settings, headers, errors of the wire and the log line of a call."""

from __future__ import annotations

import logging
import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from .auth import TokenRequest
from .detect import Api, known_api
from .errors import (
    AmbiguousError,
    AuthenticationError,
    ConfigurationError,
    FirecrestError,
    InvalidRequestError,
    NotFirecrestError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    UnavailableError,
)
from .flow import Flow, Kind, Request, Response
from .pages import not_firecrest
from .rate import shared_pacer
from .retry import server_time
from .settings import Settings
from .tokens import shared_cache
from .v2 import V2

logger = logging.getLogger("airflow_provider_firecrest.client")


def _user_agent() -> str:
    try:
        return f"airflow-provider-firecrest/{version('airflow-provider-firecrest')}"
    except PackageNotFoundError:
        return "airflow-provider-firecrest"


class Driver:
    """State of one client; knows the wire, but not how bytes are moved over it.

    :param settings: the connection.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._verify = ca_bundle(settings.verify)
        self._api = known_api(settings)
        # Whether a call was ever understood: then an answer that is not is no sign of the wrong generation.
        self._answered = False
        self._clock_ahead = 0.0
        self._tokens = shared_cache(settings.auth)
        self._pacer = shared_pacer(
            (settings.base_url, settings.auth.identity()), settings.max_requests_per_second
        )
        self._agent = _user_agent()

    @property
    def base_url(self) -> str:
        """The connection's base URL, without a slash at its end."""
        return self.settings.base_url

    @property
    def system(self) -> str | None:
        """The connection's default system."""
        return self.settings.system

    @property
    def account(self) -> str | None:
        """The connection's default Slurm account."""
        return self.settings.account

    def server_time(self, moment: float) -> float:
        """Return a moment of this machine's clock as the server's clock shows it.

        The `Date` of its last answer tells how far they are apart; before the first one they count as equal.

        :param moment: seconds since the epoch.
        """
        return moment - self._clock_ahead

    def _headers(self, token: str | None, request: Request) -> dict[str, str]:
        # The ids must be UUIDs, or the server answers 400 with an empty body.
        headers = {"Accept": "application/json", "User-Agent": self._agent, "X-Request-ID": str(uuid.uuid4())}
        headers.update(request.headers)
        static = self.settings.auth.static_headers()
        return {**headers, **(static if static is not None else {"Authorization": f"Bearer {token}"})}

    @staticmethod
    def _flow(api: Api, name: str) -> Callable[..., Flow[Any]]:
        flow = getattr(api, name, None)
        if flow is None:
            raise InvalidRequestError(f"FirecREST v{api.generation} has no call {name!r}.")
        return cast("Callable[..., Flow[Any]]", flow)

    def _renewable(self) -> bool:
        return self.settings.auth.static_headers() is None

    def _reserve(self, request: Request) -> float:
        """Return the seconds to wait before this request may start.

        :raises RateLimitError: the server asked all of us for a pause that is longer than a call may last.
            Who waits for jobs sits it out where a deadline and a kill are heeded.
        """
        pause = self._pacer.paused_for()
        if pause > self.settings.retry_budget:
            raise RateLimitError(
                f"The server asked for a pause; {pause:.0f} s of it are left. Nothing was sent.",
                method=request.method,
                path=request.path,
                retry_after=pause,
            )
        return self._pacer.reserve()

    def _doubtful(self, error: FirecrestError) -> bool:
        """Say whether an error may mean that the settings name the wrong generation."""
        if self._answered or self.settings.api_version == "auto":
            return False
        if isinstance(error, InvalidRequestError):
            return error.status in (400, 404, 405)
        redirected = error.status is not None and 300 <= error.status < 400
        told = redirected or isinstance(error, NotFirecrestError)
        return isinstance(error, ProtocolError) and not told

    def _checked(self, request: Request, response: Response, seconds: float) -> Response:
        """Return a success; raise what anything else stands for."""
        logger.debug("%s %s -> %d (%.2f s)", request.method, request.path, response.status, seconds)
        told = server_time(response.headers)
        if told is not None:
            self._clock_ahead = time.time() - told
        error: FirecrestError | None = not_firecrest(self.base_url, request, response)
        error = error or (self._api or V2).error_of(request, response)
        if error is None:
            return response
        if error.status == 429:
            self._pacer.pause(error.retry_after if error.retry_after is not None else 1.0)
        if isinstance(error, AuthenticationError) and not self._renewable():
            error.message += " The connection's token or key cannot be renewed: put a new one into it."
        raise error


def ca_bundle(verify: bool | str) -> bool | str:
    """Return how certificates are checked, the same for both drivers: requests and httpx look at different
    environment variables, and requests prefers them to what it is told.

    :raises ConfigurationError: the bundle is not there, or is none.
    """
    where, bundle = "verify", verify
    if verify is True:
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
        where = next((name for name in names if os.environ.get(name)), where)
        bundle = os.environ.get(where) or True
    if isinstance(bundle, str):
        _check_bundle(bundle, where if where == "verify" else f"{where} in the environment")
    return bundle


def _check_bundle(bundle: str, where: str) -> None:
    """Name a bundle that cannot be used: the libraries speak of a connection that broke, or raise OSError."""
    if not Path(bundle).exists():
        raise ConfigurationError(f"{where}: there is no CA bundle {bundle}.")
    if Path(bundle).is_dir():
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
    except OSError:
        raise ConfigurationError(
            f"{where}: no certificate can be read from the CA bundle {bundle}."
        ) from None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all it was made of; HTTP libraries wrap the one that matters several times."""
    queue: list[Any] = [error]
    seen: set[int] = set()
    while queue:
        each = queue.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            queue += [getattr(each, "reason", None), *each.args, each.__cause__, each.__context__]


def tls_problem(error: BaseException) -> str | None:
    """Say what is wrong with the server's TLS, when it is not just a connection that broke."""
    for each in causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            why = each.verify_message.rstrip(".")
            return f"the server's certificate is not accepted: {why}; ca_bundle names whom to trust"
        if isinstance(each, ssl.SSLError) and each.reason in _NO_TLS:
            return "what answers there does not speak TLS; an address without TLS begins with http://"
    return None


_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def lost_answer(request: Request, reason: str) -> FirecrestError:
    """Return the error for a request that may have arrived: sent, but not answered."""
    if request.kind is Kind.CREATE:
        return AmbiguousError(
            f"No answer from FirecREST ({reason}); what was asked may have happened.",
            method=request.method,
            path=request.path,
        )
    return RequestTimeoutError(
        f"No answer from FirecREST ({reason}).", method=request.method, path=request.path
    )


def not_sent(base_url: str, request: Request, reason: str) -> FirecrestError:
    """Return the error for a request that never arrived."""
    host = urlsplit(base_url).netloc
    return UnavailableError(
        f"FirecREST cannot be reached at {host} ({reason}).", method=request.method, path=request.path
    )


def no_token_server(question: TokenRequest, reason: str) -> FirecrestError:
    """Return the error for a question for a token that never arrived or was not answered."""
    host = urlsplit(question.url).netloc
    return UnavailableError(f"The token server (auth_url) cannot be reached at {host} ({reason}).")
