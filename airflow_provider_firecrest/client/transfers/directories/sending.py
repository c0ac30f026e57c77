"""The archive of an upload: packed on this machine, and sent; or what is missing of that after a crash.

Knows the archive's temporary directory here. Must not know what becomes of it there.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...._crash_points import crash_point
from ...errors import QuotaError
from ...sync_client import FirecrestClient
from ..resume import UploadState
from ..steps.sending import sent_into_work
from ..steps.state import Again, Watch
from .archive import SUFFIX, pack
from .local import discard, own_directory
from .state import DirectoryOptions, DirectoryTransfer
from .tree import Entry

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_HERE = "firecrest-upload-"
"""How the name of the directory begins in which an archive is packed."""

_PER_ENTRY = 1024
"""Bytes of the archive for each entry besides its content: a header, and what fills its last block."""


def sent(
    client: FirecrestClient,
    transfer: DirectoryTransfer,
    entries: Sequence[Entry],
    watch: Watch,
    *,
    make: Callable[[], object],
) -> DirectoryTransfer:
    """Pack the tree into a temporary file, send it, forget it.

    :param client: the client.
    :param transfer: the transfer; what it says is packed and still lies here is not packed again.
    :param entries: what is in the tree.
    :param watch: who is told; ``watch.again.sending`` is gone on with.
    :param make: makes the transfer's directory on the system.
    :returns: the transfer: waiting for the server, or with the archive in its place on the system.
    :raises QuotaError: not enough space here.
    """
    again = watch.again
    with own_directory(Path(tempfile.gettempdir()), _HERE, again.place, keep=again.keep) as here:
        archive = here.path / f"{Path(transfer.source).name or 'tree'}{SUFFIX[transfer.options.compression]}"
        if _is_packed(archive, transfer):
            make()
        else:
            here.forget_all_but(())
            _check_room(entries, transfer.options)
            make()
            transfer = _packed(transfer, entries, archive, watch)
        earlier = _sent_so_far(transfer, archive, again.sending)
        return sent_into_work(client, transfer, archive, watch, earlier)[0]


def forget_packed(again: Again) -> None:
    """Remove the archive that an earlier process left here."""
    discard(Path(tempfile.gettempdir()), _HERE, again.place)


def _is_packed(archive: Path, transfer: DirectoryTransfer) -> bool:
    """Whether an earlier process has packed the archive here, and it is still what it was."""
    try:
        found = archive.stat()
    except OSError:
        return False
    return transfer.tree is not None and (found.st_size, found.st_mtime_ns) == transfer.packed


def _packed(
    transfer: DirectoryTransfer, entries: Sequence[Entry], archive: Path, watch: Watch
) -> DirectoryTransfer:
    logger.info("Packing %s (%d entries) into %s.", transfer.source, len(entries), archive)
    compression = transfer.options.compression
    tree = pack(Path(transfer.source), entries, archive, compression=compression, stop=watch.stop)
    found = archive.stat()
    packed = (found.st_size, found.st_mtime_ns)
    transfer = replace(transfer, phase="sending", tree=tree, packed=packed)
    watch.on_change(transfer)
    crash_point("after_packing")
    return transfer


def _sent_so_far(
    transfer: DirectoryTransfer, archive: Path, earlier: UploadState | None
) -> UploadState | None:
    """Return how far an earlier process got with an archive of the same tree.

    Packed anew, the same tree makes the same bytes. Where it does not (another version of zlib), the size
    differs, or the digests of the parts, which are compared before they are counted as sent.
    """
    found = archive.stat()
    if earlier is None or earlier.target != transfer.payload or earlier.size != found.st_size:
        return earlier
    return replace(earlier, source=str(archive), mtime_ns=found.st_mtime_ns)


def archive_size(entries: Sequence[Entry]) -> int:
    """Return about how many bytes an archive has that is not compressed."""
    return sum(each.size for each in entries) + _PER_ENTRY * len(entries)


def _check_room(entries: Sequence[Entry], options: DirectoryOptions) -> None:
    """Refuse to begin what cannot end: an archive as large as the tree needs its place here."""
    directory, size = tempfile.gettempdir(), archive_size(entries)
    free = shutil.disk_usage(directory).free
    if options.compression == "none" and free < size:
        raise QuotaError(
            f"The archive needs {size} bytes in {directory}, and {free} are free there. Free some, set TMPDIR"
            " for Airflow's workers, or try compression='gzip'."
        )
