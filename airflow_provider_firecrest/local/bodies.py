"""Shapes of the request bodies under ``/filesystem``.

Knows: field names, their older spellings, defaults. Must not know: what is done with them.

The class names show in the server's validation messages, so they are the real server's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class CompressionType(StrEnum):
    """Compressions tar knows."""

    none = "none"
    bzip2 = "bzip2"
    gzip = "gzip"
    xz = "xz"


class DataTransferType(StrEnum):
    """Ways a file can travel."""

    s3 = "s3"
    streamer = "streamer"
    wormhole = "wormhole"


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class _PathBody(_Body):
    # `path` is today's name, `sourcePath` and `source_path` are older ones that still work.
    path: str = Field(validation_alias=AliasChoices("path", "sourcePath", "source_path"))


class PostMakeDirRequest(_PathBody):
    """``ops/mkdir``"""

    parent: bool = False


class PostFileSymlinkRequest(_PathBody):
    """``ops/symlink``"""

    link_path: str


class PutFileChmodRequest(_PathBody):
    """``ops/chmod``"""

    mode: str


class PutFileChownRequest(_PathBody):
    """``ops/chown``"""

    owner: str = ""
    group: str = ""


class PostCompressRequest(_PathBody):
    """``ops/compress``"""

    target_path: str
    match_pattern: str | None = None
    dereference: bool = False
    compression: CompressionType = CompressionType.gzip


class PostExtractRequest(_PathBody):
    """``ops/extract``"""

    target_path: str
    compression: CompressionType = CompressionType.gzip


class CopyRequest(_PathBody):
    """``transfer/cp``"""

    target_path: str
    account: str | None = None
    dereference: bool = False


class MoveRequest(_PathBody):
    """``transfer/mv``"""

    target_path: str
    account: str | None = None


class CompressRequest(PostCompressRequest):
    """``transfer/compress``"""

    account: str | None = None


class ExtractRequest(PostExtractRequest):
    """``transfer/extract``"""

    account: str | None = None


class WormholeTransferRequest(_Body):
    """Directives of a wormhole transfer."""

    transfer_method: Literal[DataTransferType.wormhole]


class WormholeTransferUploadRequest(WormholeTransferRequest):
    """Directives of a wormhole upload."""

    wormhole_code: str


class S3TransferRequest(_Body):
    """Directives of a transfer through the object store; ``file_size`` in bytes."""

    transfer_method: Literal[DataTransferType.s3]
    file_size: int | None = None


class StreamerTransferRequest(_Body):
    """Directives of a streamed transfer."""

    transfer_method: Literal[DataTransferType.streamer]


class PostFileUploadRequest(_PathBody):
    """``transfer/upload``"""

    transfer_directives: WormholeTransferUploadRequest | S3TransferRequest | StreamerTransferRequest
    account: str | None = None


class PostFileDownloadRequest(_PathBody):
    """``transfer/download``"""

    transfer_directives: WormholeTransferRequest | S3TransferRequest | StreamerTransferRequest
    account: str | None = None
