"""What a file is that a job of ours gives its name, while it is on its way: plain values. Knows no step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ..plan import TransferResult, Way
from ..steps import job_frame
from ..steps.state import StepOptions, StepwiseTransfer
from . import place_job


@dataclass(frozen=True)
class AtomicUpload(StepwiseTransfer):
    """A file on its way.

    :ivar size: bytes.
    :ivar sha256: digest of the bytes sent, once they are.
    """

    kind: ClassVar[str] = "file"

    size: int = 0
    sha256: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild it from :meth:`as_dict`."""
        return super().from_dict({**values, "options": StepOptions(**values["options"])})

    @property
    def payload(self) -> str:
        """Full path, on the system, of the file before it has its name."""
        return job_frame.path_in(self.work, place_job.FILE)

    def result(self, way: Way | None = None) -> TransferResult:
        """Return the result, now that it is over.

        :param way: default: as the bytes went.
        """
        return TransferResult(
            self.source,
            self.target,
            self.size,
            self.sha256,
            way or self.way,
            self.system,
            self.job_id,
            round(time.time() - self.started, 3),
        )
