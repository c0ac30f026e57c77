"""The part of a transfer job that talks to the object store. Runs inside the job, as a script of its own.

Knows: presigned URLs, part files, what the job's log must say. Must not know: the server.

Standard library only, because the job starts it as ``python -I -S``.
"""

from __future__ import annotations

import http.client
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

_READ_SIZE = 1024 * 1024
_TRIES = 1440
# Exit codes of the real egress script.
_NO_SUCH_FILE, _PART_FAILED, _COMPLETION_FAILED = 34, 27, 70


def _say(text: str) -> None:
    print(text, flush=True)


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _stamp() -> str:
    return time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime())


def _connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.netloc, timeout=60), f"{parts.path}?{parts.query}"


def _exists(url: str) -> bool:
    connection, target = _connect(url)
    try:
        connection.request("HEAD", target)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


Hold = tuple[int, str, float]
"""Number of a piece, the file that holds it back as long as it exists, and for how many seconds (0: any)."""


def ingress(
    script: str,
    target: str,
    urls: list[str],
    part_size: int,
    interval: float,
    pretend: bool = False,
    hold: Hold | None = None,
) -> int:
    """Wait for the object, then fetch it into ``target``; ``pretend`` fetches but writes nothing, ``hold``
    stops in the middle.

    Looks at the start and then every ``interval`` seconds. Ends with success when it never came: so does the
    real script.
    """
    head_url, get_url = urls
    _say(f"{_stamp()} Waiting till file to tranfer is available...")
    for _ in range(_TRIES):
        if _exists(head_url):
            _say(f"{_stamp()} File to transfer found in S3 bucket")
            return _fetch(script, target, get_url, part_size, pretend, hold)
        time.sleep(interval)
    return 0


def _fetch(script: str, target: str, url: str, part_size: int, pretend: bool, hold: Hold | None) -> int:
    _say(f"{_stamp()} Downloading file to: {target} ...")
    # os.path, because a closed directory is no error here: bash's -f just says no.
    if os.path.isfile(target) and not pretend:  # noqa: PTH113
        _remove(Path(target))
    received, total, number = 0, 1, 0
    while received < total:
        number += 1
        part = Path(f"{target}.{number}")
        size, total = _fetch_part(url, received, part_size, part, pretend)
        if size == 0:
            _complain(f"{_stamp()} Download failed: part {number}")
            return 1
        received += size
        if hold is not None and hold[0] == number:
            _wait_while(Path(hold[1]), hold[2])
        if not pretend:
            _append(script, part, target)
    _say(f"{_stamp()} Received {received} bytes")
    # Said whatever became of the file: nobody looked whether appending worked.
    _say(f"{_stamp()} File was successfully downloaded (size: {received / 1024 / 1024:.3f}MB)")
    return 0


def _wait_while(file: Path, seconds: float) -> None:
    """Wait until the file is gone or the seconds are over; a job's time limit ends it at the latest."""
    until = time.monotonic() + seconds
    while file.exists() and (seconds == 0 or time.monotonic() < until):
        time.sleep(0.02)


def _fetch_part(url: str, start: int, part_size: int, part: Path, pretend: bool) -> tuple[int, int]:
    """Bytes of this part and of the whole object; zero bytes when the store refused."""
    connection, target = _connect(url)
    try:
        connection.request("GET", target, headers={"Range": f"bytes={start}-{start + part_size - 1}"})
        response = connection.getresponse()
        if response.status not in (200, 206):
            # As in the real script, what the store says instead of the part stays behind as the part.
            _save(response, None if pretend else part)
            return 0, 0
        content_range = response.headers.get("Content-Range", "")
        size = _save(response, None if pretend else part)
        total = int(content_range.rpartition("/")[2]) if content_range else start + size
        return size, total
    except OSError:
        return 0, 0
    finally:
        connection.close()


def _save(response: http.client.HTTPResponse, part: Path | None) -> int:
    try:
        file = part.open("wb") if part else None
    except OSError:
        # Silent here as in the real script; the complaint comes when the part is appended.
        file = None
    size = 0
    while chunk := response.read(_READ_SIZE):
        size += len(chunk)
        if file is not None:
            file.write(chunk)
    if file is not None:
        file.close()
    return size


def _append(script: str, part: Path, target: str) -> None:
    try:
        with Path(target).open("ab") as whole:
            _copy(part, whole)
    except OSError as error:
        _complain(f"{script}: line 55: {target}: {error.strerror}")
    _remove(part)


def _copy(part: Path, whole: object) -> None:
    try:
        with part.open("rb") as file:
            while chunk := file.read(_READ_SIZE):
                whole.write(chunk)  # type: ignore[attr-defined]
    except FileNotFoundError as error:
        _complain(f"cat: {part}: {error.strerror}")


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        _complain(f"rm: cannot remove '{path}': {error.strerror}")


def egress(script: str, source: str, urls: list[str], part_size: int) -> int:
    """Send ``source`` to the object store in parts; the last of ``urls`` completes the upload."""
    *part_urls, complete_url = urls
    _say(f"Uploading file:{source} into {len(part_urls)} chunks")
    if not os.path.isfile(source):  # noqa: PTH113
        _complain("file_not_found")
        return _NO_SUCH_FILE
    if not part_urls:
        reason = '(file_size + num_parts - 1) / num_parts : division by 0 (error token is "num_parts ")'
        _complain(f"{script}: line 217: {reason}")
    folder = Path("tmp", str(uuid.uuid1()))
    _say(f"[INFO] Creating temporary folder:{folder}/")
    folder.mkdir(parents=True)
    etags = []
    for number, url in enumerate(part_urls, 1):
        _say(f"[INFO] Uploading part {number}...")
        etags.append(_send_part(url, Path(source), (number - 1) * part_size, part_size))
    _say("[INFO] Parts upload completed.")
    if None in etags:
        _complain(f"[ERROR] Upload of part {etags.index(None) + 1} failed")
        return _PART_FAILED
    for number, etag in enumerate(etags, 1):
        _say(f"[INFO] Upload of part {number} succeded with ETag: {etag}|")
    _say("[INFO] Signaling multipart upload completion")
    status = _complete(complete_url, [str(etag) for etag in etags])
    if status != 200:
        _complain(f"curl: (22) The requested URL returned error: {status}")
        return _COMPLETION_FAILED
    folder.rmdir()
    _say("[INFO] Multipart file upload successfully completed")
    return 0


def _send_part(url: str, source: Path, start: int, part_size: int) -> str | None:
    """The part's ETag, or None when the store refused it."""
    size = min(part_size, max(source.stat().st_size - start, 0))
    connection, target = _connect(url)
    try:
        connection.request(
            "PUT", target, body=_slice(source, start, size), headers={"Content-Length": str(size)}
        )
        response = connection.getresponse()
        response.read()
        return response.headers.get("ETag", "").strip('"') if response.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def _slice(source: Path, start: int, size: int) -> Iterator[bytes]:
    with source.open("rb") as file:
        file.seek(start)
        while size and (chunk := file.read(min(_READ_SIZE, size))):
            size -= len(chunk)
            yield chunk


def _complete(url: str, etags: list[str]) -> int:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    connection, target = _connect(url)
    try:
        connection.request(
            "POST", target, body=f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        )
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """``ingress SCRIPT TARGET PART_SIZE INTERVAL [pretend] [hold PIECE FILE SECONDS]`` or
    ``egress SCRIPT SOURCE PART_SIZE``.

    URLs come on standard input, because a command line can be read by everybody on the machine.
    """
    urls = re.findall(r"\S+", sys.stdin.read())
    action, script, path, part_size, *rest = arguments
    if action == "egress":
        return egress(script, path, urls, int(part_size))
    interval, *more = rest
    hold = None
    if "hold" in more:
        piece, file, seconds = more[more.index("hold") + 1 :]
        hold = int(piece), file, float(seconds)
    return ingress(script, path, urls, int(part_size), float(interval), "pretend" in more, hold)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
