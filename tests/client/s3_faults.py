"""Faults for `s3_double`: each is a function that does to a request what real stores and networks do."""

from __future__ import annotations

import time

from tests.client.s3_double import SIGNATURE, Fault, Handler, Stored, error_document, result_document


def answer(status: int, code: str, message: str = "Please try again.", **headers: str) -> Fault:
    def fault(handler: Handler) -> bool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.error(status, code, message, named)
        return True

    return fault


def url_expired() -> Fault:
    return answer(403, "AccessDenied", "Request has expired")


def lost_before(received: int = 1000) -> Fault:
    """The connection is reset after some bytes of the request's body."""

    def fault(handler: Handler) -> bool:
        handler.receive(received)
        handler.reset()
        return True

    return fault


def hang_before(received: int = 1000) -> Fault:
    """Nothing is read or said any more after some bytes of the request's body."""

    def fault(handler: Handler) -> bool:
        handler.receive(received)
        handler.hang()
        return True

    return fault


def lose_answer() -> Fault:
    """The store acts, and the connection is lost before it can say so."""

    def fault(handler: Handler) -> bool:
        if handler.part is None:
            handler.complete()
        handler.reset()
        return True

    return fault


def flip_a_bit() -> Fault:
    """The store receives something else than was sent."""

    def fault(handler: Handler) -> bool:
        body = bytearray(handler.receive())
        body[len(body) // 2] ^= 1
        handler.body = bytes(body)
        return False

    return fault


def etag_of_part(etag: str, **headers: str) -> Fault:
    """The part is stored as sent; its ETag and further headers are these."""

    def fault(handler: Handler) -> bool:
        upload = handler.double.uploads[handler.upload_id]
        assert handler.part is not None
        upload.parts[handler.part] = Stored(handler.receive(), etag)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.reply(200, b"", {"ETag": etag, **named})
        return True

    return fault


def no_etag() -> Fault:
    def fault(handler: Handler) -> bool:
        assert handler.part is not None
        handler.store(handler.double.uploads[handler.upload_id], handler.part, handler.receive())
        handler.reply(200, b"")
        return True

    return fault


def error_in_200(code: str, blanks: int = 0) -> Fault:
    """Completing: headers of success, blanks as a sign of life, then an error document."""

    def fault(handler: Handler) -> bool:
        handler.receive()
        _in_chunks(handler, [b" "] * blanks + [error_document(code, f"We met {code}. Please try again.")])
        return True

    return fault


def success_after_blanks(blanks: int, seconds: float) -> Fault:
    """Completing: takes its time and drips blanks meanwhile."""

    def fault(handler: Handler) -> bool:
        _, document = handler.complete()
        _in_chunks(handler, [b"\n"] * blanks + [document], seconds / blanks)
        return True

    return fault


def other_etag_in_result() -> Fault:
    """Completing: the object is made of something else than the parts sent."""

    def fault(handler: Handler) -> bool:
        handler.complete()
        handler.reply(200, result_document(handler.key, f'"{"0" * 32}-3"'))
        return True

    return fault


def page_of_a_proxy() -> Fault:
    def fault(handler: Handler) -> bool:
        handler.receive()
        handler.reply(200, b"<html><body>Welcome!<br></body></html>")
        return True

    return fault


def redirect() -> Fault:
    def fault(handler: Handler) -> bool:
        handler.error(
            307, "TemporaryRedirect", "Go elsewhere.", {"Location": handler.double.address + handler.path}
        )
        return True

    return fault


def truncate(sent: int, *, reset: bool = False) -> Fault:
    """Downloading: the head announces everything, but the body ends early."""

    def fault(handler: Handler) -> bool:
        original = handler.wfile.write
        left = sent

        def write(data: bytes | memoryview) -> int:
            nonlocal left
            if bytes(data[:5]) == b"HTTP/":
                return original(data)
            piece = data[:left]
            left -= len(piece)
            return original(piece)

        handler.wfile.write = write  # type: ignore[method-assign,assignment]
        handler.normal_get()
        handler.close_connection = True
        if reset:
            handler.reset()
        return True

    return fault


def stall_in_body(sent: int) -> Fault:
    """Downloading: the body stops and the connection stays."""

    def fault(handler: Handler) -> bool:
        truncate(sent)(handler)
        handler.hang()
        return True

    return fault


def ignore_range() -> Fault:
    def fault(handler: Handler) -> bool:
        del handler.headers["Range"]
        return False

    return fault


def ignore_range_without_length(*, chunked: bool, sent: int | None = None) -> Fault:
    """Downloading: one stream without Content-Length; ``sent`` bytes of it (None: all)."""

    def fault(handler: Handler) -> bool:
        body = handler.double.objects[handler.key].body
        if chunked:
            _in_chunks(handler, [body[:1000], body[1000:]])
            return True
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body[:sent])
        return True

    return fault


def replace_object(body: bytes, etag: str, *, keep_if_match: bool = True) -> Fault:
    """The object becomes another one just before the request is answered."""

    def fault(handler: Handler) -> bool:
        handler.double.objects[handler.key] = Stored(body, etag)
        if not keep_if_match:
            del handler.headers["If-Match"]
        return False

    return fault


def send_cookie_then_go_on() -> Fault:
    def fault(handler: Handler) -> bool:
        original = handler.end_headers

        def end_headers() -> None:
            handler.send_header("Set-Cookie", f"session={SIGNATURE}; Path=/")
            original()

        handler.end_headers = end_headers  # type: ignore[method-assign]
        return False

    return fault


def _in_chunks(handler: Handler, chunks: list[bytes], pause: float = 0.0) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for each in chunks:
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(each), each))
        if pause:
            time.sleep(pause)
    handler.wfile.write(b"0\r\n\r\n")
