"""The staged way of an upload: get a ticket, send the bytes to the object store, go on after a crash.

The server hands out URLs and starts a job that waits for the object; it writes the file once the object is
complete. Knows the order of these steps. What can be gone on with is ``resume``'s to say, what proves the
file is ``upload``'s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .. import staging
from ..errors import (
    AmbiguousError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TransferFailedError,
)
from ..leftovers import Leftover
from ..models import TransferJob
from ..sync_client import FirecrestClient
from . import orphans
from .beside import check_beside
from .giving_up import give_up_upload, half_of
from .plan import IfExists, UploadPlan, needing
from .resume import Save, UploadState, continued_upload, logger

_LOST_TICKET = (TransferFailedError, NotFoundError, PermissionDeniedError)
"""What a store says about an upload that was aborted or cleaned up, or a URL that it takes no more."""


@dataclass(frozen=True)
class StagedUpload:
    """An upload whose bytes are in the object store and which the server writes to the file system; holds
    no URL.

    :ivar sha256: digest of the bytes sent.
    :ivar job_id: the server's job that writes the file (FirecREST v2).
    :ivar task_id: the server's task that does so (FirecREST v1).
    :ivar part: the path that is written, and renamed to ``target`` when it is proven; None: ``target`` itself
        is.
    :ivar if_exists: what may be at the target then: with ``overwrite`` a file, else nothing.
    :ivar pieces: up to which number the names of pieces beside the target were free; 0: nobody has looked.
    :ivar part_size: bytes of such a piece.
    """

    source: str
    target: str
    size: int
    sha256: str
    system: str
    job_id: str | None = None
    output_log: str = ""
    error_log: str = ""
    task_id: str | None = None
    account: str | None = None
    verify_checksum: bool = True
    replaces: bool = False
    seconds: float = 0.0
    part: str | None = None
    if_exists: IfExists = "fail"
    pieces: int = 0
    part_size: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StagedUpload:
        """Rebuild it from :meth:`as_dict`."""
        return cls(**values)

    @property
    def transfer(self) -> TransferJob | None:
        """The server's job, or None on FirecREST v1."""
        if self.job_id is None:
            return None
        return TransferJob(self.job_id, self.system, "", self.output_log, self.error_log)

    @property
    def leftover(self) -> Leftover | None:
        """What is to be removed on the system when this is given up."""
        return Leftover(self.part, self.system) if self.part else half_of(self)


def stage_upload(
    client: FirecrestClient,
    plan: UploadPlan,
    *,
    progress: staging.Progress | None = None,
    on_start: Callable[[TransferJob], None] | None = None,
    stop: threading.Event | None = None,
    state: UploadState | None = None,
    save: Save | None = None,
    keep: bool = False,
) -> StagedUpload:
    """Send a large file to the object store in parts; the server's job then writes it.

    :param client: the client.
    :param plan: a plan whose way is ``staged``.
    :param progress: called with bytes sent and bytes in all, about once a second.
    :param on_start: called with the server's job as soon as it exists, so that a kill can find it.
    :param stop: set it to stop the sending.
    :param state: how far an earlier process got; what still holds of it is gone on with, the rest cancelled.
    :param save: called with the state whenever it changes, so that a later process can go on.
    :param keep: leave the server's job waiting when the sending fails in a way that may pass (another
        attempt follows).
    :raises ConflictError: on FirecREST v2, a name beside the target is taken that the server's job would
        overwrite; nothing was sent.
    :raises FirecrestError: it failed; the server's job was cancelled, since it would hold its slot to the
        time limit, and what it had written was removed.
    :endpoint: POST .../transfer/upload, GET .../ops/ls, then the presigned URLs
    """
    sending = _Sending(client, plan, progress, on_start, stop, save or (lambda state: None), keep)
    with needing(plan.source):
        return _sent(client, plan, sending, state)


def _sent(
    client: FirecrestClient, plan: UploadPlan, sending: _Sending, state: UploadState | None
) -> StagedUpload:
    going = continued_upload(client, plan, state) if state is not None else None
    if going is None:
        return sending.from_the_start()
    try:
        return sending.on_from(going)
    except _LOST_TICKET as error:
        # Not one of their kinds that says something about our side: the file changed, somebody stopped it.
        if type(error) not in _LOST_TICKET:
            raise
        logger.warning("The earlier upload cannot be gone on with (%s); starting anew.", error.message)
    return sending.from_the_start()


class _Sending:
    """The sending of one file by one process."""

    def __init__(
        self,
        client: FirecrestClient,
        plan: UploadPlan,
        progress: staging.Progress | None,
        on_start: Callable[[TransferJob], None] | None,
        stop: threading.Event | None,
        save: Save,
        keep: bool,
    ) -> None:
        self._client, self._plan = client, plan
        self._progress, self._on_start, self._stop = progress, on_start, stop
        self._save, self._keep = save, keep
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def from_the_start(self) -> StagedUpload:
        """Get a ticket, and send everything."""
        plan, client = self._plan, self._client
        state = UploadState.of_plan(plan, "started")
        try:
            ticket = client.transfer_upload(plan.written, plan.size, account=plan.account, system=plan.system)
        except AmbiguousError:
            if client.api.generation == 2:
                orphans.cancel_ingress(client, plan.target, plan.system)
            raise
        return self.on_from(state.with_ticket(ticket), is_new=True)

    def on_from(self, state: UploadState, *, is_new: bool = False) -> StagedUpload:
        """Send what is missing; when that fails for good, cancel the server's job."""
        self._state = state
        try:
            if is_new:
                self._save(state)
            if self._on_start is not None and state.transfer is not None:
                self._on_start(state.transfer)
            self._look_beside()
            sha256 = self._sha256_sent() if state.phase == "sent" else self._send()
        except BaseException as error:
            if not (self._keep and staging.may_pass(error)):
                give_up_upload(self._client, state.job_id, state.system, self._state.leftover)
            raise
        self._change(phase="sent", sha256=sha256, part_urls=(), complete_url="", form_url="", form_fields={})
        return self._staged(sha256)

    def _look_beside(self) -> None:
        """Refuse names that the server's job would overwrite, as long as it cannot have begun."""
        state = self._state
        if state.phase == "started" and state.job_id is not None and not self._plan.alone:
            self._change(pieces=check_beside(self._client, self._plan, state.part_size))

    def _sha256_sent(self) -> str:
        return self._state.sha256 or staging.sha256_of(self._plan.source, cancelled=self._stop)

    def _send(self) -> str:
        state, plan = self._state, self._plan
        # Before the object is whole: the server's job may see it at once, and begin to write.
        self._check_size(plan.source.stat().st_size)
        options = staging.StagingOptions(verify=self._client.settings.verify)
        if state.task_id is not None:
            sent = staging.post_object(
                plan.source,
                state.form_url,
                state.form_fields,
                options=options,
                progress=self._progress,
                cancelled=self._stop,
            )
        else:
            sent = staging.put_object(
                plan.source,
                state.part_urls,
                state.complete_url,
                state.part_size,
                options=options,
                progress=self._progress,
                cancelled=self._stop,
                done=state.parts,
                on_part=self._remember_part,
                before_completing=lambda: self._change(phase="completing"),
                may_be_complete=state.phase == "completing",
            )
        self._check_size(sent.size)
        return sent.sha256

    def _check_size(self, size: int) -> None:
        if size != self._plan.size:
            raise InvalidRequestError(
                f"source_path: {self._plan.source} changed its size while it was being uploaded."
            )

    def _remember_part(self, number: int, etag: str) -> None:
        self._change(parts={**self._state.parts, number: etag})

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._state = replace(self._state, **changes)
            self._save(self._state)

    def _staged(self, sha256: str) -> StagedUpload:
        state, plan = self._state, self._plan
        return StagedUpload(
            source=str(plan.source),
            target=plan.target,
            size=plan.size,
            sha256=sha256,
            system=plan.system,
            job_id=state.job_id,
            output_log=state.output_log,
            error_log=state.error_log,
            task_id=state.task_id,
            account=plan.account,
            verify_checksum=plan.verify_checksum,
            replaces=state.replaces,
            seconds=time.monotonic() - self._started,
            part=state.part,
            if_exists=plan.if_exists,
            pieces=state.pieces,
            part_size=state.part_size,
        )
