"""The quick way: one direct call, which tells the truth about its end unless the server stops it.

It does so after five seconds. A call that was stopped, or whose answer was lost, is looked after: what it
has done counts, and what it left behind must not change what the job after it does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from .. import limits
from ..errors import (
    AmbiguousError,
    CommandTimeoutError,
    FirecrestError,
    NotFoundError,
    QuotaError,
    TransferFailedError,
)
from ..sync_client import FirecrestClient
from . import proofs
from .looks import look, quietly_remove
from .operation import FileOperation

logger = logging.getLogger("airflow_provider_firecrest.transfers")


_MAY_STILL_RUN = limits.COMMAND_TIMEOUT + 3.0
"""Seconds that a command may go on whose answer was lost."""


def do_quickly(client: FirecrestClient, operation: FileOperation) -> str | None:
    """Do an operation by its direct call.

    :param client: the client.
    :param operation: an operation whose way is ``quick``.
    :returns: the proof; None when a job has to do it (again).
    :raises FirecrestError: it failed.
    """
    try:
        _CALLS[operation.kind](client, operation)
    except CommandTimeoutError as error:
        logger.info("%s: %s", operation, error.message)
        return _afterwards(client, operation, patience=0.0)
    except AmbiguousError as error:
        logger.warning("%s: %s Looking what became of it.", operation, error.message)
        return _afterwards(client, operation, patience=_MAY_STILL_RUN)
    except NotFoundError:
        # Of a repeated request the first one may have been the one that removed it.
        if operation.kind != "rm":
            raise
    except QuotaError:
        # Of a copy there is a part, where nothing was before.
        _remove_remains(client, operation, "compress", "cp")
        raise
    except FirecrestError:
        _remove_remains(client, operation)
        raise
    return proofs.prove(client, operation, evidence="The server's answer was a success.")


def _afterwards(client: FirecrestClient, operation: FileOperation, *, patience: float) -> str | None:
    proof = proofs.has_happened(client, operation, patience)
    if proof is not None:
        return proof
    before = operation.source_before
    if operation.kind == "mv" and before is not None and before.is_dir:
        there = look(client, operation.result, operation.system)
        if there is not None:
            # A second mv would go into what the first one has begun.
            raise TransferFailedError(
                f"{operation} was stopped in the middle: a part is in {operation.result}, the whole still in"
                f" {operation.source}. Remove {operation.result} and try again."
            )
    _remove_remains(client, operation)
    logger.info("%s goes on as a job.", operation)
    return None


def _remove_remains(client: FirecrestClient, operation: FileOperation, *kinds: str) -> None:
    """Remove what a call left behind that failed, where nothing was before; by default only a compress's: it
    can be a valid archive of nothing.
    """
    if operation.kind in (kinds or ("compress",)) and operation.result_before is None:
        quietly_remove(client, operation.result, operation.system)


def _move(client: FirecrestClient, operation: FileOperation) -> None:
    client.rename(operation.source, operation.target, system=operation.system)


def _copy(client: FirecrestClient, operation: FileOperation) -> None:
    client.copy(operation.source, operation.target, system=operation.system)


def _remove(client: FirecrestClient, operation: FileOperation) -> None:
    client.rm(operation.source, system=operation.system)


def _compress(client: FirecrestClient, operation: FileOperation) -> None:
    client.compress(
        operation.source,
        operation.target,
        compression=operation.compression,
        dereference=operation.dereference,
        system=operation.system,
    )


def _extract(client: FirecrestClient, operation: FileOperation) -> None:
    client.extract(
        operation.source, operation.target, compression=operation.compression, system=operation.system
    )


_CALLS: dict[str, Callable[[FirecrestClient, FileOperation], None]] = {
    "mv": _move,
    "cp": _copy,
    "rm": _remove,
    "compress": _compress,
    "extract": _extract,
}
