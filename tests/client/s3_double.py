"""A small S3 for tests: presigned multipart uploads and ranged downloads over real sockets, with faults on
demand.

Written from S3's documentation and from recorded answers; it shares no code with the client or with the local
FirecREST. What it holds can be read in `objects`: the digests of these are what tests compare with.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SIGNATURE = "5ec2e75ec2e75ec2e75ec2e7"
UPLOAD_ID = "upl0ad5ec2e7"

Fault = Callable[["Handler"], bool]
"""Does something to a request; True when the request has been dealt with."""


@dataclass
class Stored:
    body: bytes
    etag: str


@dataclass
class Seen:
    operation: str
    part: int | None
    headers: dict[str, str]
    port: int


@dataclass
class _Injected:
    operation: str
    fault: Fault
    part: int | None
    times: int | None


@dataclass
class Upload:
    """What a FirecREST would hand out for one upload."""

    key: str
    part_urls: list[str]
    complete_url: str
    parts: dict[int, Stored] = field(default_factory=dict)


class S3Double:
    """A server on a free port of 127.0.0.1; a context manager.

    :param etags: False: part ETags are opaque, and the server does not hash (for measuring).
    """

    def __init__(self, *, etags: bool = True) -> None:
        self.etags = etags
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._faults: list[_Injected] = []
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.double = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> S3Double:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def start_upload(self, key: str, parts: int, *, signed: str = "20991231T000000Z") -> Upload:
        upload_id = f"{UPLOAD_ID}{len(self.uploads)}"
        tail = f"X-Amz-Date={signed}&X-Amz-Expires=3600&X-Amz-Signature={SIGNATURE}"
        base = f"{self.address}/bucket/{key}?uploadId={upload_id}"
        upload = Upload(key, [f"{base}&partNumber={n}&{tail}" for n in range(1, parts + 1)], f"{base}&{tail}")
        self.uploads[upload_id] = upload
        return upload

    def put(self, key: str, body: bytes, etag: str | None = None) -> str:
        """Store an object and return its presigned GET URL."""
        self.objects[key] = Stored(body, etag or f'"{hashlib.md5(body).hexdigest()}-1"')
        return self.download_url(key)

    def download_url(self, key: str) -> str:
        query = f"X-Amz-Date=20991231T000000Z&X-Amz-Expires=3600&X-Amz-Signature={SIGNATURE}"
        return f"{self.address}/bucket/{key}?{query}"

    def inject(self, operation: str, fault: Fault, *, part: int | None = None, times: int | None = 1) -> None:
        """Have ``fault`` happen to the next ``times`` requests (None: all) of "put", "complete" or "get".

        :param part: only to this part; for "get" the first byte of the range asked for.
        """
        self._faults.append(_Injected(operation, fault, part, times))

    def count(self, operation: str, part: int | None = None) -> int:
        with self.lock:
            return sum(each.operation == operation and part in (None, each.part) for each in self.seen)

    def take_fault(self, operation: str, part: int | None) -> Fault | None:
        with self.lock:
            for each in self._faults:
                if each.operation != operation or each.part not in (None, part) or each.times == 0:
                    continue
                if each.times is not None:
                    each.times -= 1
                return each.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    double: S3Double

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that break off are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def setup(self) -> None:
        self.connection = self.request
        super().setup()

    @property
    def double(self) -> S3Double:
        return self.server.double

    def do_PUT(self) -> None:
        self._handle("put", self.normal_put)

    def do_POST(self) -> None:
        self._handle("complete", self.normal_complete)

    def do_GET(self) -> None:
        self._handle("get", self.normal_get)

    def _handle(self, operation: str, normal: Callable[[], None]) -> None:
        pieces = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(pieces.query).items()}
        self.key = pieces.path.removeprefix("/bucket/")
        self.upload_id = query.get("uploadId", "")
        first = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        number = first[1] if first else query.get("partNumber")
        self.part = None if number is None else int(number)
        self.body: bytes | None = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.double.lock:
            self.double.seen.append(Seen(operation, self.part, headers, self.client_address[1]))
        fault = self.double.take_fault(operation, self.part)
        if fault is not None and fault(self):
            return
        if "authorization" in headers or "cookie" in headers:
            self.error(400, "InvalidArgument", "Only one auth mechanism allowed")
        elif query.get("X-Amz-Signature") != SIGNATURE:
            self.error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
        else:
            normal()

    # What S3 does

    def normal_put(self) -> None:
        upload = self.double.uploads.get(self.upload_id)
        body = self.receive()
        if upload is None or self.part is None:
            self.error(404, "NoSuchUpload", "The specified upload does not exist.")
            return
        self.store(upload, self.part, body)
        self.reply(200, b"", {"ETag": upload.parts[self.part].etag})

    def store(self, upload: Upload, part: int, body: bytes) -> None:
        etag = hashlib.md5(body).hexdigest() if self.double.etags else f"opaque-{part}"
        upload.parts[part] = Stored(body, f'"{etag}"')

    def normal_complete(self) -> None:
        self.reply(*self.complete())

    def complete(self) -> tuple[int, bytes]:
        asked = ElementTree.fromstring(self.receive())
        upload = self.double.uploads.get(self.upload_id)
        if upload is None:
            return 404, error_document("NoSuchUpload", "The specified upload does not exist.")
        space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
        wanted = [
            (int(each.findtext(f"{space}PartNumber") or 0), each.findtext(f"{space}ETag")) for each in asked
        ]
        if [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
            return 400, error_document("InvalidPartOrder", "The list of parts was not in ascending order.")
        parts = [upload.parts.get(number) for number, _ in wanted]
        if not parts or any(
            part is None or part.etag != etag for part, (_, etag) in zip(parts, wanted, strict=True)
        ):
            return 400, error_document(
                "InvalidPart", "One or more of the specified parts could not be found."
            )
        found = [part for part in parts if part is not None]
        digest = (
            hashlib.md5(b"".join(hashlib.md5(part.body).digest() for part in found))
            if self.double.etags
            else None
        )
        etag = f'"{digest.hexdigest()}-{len(found)}"' if digest else '"opaque"'
        self.double.objects[upload.key] = Stored(b"".join(part.body for part in found), etag)
        del self.double.uploads[self.upload_id]
        return 200, result_document(upload.key, etag)

    def normal_get(self) -> None:
        stored = self.double.objects.get(self.key)
        if stored is None:
            self.error(404, "NoSuchKey", "The specified key does not exist.")
            return
        if self.headers.get("If-Match", stored.etag) != stored.etag:
            self.error(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold."
            )
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            self.reply(200, stored.body, {"ETag": stored.etag})
            return
        start, last = int(asked[1]), min(int(asked[2]), len(stored.body) - 1)
        if start > last:
            self.error(416, "InvalidRange", "The requested range is not satisfiable")
            return
        content_range = f"bytes {start}-{last}/{len(stored.body)}"
        body = memoryview(stored.body)[start : last + 1]
        self.reply(206, body, {"ETag": stored.etag, "Content-Range": content_range})

    # What faults are made of

    def receive(self, limit: int | None = None) -> bytes:
        """Read the request's body, or its first ``limit`` bytes."""
        if self.body is not None:
            return self.body
        length = int(self.headers.get("Content-Length", 0))
        buffer = bytearray(length if limit is None else min(limit, length))
        view, got = memoryview(buffer), 0
        while got < len(buffer):
            count = self.rfile.readinto(view[got:])  # type: ignore[attr-defined]
            if not count:
                self.close_connection = True
                raise ConnectionError("the client broke off")
            got += count
        body = bytes(buffer)
        if limit is None:
            self.body = body
        return body

    def reply(self, status: int, body: bytes | memoryview, headers: dict[str, str] | None = None) -> None:
        self.head(status, len(body), headers)
        self.wfile.write(body)

    def head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self.receive()
        self.reply(status, error_document(code, message), headers)

    def hang(self) -> None:
        """Do nothing until the test is over."""
        self.double.closing.wait(30)
        self.close_connection = True

    def reset(self) -> None:
        """End the connection with RST."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.request.close()


def error_document(code: str, message: str) -> bytes:
    """As recorded; the real store also repeats the credential and the signature, in elements of their own."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
        f"<AWSAccessKeyId>storage_access_key</AWSAccessKeyId><SignatureProvided>{SIGNATURE}</SignatureProvided></Error>"
    ).encode()


def result_document(key: str, etag: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<CompleteMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Bucket>bucket</Bucket><Key>{key}</Key><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
    ).encode()
