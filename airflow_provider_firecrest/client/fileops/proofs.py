"""What the file system must show after each operation. The only proof that counts in the end.

Reads only. Says in words what was compared, since not everything can be compared everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import IntegrityError, TransferFailedError
from ..models import TransferJob
from ..sync_client import FirecrestClient
from .looks import files_differ, look, settled, tree_digest, trees_differ, with_cheap_content
from .operation import FileOperation, Kind, Look

PROVABLE: tuple[Kind, ...] = ("mv", "cp", "rm")
"""What the file system alone shows. A half-written archive, or a half-unpacked one, looks much like a whole
one, and so may the target of rsync, which was there before."""


class _Unproven(Exception):
    """What was found wrong; ``differs`` says that an outcome is there, but not the right one."""

    def __init__(self, problem: str, *, differs: bool = False) -> None:
        super().__init__(problem)
        self.differs = differs


@dataclass(frozen=True)
class _Case:
    """What is to be proven, and how.

    :ivar by_script: a batch job of ours did it.
    :ivar patience: seconds that the file system may lag behind; None: as usual.
    """

    client: FirecrestClient
    operation: FileOperation
    by_script: bool
    patience: float | None

    @property
    def system(self) -> str:
        return self.operation.system

    def look(self, path: str, *, follow: bool = False) -> Look | None:
        return look(self.client, path, self.system, follow=follow)

    def insist(self, check: Callable[[], str | None], *, differs: bool = False) -> None:
        problem = settled(check, self.patience)
        if problem is not None:
            raise _Unproven(problem, differs=differs)


def prove(
    client: FirecrestClient,
    operation: FileOperation,
    *,
    evidence: str = "",
    transfer: TransferJob | None = None,
    by_script: bool = False,
    patience: float | None = None,
) -> str:
    """Look whether an operation has happened.

    :param client: the client.
    :param operation: the operation as it was planned.
    :param evidence: what the server or the job said, for the error.
    :param transfer: the job, for the error.
    :param by_script: a batch job of ours did it: its exit code tells about contents.
    :param patience: seconds that the file system may lag behind; default: ``looks.PATIENCE``.
    :returns: what was found and compared, in words.
    :raises TransferFailedError: it has not happened.
    :raises IntegrityError: the outcome is not what it must be.
    """
    try:
        return _PROOFS[operation.kind](_Case(client, operation, by_script, patience))
    except _Unproven as found:
        cls = IntegrityError if found.differs else TransferFailedError
        text = f"{operation} failed: {found}. {evidence}".strip()
        raise cls(text, transfer=transfer) from None


def has_happened(client: FirecrestClient, operation: FileOperation, patience: float) -> str | None:
    """Return the proof when an operation whose answer was lost has happened all the same, else None.

    :param patience: seconds that it may still take.
    """
    if operation.kind not in PROVABLE:
        return None
    try:
        return prove(client, operation, patience=patience)
    except TransferFailedError:
        return None


def _moved(case: _Case) -> str:
    operation, before = case.operation, case.operation.source_before
    _must_be_gone(case)
    there = _must_be_there(case)
    if before is None:
        return "source gone, target there"
    _must_be_like(operation, before, there)
    if before.inode is not None and (before.inode, before.device) == (there.inode, there.device):
        return "source gone, target is the same inode"
    if before.sha256 is not None:
        now = with_cheap_content(case.client, operation.result, there, case.system).sha256
        if now is not None and now != before.sha256:
            raise _Unproven(f"{operation.result} has SHA-256 {now} instead of {before.sha256}", differs=True)
        return "source gone, target has its size and SHA-256" if now else "source gone, target has its size"
    if before.tree is not None:
        now = tree_digest(case.client, operation.result, case.system)
        if now is not None and now != before.tree:
            raise _Unproven(f"{operation.result} does not hold what the source held", differs=True)
        return "source gone, target holds the same names and sizes" if now else "source gone, target there"
    return "source gone, target has its size" if there.is_file else "source gone, target there"


def _copied(case: _Case) -> str:
    operation = case.operation
    source = case.look(operation.source)
    if source is None:
        raise _Unproven(f"the source is gone, so {operation.result} cannot be compared with it")
    there = _must_be_there(case, unchanged_is_fine=True)
    _must_be_like(operation, source, there)
    if source.is_dir:
        return _same_tree(case, exact=operation.result_before is None)
    if not source.is_file:
        return "target there"
    if not operation.verify_checksum:
        return "same size"
    if case.by_script:
        return "same bytes (cmp in the job)"
    problem = files_differ(
        case.client,
        operation.source,
        operation.result,
        source.size,
        system=case.system,
        account=operation.account,
    )
    if problem is not None:
        raise _Unproven(f"{operation.result} is not what was copied: {problem}", differs=True)
    return "same size and content"


def _synchronised(case: _Case) -> str:
    operation = case.operation
    source = case.look(operation.source, follow=operation.source.endswith("/"))
    if source is None:
        raise _Unproven("the source is gone, so the target cannot be compared with it")
    there = _must_be_there(case, unchanged_is_fine=True)
    _must_be_like(operation, source, there)
    return _same_tree(case, exact=False) if source.is_dir else "same size"


def _same_tree(case: _Case, *, exact: bool) -> str:
    operation, result = case.operation, case.operation.result

    def check() -> str | None:
        found = trees_differ(
            case.client, operation.source, result, exact=exact, system=case.system, account=operation.account
        )
        return None if found is None else f"{result} is not what was copied: {found}"

    case.insist(check, differs=True)
    return "same names, types and sizes" if exact else "every name there, with its type and size"


def _removed(case: _Case) -> str:
    _must_be_gone(case)
    return "gone"


def _archived(case: _Case) -> str:
    operation = case.operation
    if case.look(operation.source) is None:
        # tar makes an archive of nothing, too.
        raise _Unproven("the source is gone, so the archive may be empty")
    there = _must_be_there(case)
    if not there.is_file or there.size == 0:
        raise _Unproven(f"{operation.result} is empty or no file", differs=there.is_file)
    return f"archive of {there.size} bytes written"


def _unpacked(case: _Case) -> str:
    result = case.operation.result

    def check() -> str | None:
        there = case.look(result, follow=True)
        if there is None or not there.is_dir:
            return f"there is no directory {result}"
        entries = case.client.ls(result, show_hidden=True, system=case.system)
        return None if entries else f"{result} is empty"

    case.insist(check)
    return "unpacked by tar without an error" if case.by_script else "target has entries"


def _must_be_gone(case: _Case) -> None:
    path = case.operation.source
    case.insist(lambda: f"{path} is still there" if case.look(path) is not None else None)


def _must_be_there(case: _Case, *, unchanged_is_fine: bool = False) -> Look:
    """Return the look at the outcome.

    :param unchanged_is_fine: what was there before may already be what it must be.
    """
    result, before = case.operation.result, case.operation.result_before
    found: list[Look] = []

    def check() -> str | None:
        there = case.look(result)
        if there is None:
            return f"there is no {result}"
        if before is not None and not unchanged_is_fine and there.is_same_as(before):
            return f"{result} is what was there before"
        found[:] = [there]
        return None

    case.insist(check)
    return found[0]


def _must_be_like(operation: FileOperation, source: Look, there: Look) -> None:
    if there.path_type != source.path_type:
        raise _Unproven(f"{operation.result} is a {there.path_type}, the source a {source.path_type}")
    if source.is_file and there.size != source.size:
        raise _Unproven(f"{operation.result} has {there.size} bytes instead of {source.size}", differs=True)


_PROOFS = {
    "mv": _moved,
    "cp": _copied,
    "rsync": _synchronised,
    "rm": _removed,
    "compress": _archived,
    "extract": _unpacked,
}
