"""What a directory on its way is, and what it is when it is there: plain values. Knows no step.

Holds no credential but a download's URL.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from ...errors import InvalidRequestError
from ...leftovers import Leftover
from ..plan import Way
from ..steps import job_frame
from ..steps.state import StepOptions, StepwiseTransfer
from .archive import COMPRESSIONS
from .tree import TreeDigest


@dataclass(frozen=True)
class DirectoryOptions(StepOptions):
    """How a directory is moved; without ``verify_checksum``, names, types, sizes and links are compared.

    :ivar compression: of the archive: ``none`` or ``gzip``.
    """

    compression: str = "none"

    def check(self) -> None:
        """Refuse what nobody understands.

        :raises InvalidRequestError: names the field.
        """
        super().check()
        if self.compression not in COMPRESSIONS:
            raise InvalidRequestError(
                f"compression: {self.compression!r} is not one of {', '.join(COMPRESSIONS)}."
            )


@dataclass(frozen=True)
class DirectoryTransfer(StepwiseTransfer):
    """A directory on its way.

    :ivar packed: size and time of an upload's archive here, once it is complete.
    :ivar tree: what the tree is at its source, once that is known.
    """

    kind: ClassVar[str] = "directory"

    options: DirectoryOptions
    packed: tuple[int, int] | None = None
    tree: TreeDigest | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, a download's URL among them."""
        return {**super().as_dict(), "packed": list(self.packed) if self.packed else None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild it from :meth:`as_dict`."""
        found = dict(values)
        found["options"] = DirectoryOptions(**found["options"])
        found["tree"] = TreeDigest(**found["tree"]) if found.get("tree") else None
        found["packed"] = tuple(found["packed"]) if found.get("packed") else None
        return super().from_dict(found)

    @property
    def leftover(self) -> Leftover | None:
        """What has to be removed on the system when the transfer is given up, or None."""
        if not self.work:
            return None
        replaced = self.target if self.replaces and self.direction == "upload" else None
        return Leftover(self.work, self.system, replaced, self.options.account)

    @property
    def payload(self) -> str:
        """Full path of the archive on the system."""
        return job_frame.path_in(self.work, self.archive_name)

    @property
    def is_packed(self) -> bool:
        """Whether the archive is there and what it must hold is known; only it has to be moved."""
        return self.tree is not None

    @property
    def archive_name(self) -> str:
        return "tree.tar.gz" if self.options.compression == "gzip" else "tree.tar"


@dataclass(frozen=True)
class DirectoryResult:
    """A proven transfer of a directory.

    :ivar files: number of regular files.
    :ivar bytes: their sizes together.
    :ivar tree_sha256: digest of names, types, sizes, link targets and contents, equal at both ends; with
        ``verify_checksum=False`` that of an upload's source, or None.
    :ivar way: how the archive went: ``direct``, ``staged``; ``skip`` when the same tree was there.
    :ivar job_ids: all jobs it took on the system.
    :ivar seconds: from start to end, waiting included.
    """

    source: str
    target: str
    files: int
    bytes: int
    tree_sha256: str | None
    way: Way
    system: str
    job_ids: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "job_ids": list(self.job_ids)}


Next = DirectoryTransfer | DirectoryResult


def finished(transfer: DirectoryTransfer, tree: TreeDigest, way: Way) -> DirectoryResult:
    """Return the result of a transfer that is over."""
    return DirectoryResult(
        transfer.source,
        transfer.target,
        tree.files,
        tree.bytes,
        tree.sha256,
        way,
        transfer.system,
        transfer.job_ids,
        round(time.time() - transfer.started, 3),
    )
