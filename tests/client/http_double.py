"""A small real HTTP server whose next answers a test decides, TLS included; it writes down what it was asked.

Knows sockets. Must not know FirecREST: a body is what the test gives it.
"""

from __future__ import annotations

import contextlib
import datetime
import email
import http.server
import ipaddress
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    began: float
    under_way: int
    """Requests being answered when it came, itself included."""

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def file(self) -> tuple[str, bytes]:
        """Name and content of the only part of a multipart body."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        (part,) = email.message_from_bytes(head + self.body).get_payload()  # type: ignore[misc]
        return str(part.get_filename()), part.get_payload(decode=True)  # type: ignore[union-attr]


Answer = Callable[["_Handler"], None]


def answer(
    body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None, *, after: float = 0.0
) -> Answer:
    """Answer with JSON, or with bytes as they are; ``after`` seconds."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}

    def act(handler: _Handler) -> None:
        if after:
            handler.double.stopping.wait(after)
        # One date is enough: the server's own, or the test's.
        (handler.send_response_only if "Date" in given else handler.send_response)(status)
        for name, value in given.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return act


def page(text: str = "<html><h1>Welcome</h1></html>", status: int = 200) -> Answer:
    """Answer with a web page."""
    return answer(text.encode(), status, {"Content-Type": "text/html"})


def chunked(body: Any) -> Answer:
    """Answer in chunks of one byte, without a length."""
    content = json.dumps(body).encode()

    def act(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for byte in content:
            handler.wfile.write(b"1\r\n%c\r\n" % byte)
        handler.wfile.write(b"0\r\n\r\n")

    return act


def lose() -> Answer:
    """Read the request, act on it for all anybody knows, and close without an answer."""

    def act(handler: _Handler) -> None:
        handler.close_connection = True

    return act


def reset() -> Answer:
    """Read the request and reset the connection."""

    def act(handler: _Handler) -> None:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.close_connection = True

    return act


def cut_short(body: bytes = b'{"systems": [') -> Answer:
    """Promise more bytes than are sent."""

    def act(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body) + 100))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True

    return act


def silence(seconds: float = 30.0) -> Answer:
    """Answer nothing until the test is over, or ``seconds`` have passed."""

    def act(handler: _Handler) -> None:
        handler.double.stopping.wait(seconds)
        handler.close_connection = True

    return act


@dataclass
class HttpDouble:
    """The server. ``answers`` are given in turn per request; when they are used up, ``otherwise`` is.

    ``routes`` goes first: the answer to a path, whatever the turn.
    """

    answers: list[Answer] = field(default_factory=list)
    routes: dict[str, Answer] = field(default_factory=dict)
    otherwise: Answer = field(default_factory=lambda: answer({}))
    asked: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: int = 0
    url: str = ""

    def next_answer(self, path: str) -> Answer:
        """Take the answer of the next request."""
        with self.lock:
            if path in self.routes:
                return self.routes[path]
            return self.answers.pop(0) if self.answers else self.otherwise

    def paths(self) -> list[str]:
        """Method and path of every request, in order."""
        return [f"{each.method} {each.path}" for each in self.asked]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 0


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: HttpDouble
    _under_way = False

    def _serve(self) -> None:
        double = self.double
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        with double.lock:
            double.under_way += 1
            double.asked.append(
                Asked(
                    self.command,
                    parts.path,
                    parse_qs(parts.query, keep_blank_values=True),
                    {name.lower(): value for name, value in self.headers.items()},
                    body,
                    time.monotonic(),
                    double.under_way,
                )
            )
        self._under_way = True
        try:
            double.next_answer(parts.path)(self)
        except OSError:
            # The client went away first: that is what some tests are about.
            self.close_connection = True
        finally:
            self._over()

    def send_response_only(self, code: int, message: str | None = None) -> None:
        # Who has the answer may ask again before this thread gets its turn.
        self._over()
        super().send_response_only(code, message)

    def _over(self) -> None:
        if self._under_way:
            self._under_way = False
            with self.double.lock:
                self.double.under_way -= 1

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off in the middle is no error here."""


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None, bound: socket.socket | None = None) -> Iterator[HttpDouble]:
    """Run a server on this machine until the block ends; on a free port unless a bound socket is given."""
    double = HttpDouble()
    handler = type("Handler", (_Handler,), {"double": double})
    server = _Server(("127.0.0.1", 0), handler, bind_and_activate=False)
    if bound is None:
        server.server_bind()
    else:
        server.socket.close()
        server.socket, server.server_address = bound, bound.getsockname()
    server.server_activate()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    double.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        double.stopping.set()
        server.shutdown()
        thread.join(10)
        # Connections that clients keep alive are not waited for.
        server.block_on_close = False
        server.server_close()


def bound_socket() -> socket.socket:
    """A socket that has a port, so that nobody else gets it, and does not listen: it refuses connections."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def refused_port() -> int:
    """A port that refuses connections as long as this process lives."""
    bound = bound_socket()
    port = int(bound.getsockname()[1])
    bound.detach()
    return port


def certificate(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A self-signed certificate for 127.0.0.1: the server's context, and the file a client may trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    bundle = directory / "server.pem"
    bundle.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = directory / "server.key"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle, private)
    return context, bundle
