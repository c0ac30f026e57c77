"""Which way a file operation is done: a direct call, the server's own job, or a batch job of ours.

A direct call is quickest and says the truth, but is stopped after five seconds. The server's jobs are set up
by the site (partition, time limit). A batch job of ours can do what those cannot: wait for another job (v2),
rsync (v2), odd names, any compression.
"""

from __future__ import annotations

from .. import paths
from ..sync_client import FirecrestClient
from .looks import CHECKSUM_LIMIT, look
from .operation import FileOperation, Kind, Way

_QUICK: dict[int, tuple[Kind, ...]] = {
    1: ("mv", "cp", "rm", "compress", "extract"),
    2: ("rm", "compress", "extract"),
}
_V1_ENDINGS = {"gzip": (".tar.gz", ".tgz"), "bzip2": (".tar.bz2",), "xz": (), "none": (".tar",)}


def choose_way(client: FirecrestClient, operation: FileOperation, *, asks_for_job: bool) -> Way:
    """Return the first way to try.

    :param asks_for_job: a job name, a time limit or a job to wait for was given.
    """
    if not asks_for_job and _can_be_quick(client, operation):
        return "quick"
    return choose_job(client, operation, asks_for_job=asks_for_job)


def choose_job(client: FirecrestClient, operation: FileOperation, *, asks_for_job: bool = False) -> Way:
    """Return the way with a job: the server's where it can do it and its success can be proven."""
    generation = client.api.generation
    by_server = (
        operation.partition is None
        and _known_to(generation, operation)
        and _carried(operation, client.api.rules.file_job)
        and not (generation == 2 and asks_for_job)
        and not _is_hard_to_prove(client, operation)
    )
    return "job" if by_server else "script"


def _known_to(generation: int, operation: FileOperation) -> bool:
    """Whether the server has a call for this that can be trusted with it."""
    if operation.kind == "compress" and paths.basename(operation.source).startswith("-"):
        # The server's tar would take the name for an option, and there are some that run commands.
        return False
    if generation == 2:
        return operation.kind != "rsync"
    if operation.kind == "compress":
        return operation.compression == "gzip"
    if operation.kind == "extract":
        return operation.source.endswith(_V1_ENDINGS[operation.compression])
    return True


def _can_be_quick(client: FirecrestClient, operation: FileOperation) -> bool:
    generation = client.api.generation
    if operation.kind not in _QUICK[generation] or operation.partition is not None:
        return False
    if not _known_to(generation, operation):
        return False
    before = operation.source_before
    if operation.kind == "cp":
        # A directory's copy that is stopped in the middle would be entered by the next one.
        return before is not None and before.is_file
    if operation.kind == "mv" and before is not None and before.is_dir:
        # Within one file system a move is a rename: it cannot be stopped in the middle.
        parent = look(client, paths.parent(operation.result), operation.system, follow=True)
        return parent is not None and parent.device is not None and parent.device == before.device
    return True


def _carried(operation: FileOperation, rule: paths.Rule) -> bool:
    wanted = [operation.source, *([operation.target] if operation.target else [])]
    return all(paths.can_carry(path, rule) for path in wanted)


def _is_hard_to_prove(client: FirecrestClient, operation: FileOperation) -> bool:
    """Whether the file system cannot show afterwards that the server's job did it, or only at great cost."""
    if operation.kind == "extract" and operation.into_directory:
        # New files in a directory that has some already cannot be told from old ones.
        return bool(client.ls(operation.target, show_hidden=True, system=operation.system))
    before = operation.source_before
    if operation.kind == "cp" and operation.verify_checksum and before is not None:
        # Comparing so much takes a job anyway; ours copies and compares in one.
        return before.is_file and before.size > CHECKSUM_LIMIT
    return False
