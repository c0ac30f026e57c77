"""What a caller can set, and what a finished transfer looks like. Values only: no I/O, no HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import TransferFailedError

Progress = Callable[[int, int], None]
"""``progress(bytes_done, bytes_total)``: called about once a second, from the thread that called the
transfer. What it raises is logged and dropped. Bytes of a part that is sent again are counted down first."""

MIB = 1024 * 1024

APPEAR_WITHIN = 30.0
"""Seconds in which an object that its job has written must show up: not every store shows it at once."""


@dataclass(frozen=True)
class StagingOptions:
    """How hard to try, and how much at a time. Sizes in bytes, times in seconds.

    :ivar parallel: parts sent, or ranges fetched, at the same time.
    :ivar attempts: tries per part or range before the transfer fails. A download range that got on by at
        least one ``chunk`` starts counting anew.
    :ivar connect_timeout: for reaching the object store.
    :ivar stall_timeout: a connection on which nothing moves for this long is given up and tried again.
    :ivar complete_timeout: for the answer to CompleteMultipartUpload; S3 may take minutes to assemble a large
        object.
    :ivar appear_timeout: how long a download waits for an object that is not there yet.
    :ivar chunk: bytes read and hashed at once; memory is about ``parallel`` times this.
    :ivar range_size: bytes asked for in one download request.
    :ivar backoff: upper end of the first random wait between attempts; it doubles with every attempt.
    :ivar backoff_cap: upper end of the longest random wait.
    :ivar verify: check TLS certificates; a string is the path of a CA bundle.
    """

    parallel: int = 4
    attempts: int = 6
    connect_timeout: float = 10.0
    stall_timeout: float = 60.0
    complete_timeout: float = 600.0
    appear_timeout: float = field(default_factory=lambda: APPEAR_WITHIN)
    chunk: int = MIB
    range_size: int = 64 * MIB
    backoff: float = 1.0
    backoff_cap: float = 30.0
    verify: bool | str = True


DEFAULT_OPTIONS = StagingOptions()


@dataclass(frozen=True)
class Staged:
    """A finished transfer between this machine and the object store.

    :ivar size: bytes.
    :ivar sha256: hex digest of the whole file, computed here.
    :ivar etag: the object's ETag without quotes, or None. After an upload None also means that the answer to
        the last call was lost: the object is very probably complete, and must be proven where it finally
        lands.
    :ivar parts: parts sent, or ranges fetched.
    :ivar seconds: wall time.
    """

    size: int
    sha256: str
    etag: str | None
    parts: int
    seconds: float


class TransferCancelledError(TransferFailedError):
    """The caller set its ``cancelled`` event; nothing was completed."""
