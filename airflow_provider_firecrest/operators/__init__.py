"""What a DAG author writes to run jobs and move files.

Classes are found on first use (PEP 562), so that importing this package costs a DAG file nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .filesystem import FirecrestFilesystemOperator
    from .internal import (
        FirecrestCompressOperator,
        FirecrestExtractOperator,
        FirecrestInternalCopyOperator,
        FirecrestInternalDeleteOperator,
        FirecrestInternalMoveOperator,
        FirecrestInternalRsyncOperator,
    )
    from .jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
    from .transfers import FirecrestDownloadOperator, FirecrestUploadOperator

__all__ = [
    "FirecrestCancelJobOperator",
    "FirecrestCompressOperator",
    "FirecrestDownloadOperator",
    "FirecrestExtractOperator",
    "FirecrestFilesystemOperator",
    "FirecrestInternalCopyOperator",
    "FirecrestInternalDeleteOperator",
    "FirecrestInternalMoveOperator",
    "FirecrestInternalRsyncOperator",
    "FirecrestSubmitJobOperator",
    "FirecrestUploadOperator",
]

_HOME_OF = {
    "FirecrestCancelJobOperator": "jobs",
    "FirecrestCompressOperator": "internal",
    "FirecrestDownloadOperator": "transfers",
    "FirecrestExtractOperator": "internal",
    "FirecrestFilesystemOperator": "filesystem",
    "FirecrestInternalCopyOperator": "internal",
    "FirecrestInternalDeleteOperator": "internal",
    "FirecrestInternalMoveOperator": "internal",
    "FirecrestInternalRsyncOperator": "internal",
    "FirecrestSubmitJobOperator": "jobs",
    "FirecrestUploadOperator": "transfers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value
