"""What a transfer that goes in steps is, at any moment: plain values, in which a later process finds all it
needs.

Such a transfer has a directory of its own on the system (``workdir``), and batch jobs of ours work there.
What it moves is a whole directory (``directories``), or a file that a job of ours gives its name
(``atomic``). Knows no step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal, Self, TypeVar

from ...attempts import Attempt
from ...leftovers import Leftover
from ...staging import may_pass
from ..plan import IfExists, Way, check_if_exists
from ..resume import Save, UploadState
from . import job_frame

Phase = Literal["comparing", "packing", "sending", "staging", "unpacking", "placing", "publishing", "done"]
"""What is being waited for: a job that measures the tree on the system (``comparing``), one that packs it,
the server moving the bytes to or from the object store (``staging``), a job that unpacks an archive, one that
gives a file its name (``placing``). Without a job's id, that job is about to be submitted. ``sending``: all
is ready here, and the bytes are on their way. ``publishing``: the tree is here and right, and about to get
its name. ``done``: it has it; what the transfer has on the system is about to be removed."""

TIME_LIMIT = "01:00:00"
"""Of a job of ours: an hour reads and writes a terabyte."""


@dataclass(frozen=True)
class StepOptions:
    """How something is moved in steps.

    :ivar if_exists: ``fail``; ``overwrite`` replaces what is there as a whole; ``skip`` accepts the same.
    :ivar verify_checksum: compare SHA-256 of contents; without it, what can be seen without reading them.
    :ivar account: Slurm account of the jobs.
    :ivar partition: partition of our jobs; None leaves it to Slurm.
    :ivar time_limit: of these jobs.
    """

    if_exists: IfExists = "fail"
    verify_checksum: bool = True
    account: str | None = None
    partition: str | None = None
    time_limit: str = TIME_LIMIT

    def check(self) -> None:
        """Refuse what nobody understands.

        :raises InvalidRequestError: names the field.
        """
        check_if_exists(self.if_exists)
        job_frame.check_time_limit(self.time_limit)


@dataclass(frozen=True)
class Again:
    """What lets a later process go on where this one was killed; by default none does.

    :ivar place: names the temporary directories, here and on the system, so that each process with the same
        text finds those of the others; None: nobody looks for them.
    :ivar attempt: whose mark the names of the jobs carry.
    :ivar keep: leave everything as it is when a step fails in a way that may pass: another process follows.
    :ivar waits_out: whether this or a later process will soon repeat the step that failed so.
    :ivar sweep: an earlier process may have left something that nobody wrote down.
    :ivar sending: how far an earlier process got with the bytes of an upload.
    :ivar save_sending: called with that whenever it changes.
    """

    place: str | None = None
    attempt: Attempt | None = None
    keep: bool = False
    waits_out: Callable[[BaseException], bool] = lambda error: False
    sweep: bool = False
    sending: UploadState | None = field(default=None, repr=False)
    save_sending: Save | None = None

    def leaves(self, error: BaseException) -> bool:
        """Return whether everything stays as it is after a failure, for whoever goes on with it."""
        return self.waits_out(error) or (self.keep and may_pass(error))


@dataclass(frozen=True)
class StepwiseTransfer:
    """Something on its way.

    :ivar direction: ``upload`` or ``download``.
    :ivar source: full path of the source, here or there.
    :ivar target: full path of the target, there or here.
    :ivar work: the transfer's own directory on the system.
    :ivar phase: what is being waited for, or done; None: nothing yet.
    :ivar way: how the bytes go.
    :ivar job_id: the job that is waited for, or None.
    :ivar job_name: the name of that job, when it is one of ours.
    :ivar task_id: FirecREST v1's task that is waited for, or None.
    :ivar replaces: something is at the target, and goes.
    :ivar source_stamp: tells whether the source is unchanged, as far as that can be seen without reading it.
    :ivar staged: the transfer of the bytes themselves. A download's holds a URL, which is a credential.
    :ivar job_ids: all jobs so far.
    """

    kind: ClassVar[str]
    """Tells the kinds apart where they are kept as plain values."""

    direction: Literal["upload", "download"]
    source: str
    target: str
    system: str
    options: StepOptions
    work: str = ""
    phase: Phase | None = None
    way: Way = "direct"
    job_id: str | None = None
    job_name: str = ""
    task_id: str | None = None
    submitted_at: float = 0.0
    replaces: bool = False
    source_stamp: str = ""
    staged: dict[str, Any] | None = field(default=None, repr=False)
    job_ids: tuple[str, ...] = ()
    started: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, a download's URL among them."""
        return {**asdict(self), "kind": self.kind, "job_ids": list(self.job_ids)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild it from :meth:`as_dict`."""
        found = {name: value for name, value in values.items() if name != "kind"}
        return cls(**{**found, "job_ids": tuple(found["job_ids"])})

    def waits_for(
        self,
        phase: Phase,
        *,
        job_id: str | None = None,
        job_name: str = "",
        task_id: str | None = None,
        **changes: Any,
    ) -> Self:
        """Return the transfer as it is from now on, waiting for a job or a task."""
        return replace(
            self,
            phase=phase,
            job_id=job_id,
            job_name=job_name,
            task_id=task_id,
            submitted_at=time.time(),
            job_ids=(*self.job_ids, *([job_id] if job_id else [])),
            **changes,
        )

    @property
    def payload(self) -> str:
        """Full path, on the system, of the one file in which the bytes travel."""
        raise NotImplementedError

    @property
    def is_packed(self) -> bool:
        """Whether the payload of a download is ready on the system."""
        return False

    @property
    def leftover(self) -> Leftover | None:
        """What has to be removed on the system when the transfer is given up, or None."""
        return Leftover(self.work, self.system, None, self.options.account) if self.work else None


AnyTransfer = TypeVar("AnyTransfer", bound=StepwiseTransfer)


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes, who can stop it, and who comes back.

    :ivar progress: called with bytes moved and bytes in all, about once a second.
    :ivar on_change: called with the transfer before each thing that leaves something to go on with, to cancel
        or to remove, and after it.
    :ivar stop: set it to stop the part that is done here.
    :ivar again: for a later process.
    """

    progress: Callable[[int, int], None] | None = None
    on_change: Callable[[StepwiseTransfer], None] = lambda transfer: None
    stop: threading.Event = field(default_factory=threading.Event)
    again: Again = field(default_factory=Again)
