"""Objects and multipart uploads on disk.

Knows: files, digests, the rules of completing an upload. Must not know: HTTP, XML, signatures.

An object is the list of its parts: completing an upload copies nothing, so a 10 GB object costs no time and
memory stays flat whatever the size. All methods may be called from any thread.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_READ_SIZE = 1024 * 1024
MAX_PART_NUMBER = 10_000


class StoreError(Exception):
    """A refusal in S3's words.

    Args:
        status: HTTP status.
        code: S3 error code.
        message: S3 error message.
        key: the key to name in the answer, if any.
    """

    def __init__(self, status: int, code: str, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.key = key


@dataclass(frozen=True)
class Part:
    """One stored part; ``md5`` in hexadecimal."""

    number: int
    file: Path
    size: int
    md5: str


@dataclass(frozen=True)
class StoredObject:
    """One complete object; ``etag`` without quotes."""

    bucket: str
    key: str
    parts: tuple[Part, ...]
    size: int
    etag: str
    modified: float

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes ``start`` up to, not including, ``stop``."""
        offset = 0
        for part in self.parts:
            first, last = max(start - offset, 0), min(stop - offset, part.size)
            offset += part.size
            if first < last:
                yield from _read_file(part.file, first, last)


@dataclass
class MultipartUpload:
    """An upload that is not complete yet."""

    upload_id: str
    bucket: str
    key: str
    directory: Path
    started: float
    parts: dict[int, Part] = field(default_factory=dict)


class ObjectStore:
    """Buckets of objects below one directory.

    Args:
        directory: where the bytes live; made if it is missing.
        smallest_part: every part but the last must have this many bytes (S3: 5 MiB).
    """

    def __init__(self, directory: Path, smallest_part: int) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._smallest_part = smallest_part
        self._objects: dict[tuple[str, str], StoredObject] = {}
        self._uploads: dict[str, MultipartUpload] = {}
        self._lock = threading.Lock()

    def create_upload(self, bucket: str, key: str) -> str:
        """Id of a new multipart upload."""
        upload_id = secrets.token_urlsafe(32)
        directory = self._directory / secrets.token_hex(12)
        directory.mkdir()
        with self._lock:
            self._uploads[upload_id] = MultipartUpload(upload_id, bucket, key, directory, time.time())
        return upload_id

    def new_part_file(self, upload_id: str, bucket: str, key: str, number: int) -> Path:
        """A private file to write a part into, before `add_part`.

        Raises:
            StoreError: unknown upload or impossible part number.
        """
        upload = self._upload(upload_id, bucket, key)
        if not 1 <= number <= MAX_PART_NUMBER:
            text = f"Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive"
            raise StoreError(400, "InvalidArgument", text)
        return upload.directory / f"{number}.{secrets.token_hex(8)}"

    def add_part(self, upload_id: str, bucket: str, key: str, part: Part) -> None:
        """Take a written part in, instead of an earlier one of the same number.

        Raises:
            StoreError: the upload was completed or aborted meanwhile.
        """
        upload = self._upload(upload_id, bucket, key)
        with self._lock:
            replaced = upload.parts.get(part.number)
            upload.parts[part.number] = part
        if replaced is not None:
            replaced.file.unlink(missing_ok=True)

    def complete(
        self, upload_id: str, bucket: str, key: str, named: Sequence[tuple[int, str]]
    ) -> StoredObject:
        """Make an object of the parts ``named``, as (number, ETag), in their order.

        Raises:
            StoreError: no part, a part that is not there or has another ETag, wrong order, a part too small.
        """
        upload = self._upload(upload_id, bucket, key)
        if not named:
            raise malformed_xml()
        numbers = [number for number, _ in named]
        if numbers != sorted(set(numbers)):
            text = "The list of parts was not in ascending order. Parts must be ordered by part number."
            raise StoreError(400, "InvalidPartOrder", text)
        parts = tuple(_matching(upload, number, etag) for number, etag in named)
        if any(part.size < self._smallest_part for part in parts[:-1]):
            text = "Your proposed upload is smaller than the minimum allowed object size."
            raise StoreError(400, "EntityTooSmall", text)
        digest = hashlib.md5(b"".join(bytes.fromhex(part.md5) for part in parts), usedforsecurity=False)
        size = sum(part.size for part in parts)
        done = StoredObject(bucket, key, parts, size, f"{digest.hexdigest()}-{len(parts)}", time.time())
        with self._lock:
            self._objects[bucket, key] = done
            self._uploads.pop(upload_id, None)
        return done

    def abort(self, upload_id: str, bucket: str, key: str) -> None:
        """Forget an upload and its parts.

        Raises:
            StoreError: unknown upload.
        """
        upload = self._upload(upload_id, bucket, key)
        with self._lock:
            self._uploads.pop(upload_id, None)
        shutil.rmtree(upload.directory, ignore_errors=True)

    def new_file(self) -> Path:
        """A private file to write a whole object into, before `put`."""
        return self._directory / secrets.token_hex(12)

    def put(self, bucket: str, key: str, whole: Part) -> StoredObject:
        """Make an object of one written file, instead of an earlier one of the same key."""
        done = StoredObject(bucket, key, (whole,), whole.size, whole.md5, time.time())
        with self._lock:
            self._objects[bucket, key] = done
        return done

    def spoil(self, bucket: str, key: str, *, half: bool) -> StoredObject:
        """Put another object in place of one: its first half, or one that begins with its last byte.

        Raises:
            StoreError: there is none.
        """
        before = self.get(bucket, key)
        content = b"".join(before.read(0, before.size))
        content = content[: len(content) // 2] if half else content[-1:] + content[:-1]
        file = self.new_file()
        file.write_bytes(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self.put(bucket, key, Part(1, file, len(content), md5))

    def delete(self, bucket: str, key: str) -> None:
        """Forget an object. Its bytes stay until the end: somebody may be reading them.

        Raises:
            StoreError: there is none.
        """
        self.get(bucket, key)
        with self._lock:
            self._objects.pop((bucket, key), None)

    def get(self, bucket: str, key: str) -> StoredObject:
        """A complete object.

        Raises:
            StoreError: there is none.
        """
        with self._lock:
            found = self._objects.get((bucket, key))
        if found is None:
            raise StoreError(404, "NoSuchKey", "The specified key does not exist.", key)
        return found

    def listing(self) -> dict[str, Any]:
        """Everything stored, with digests computed from the bytes on disk: for tests."""
        with self._lock:
            objects, uploads = list(self._objects.values()), list(self._uploads.values())
        return {
            "objects": [
                {"bucket": o.bucket, "key": o.key, "size": o.size, "etag": o.etag, "sha256": _sha256(o)}
                for o in objects
            ],
            "uploads": [
                {
                    "uploadId": u.upload_id,
                    "bucket": u.bucket,
                    "key": u.key,
                    "parts": [{"number": n, "size": p.size} for n, p in sorted(u.parts.items())],
                }
                for u in uploads
            ],
        }

    def close(self) -> None:
        """Remove everything stored."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _upload(self, upload_id: str, bucket: str, key: str) -> MultipartUpload:
        with self._lock:
            upload = self._uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have"
            raise StoreError(404, "NoSuchUpload", f"{text} been aborted or completed.")
        return upload


def malformed_xml() -> StoreError:
    """The refusal of a completion without parts or with unreadable XML."""
    text = "The XML you provided was not well-formed or did not validate against our published schema"
    return StoreError(400, "MalformedXML", text)


def _matching(upload: MultipartUpload, number: int, etag: str) -> Part:
    part = upload.parts.get(number)
    wanted = re.sub(r'^"|"$', "", etag.strip())
    if part is None or part.md5 != wanted:
        text = (
            "One or more of the specified parts could not be found. The part might not have been uploaded, or"
            " the specified entity tag might not have matched the part's entity tag."
        )
        raise StoreError(400, "InvalidPart", text)
    return part


def _read_file(path: Path, first: int, last: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        left = last - first
        while left and (chunk := file.read(min(_READ_SIZE, left))):
            left -= len(chunk)
            yield chunk


def _sha256(stored: StoredObject) -> str:
    digest = hashlib.sha256()
    for chunk in stored.read(0, stored.size):
        digest.update(chunk)
    return digest.hexdigest()
