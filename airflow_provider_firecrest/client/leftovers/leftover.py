"""What an interrupted transfer may have left on the system: plain values, which travel with a trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

OLD = "old"
"""Name under which a job puts the tree that it replaces aside, for a moment, in its own directory."""


@dataclass(frozen=True)
class Leftover:
    """A directory, or a file, that belongs to one transfer alone; or, with a job, the target that this job of
    FirecREST v2's writes in place, which belongs to the transfer only while the job is at it.

    :ivar path: where it is.
    :ivar system: system name.
    :ivar replaced: the target whose old tree may stand in it; None when nothing was to be replaced.
    :ivar account: Slurm account, should the removal take a job.
    :ivar job_id: the job that writes ``path`` in place; its log decides what there is to remove.
    :ivar log: path of that log.
    :ivar pieces: up to which number the names of pieces beside ``path`` were free before the job began;
        0: nobody has looked.
    :ivar piece_size: bytes of a piece.
    """

    path: str
    system: str
    replaced: str | None = None
    account: str | None = None
    job_id: str | None = None
    log: str = ""
    pieces: int = 0
    piece_size: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Leftover:
        """Rebuild it from :meth:`as_dict`."""
        return cls(**values)
