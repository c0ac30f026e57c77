"""How far a transfer has got, so that a later process can go on with it: plain values, and when they still
hold.

Knows what must be unchanged (the source, the server's job or task, the URLs' time). Must not move bytes, nor
know where the values are kept meanwhile. They hold presigned URLs, which are credentials: seal them before
they leave the process.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .. import staging
from ..errors import NotFoundError
from ..leftovers import Leftover
from ..models import FormTicket, Job, TransferJob, UploadTicket
from ..sync_client import FirecrestClient
from . import part
from .giving_up import give_up, give_up_upload, half_of
from .plan import DownloadPlan, UploadPlan

if TYPE_CHECKING:
    from .download import StagedDownload

logger = logging.getLogger("airflow_provider_firecrest.transfers")

Phase = Literal["direct", "started", "completing", "sent"]
"""``direct``: one request is under way. ``started``: there is a ticket, and some parts may be sent.
``completing``: all parts are sent; the object may be there. ``sent``: it is; the server writes the file."""

URL_MARGIN = 60.0
"""Seconds a URL must have left, so that something can be done with it."""

_FORM_WAITS = ("100", "101", "110", "111")
_OBJECT_CAME = ("112", "113", "114", "115")


@dataclass(frozen=True)
class UploadState:
    """How far the upload of a file has got.

    :ivar mtime_ns: when the source was changed last; with its size it tells whether it is the same.
    :ivar replaces: whether something was at the target before.
    :ivar parts: ETags of the parts that are sent, by number.
    :ivar sha256: of the source, from ``sent`` on.
    :ivar part: the path that is written first and renamed when it is proven; None: the target itself is.
    :ivar pieces: up to which number the names of pieces beside the target were free; 0: nobody has looked.
    """

    source: str
    target: str
    system: str
    size: int
    mtime_ns: int
    phase: Phase
    replaces: bool = False
    job_id: str | None = None
    output_log: str = ""
    error_log: str = ""
    task_id: str | None = None
    part_urls: tuple[str, ...] = field(default=(), repr=False)
    complete_url: str = field(default="", repr=False)
    part_size: int = 0
    form_url: str = field(default="", repr=False)
    form_fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    parts: Mapping[int, str] = field(default_factory=dict)
    sha256: str | None = None
    part: str | None = None
    pieces: int = 0

    @classmethod
    def of_plan(cls, plan: UploadPlan, phase: Phase) -> UploadState:
        """Return the state of an upload that begins now."""
        found = plan.source.stat()
        return cls(
            source=str(plan.source),
            target=plan.target,
            system=plan.system,
            size=plan.size,
            mtime_ns=found.st_mtime_ns,
            phase=phase,
            replaces=plan.replaces,
            part=plan.part,
        )

    def with_ticket(self, ticket: UploadTicket | FormTicket) -> UploadState:
        """Return the state once the server has handed out a ticket."""
        if isinstance(ticket, FormTicket):
            return replace(self, task_id=ticket.task_id, form_url=ticket.url, form_fields=dict(ticket.fields))
        return replace(
            self,
            job_id=ticket.transfer.job_id,
            output_log=ticket.transfer.output_log,
            error_log=ticket.transfer.error_log,
            part_urls=ticket.part_urls,
            complete_url=ticket.complete_url,
            part_size=ticket.part_size,
        )

    @property
    def transfer(self) -> TransferJob | None:
        """The server's job, or None on FirecREST v1."""
        if self.job_id is None:
            return None
        return TransferJob(self.job_id, self.system, "", self.output_log, self.error_log)

    @property
    def may_have_written(self) -> bool:
        """Whether what is at the target now may be this upload's own."""
        return self.phase != "started"

    @property
    def leftover(self) -> Leftover | None:
        """What the server's job may leave at the target when it is ended now; None: it cannot have begun."""
        if self.phase not in ("completing", "sent"):
            return None
        return half_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, the URLs among them."""
        parts = {str(number): etag for number, etag in self.parts.items()}
        return {**asdict(self), "part_urls": list(self.part_urls), "parts": parts}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UploadState:
        """Rebuild it from :meth:`as_dict`."""
        parts = {int(number): etag for number, etag in dict(values.get("parts") or {}).items()}
        urls = tuple(values.get("part_urls") or ())
        return cls(**{**values, "parts": parts, "part_urls": urls})

    def is_of(self, plan: UploadPlan) -> bool:
        """Whether the plan is still about the same bytes and the same place."""
        now = UploadState.of_plan(plan, self.phase)
        return (self.source, self.target, self.system, self.size, self.mtime_ns) == (
            now.source,
            now.target,
            now.system,
            now.size,
            now.mtime_ns,
        )


Save = Callable[[UploadState], None]
"""Keeps a state for a later process. Called from any thread, one at a time."""


def continued_upload(client: FirecrestClient, plan: UploadPlan, state: UploadState) -> UploadState | None:
    """Return the state to go on with, or None when the upload has to start anew; then what the server does
    for the old one is cancelled.

    :param client: the client.
    :param plan: what is to be done.
    :param state: how far an earlier process got.
    :endpoint: GET .../jobs/{job_id}; v1: GET /tasks/{task_id}
    """
    going = None
    if state.is_of(plan):
        look = _upload_by_job if state.job_id is not None else _upload_by_task
        going = look(client, state)
    if going is None:
        logger.info("The upload to %s starts anew.", plan.target)
        give_up_upload(client, state.job_id, state.system, state.leftover)
        if state.part:
            part.remove(client, state.part, state.system)
        return None
    sent = f"{len(going.parts)} of {len(going.part_urls)} parts are sent"
    logger.info(
        # Airflow's page cuts a line off after its first hundred characters; a path can have more.
        "Going on with the upload: %s (%s).",
        sent if going.phase == "started" else "all of it is in the object store",
        plan.target,
    )
    return going


def continued_download(
    client: FirecrestClient, plan: DownloadPlan, staged: StagedDownload
) -> StagedDownload | None:
    """Return the staged download to go on with, or None when the file has to be staged anew; then the old
    job is cancelled.

    :param client: the client.
    :param plan: what is to be done.
    :param staged: what an earlier process had the server stage.
    :endpoint: GET .../jobs/{job_id}; v1: GET /tasks/{task_id}
    """
    same = (staged.source, staged.system, staged.size, staged.mtime) == (
        plan.source,
        plan.system,
        plan.size,
        plan.mtime,
    )
    look = _staged_by_job if staged.job_id is not None else _staged_by_task
    if not same or not look(client, staged):
        logger.info("%s is put into the object store anew.", plan.source)
        give_up(client, staged.job_id, staged.system)
        return None
    logger.info("%s is in the object store, or on its way there, already.", plan.source)
    return replace(staged, target=str(plan.target), verify_checksum=plan.verify_checksum)


def give_up_known(
    client: FirecrestClient, job_id: str, system: str, values: Mapping[str, Any] | None
) -> None:
    """Give up a transfer of which another attempt has left this; never raises.

    :param client: the client.
    :param job_id: the server's job behind it.
    :param system: system name.
    :param values: its state as plain JSON; None: it cannot be read any more.
    :endpoint: as :func:`give_up_upload`
    """
    left = None
    if values is not None and "phase" in values:
        left = UploadState.from_dict(values).leftover
    give_up_upload(client, job_id, system, left)


def ended_without_file(client: FirecrestClient, state: UploadState) -> bool:
    """Return whether the server's job is over and has not written the file. Then what is at the target is
    somebody's, once what the job left is removed.

    :param client: the client.
    :param state: how far an earlier process got.
    :endpoint: GET .../jobs/{job_id}
    """
    if state.leftover is None:
        return False
    job = _found(lambda: client.get_job(str(state.job_id), system=state.system))
    return job is not None and job.is_final and not job.succeeded


def _upload_by_job(client: FirecrestClient, state: UploadState) -> UploadState | None:
    job = _found(lambda: client.get_job(str(state.job_id), system=state.system))
    if job is None:
        return None
    all_sent = state.phase in ("completing", "sent")
    if job.is_final:
        # It ends well without a file, too, when the object never came.
        return replace(state, phase="sent") if job.succeeded and all_sent else None
    if state.phase == "sent":
        return state
    return None if _is_over(state.complete_url) else state


def _upload_by_task(client: FirecrestClient, state: UploadState) -> UploadState | None:
    if state.task_id is None:
        return None
    task = _found(lambda: client.task(str(state.task_id)))
    if task is None:
        return None
    if task.status in _OBJECT_CAME:
        return replace(state, phase="sent")
    if task.status in _FORM_WAITS and not _form_is_over(state.form_fields):
        return replace(state, phase="started")
    return None


def _staged_by_job(client: FirecrestClient, staged: StagedDownload) -> bool:
    job: Job | None = _found(lambda: client.get_job(str(staged.job_id), system=staged.system))
    return job is not None and (not job.is_final or job.succeeded) and not _is_over(staged.url or "")


def _staged_by_task(client: FirecrestClient, staged: StagedDownload) -> bool:
    if staged.task_id is None:
        return False
    task = _found(lambda: client.task(str(staged.task_id)))
    if task is None or (task.is_final and not task.succeeded) or task.status == "302":
        return False
    return not task.succeeded or not _is_over(client.download_url(staged.task_id))


T = TypeVar("T")


def _found(look: Callable[[], T]) -> T | None:
    try:
        return look()
    except NotFoundError:
        return None


def _is_over(url: str) -> bool:
    return not url or staging.has_expired(url, within=URL_MARGIN)


def _form_is_over(fields: Mapping[str, str]) -> bool:
    """Whether an upload form's time is over; its policy says when that is."""
    if not fields:
        return True
    try:
        policy = json.loads(base64.b64decode(fields["policy"]))
        ends = datetime.datetime.fromisoformat(policy["expiration"]).timestamp()
    except (KeyError, TypeError, ValueError):
        # A form that does not say is tried; the store refuses it when it is too old.
        return False
    return time.time() + URL_MARGIN > ends
