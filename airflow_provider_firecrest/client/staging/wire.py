"""HTTP towards an object store: one session per transfer, whose sockets another thread can cut.

Knows requests and urllib3; knows nothing of S3's answers. Never sends a credential other than the one in the
URL: no FirecREST token, no cookie, no ~/.netrc entry (S3 answers 400 to a request that is signed twice).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .options import StagingOptions

_HEADERS = {
    # A stored `Content-Encoding: gzip` must reach the file as it is, and lengths must be those of the object.
    "Accept-Encoding": "identity",
    "User-Agent": "airflow-provider-firecrest",
}


class Wire:
    """A session for one transfer; safe to use from several threads.

    :param options: timeouts, TLS verification, number of connections.
    """

    def __init__(self, options: StagingOptions) -> None:
        self._options = options
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._is_cut = False
        self._session = requests.Session()
        # Proxies and CA bundles of the environment stay in force (trust_env); a session that has an `auth`
        # does not look into ~/.netrc, and takes no user and password out of the URL.
        self._session.auth = _no_auth
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update(_HEADERS)
        adapter = _Adapter(self._pool_classes(), options.parallel + 1)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Iterable[Any] | bytes | None = None,
        read_timeout: float | None = None,
    ) -> requests.Response:
        """Send one request and return the response with its body unread; redirects are not followed.

        :param read_timeout: seconds without a byte from the store; ``stall_timeout`` when left out.
        """
        timeout = (self._options.connect_timeout, read_timeout or self._options.stall_timeout)
        return self._session.request(
            method,
            url,
            headers=headers,
            data=data,  # anything with __iter__ and __len__ is streamed with a Content-Length
            timeout=timeout,
            # Said with each request: what only the session says gives way to REQUESTS_CA_BUNDLE.
            verify=self._options.verify,
            stream=True,
            allow_redirects=False,
        )

    def cut(self) -> None:
        """End every connection now, whatever it waits for; those made later end at once."""
        with self._lock:
            self._is_cut = True
            sockets = list(self._sockets)
        for each in sockets:
            _shut(each)

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()

    def _register(self, sock: Any) -> None:
        if not isinstance(sock, socket.socket):
            return
        with self._lock:
            self._sockets.add(sock)
            is_cut = self._is_cut
        if is_cut:
            _shut(sock)

    def _pool_classes(self) -> dict[str, type[HTTPConnectionPool]]:
        register, stall = self._register, self._options.stall_timeout

        class Plain(HTTPConnection):
            # http.client prints requests with their signature to stdout when somebody switched its debugging
            # on.
            debuglevel = 0

            def connect(self) -> None:
                super().connect()
                register(self.sock)

            def send(self, data: Any) -> None:
                _allow(self.sock, stall)
                super().send(data)

        class Secure(HTTPSConnection):
            debuglevel = 0

            def connect(self) -> None:
                super().connect()
                register(self.sock)

            def send(self, data: Any) -> None:
                _allow(self.sock, stall)
                super().send(data)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    def __init__(self, pool_classes: dict[str, type[HTTPConnectionPool]], connections: int) -> None:
        self._pool_classes = pool_classes
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        # A SOCKS proxy needs its own connection class; there only cutting is slower (a stall_timeout at
        # most).
        if not str(proxy).lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pool_classes
        return manager


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _allow(sock: Any, seconds: float) -> None:
    # urllib3 sends the body under the *connect* timeout, and sendall counts it for the whole piece: a slow
    # line would fail without ever having stalled.
    if sock is not None:
        sock.settimeout(seconds)


def _shut(sock: socket.socket) -> None:
    # Not SSLSocket.shutdown(): it drops the TLS layer first, and a thread inside send() could write plain
    # text.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
