"""The last steps of a download, all on this machine: unpack the archive beside the target, compare the tree,
and give it its name; or find, after a crash, that it has it.

Knows the temporary directory beside the target. Must not know how the archive came there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...._crash_points import crash_point
from ...errors import ConflictError, InvalidRequestError, QuotaError
from ...leftovers import OLD
from ..steps import workdir
from ..steps.state import Again, Watch
from .archive import check_stop, not_written, unpack
from .local import Here, move, own_directory
from .state import DirectoryTransfer
from .tree import compare, digest_of

logger = logging.getLogger("airflow_provider_firecrest.transfers")

_TREE = "tree"
"""Where an archive is unpacked, in the temporary directory."""


def stem(target: Path) -> str:
    """Return how the name of a target's temporary directory, which stands beside it, begins."""
    return f".{os.fsdecode(os.fsencode(target.name)[:100])}."


@contextlib.contextmanager
def here_for(transfer: DirectoryTransfer, again: Again) -> Iterator[Here]:
    """Yield a temporary directory beside the target, on its file system; of what earlier processes left in
    it, only this transfer's archive is kept.
    """
    target = Path(transfer.target)
    with own_directory(target.parent, stem(target), again.place, keep=again.keep) as here:
        token = workdir.token(transfer.work)
        here.forget_all_but((token, f".{token}"))
        yield here


def local_archive(here: Here, transfer: DirectoryTransfer) -> Path:
    """Return the path of the archive here; it has this name when it is complete."""
    return here.path / f"{workdir.token(transfer.work)}-{transfer.archive_name}"


def check_room(here: Here, archive: int, transfer: DirectoryTransfer) -> None:
    """Refuse to begin what cannot end.

    :param here: where the archive goes; what is there of it already needs no more room.
    :param archive: its size in bytes.
    :param transfer: the transfer.
    :raises QuotaError: not enough space here.
    """
    needed = archive + (transfer.tree.bytes if transfer.tree else 0) - here.bytes()
    free = shutil.disk_usage(here.path).free
    if free < needed:
        raise QuotaError(
            f"{transfer.target} needs {needed} bytes while it is unpacked (the archive and the tree),"
            f" and {free}"
            " are free there."
        )


def put_into_place(transfer: DirectoryTransfer, here: Here, watch: Watch) -> DirectoryTransfer:
    """Unpack a fetched archive beside the target, compare the tree, and give it its name.

    :param transfer: the transfer; it says what the tree must be.
    :param here: where the archive is.
    :param watch: who is told, before the tree gets its name.
    :returns: the transfer, about to be over.
    :raises IntegrityError: the trees differ, or the archive is damaged.
    :raises ConflictError: something has come into being at the target.
    """
    assert transfer.tree is not None
    crash_point("after_fetching")
    tree = here.path / _TREE
    tree.mkdir()
    compression = transfer.options.compression
    unpack(local_archive(here, transfer), tree, compression=compression, stop=watch.stop)
    contents = transfer.options.verify_checksum
    ours = digest_of(tree, contents=contents, stop=watch.stop)
    compare(ours, transfer.tree, contents=contents, what=f"{transfer.source} on {transfer.system}, unpacked")
    check_stop(watch.stop)
    transfer = replace(transfer, phase="publishing")
    watch.on_change(transfer)
    crash_point("before_publishing")
    _publish(tree, Path(transfer.target), here, replaces=transfer.replaces)
    crash_point("after_publishing")
    return transfer


def is_published(transfer: DirectoryTransfer, watch: Watch) -> bool:
    """Return whether what is at the target is the tree that was about to be put there."""
    target = Path(transfer.target)
    if transfer.tree is None or not target.is_dir() or target.is_symlink():
        return False
    try:
        there = digest_of(target, contents=transfer.tree.sha256 is not None, stop=watch.stop)
    except InvalidRequestError as error:
        logger.info("What is at %s is another tree: %s", target, error.message)
        return False
    return there == transfer.tree


def _publish(tree: Path, target: Path, here: Here, *, replaces: bool) -> None:
    exists, old = os.path.lexists(target), here.path / OLD
    if exists and not replaces:
        raise ConflictError(f"target_path: {target} has come into being meanwhile.")
    try:
        if exists:
            move(target, old)
            crash_point("between_renames")
        move(tree, target)
    except BaseException as error:
        if os.path.lexists(old) and not os.path.lexists(target):
            with contextlib.suppress(OSError):
                move(old, target)
        if isinstance(error, OSError):
            raise not_written(target, error) from None
        raise
    finally:
        # Never remove the only copy of what was there.
        here.keep = os.path.lexists(old) and not os.path.lexists(target)
