"""Uploading a file that gets its name in one step, where the API cannot rename (FirecREST v2): send it into a
directory of the transfer's own beside the target, have one job compare it and rename it.

The steps are apart as a directory's are, and are taken on by ``stepwise.go_on``. Until the job renames, what
was at the target is untouched. The calls that carry the bytes never see the target's name, only that job
does, quoted; so the name may hold what a staged upload cannot carry.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ...._crash_points import crash_point
from ...errors import ConflictError, IntegrityError, InvalidRequestError, NotFoundError, TransferFailedError
from ...models import Job
from ...sync_client import FirecrestClient
from .. import proof
from ..plan import TransferResult
from ..sending import StagedUpload
from ..steps import workdir
from ..steps.jobs import submitted
from ..steps.resume import abandon, clear_up_unnoted, continued, giving_up, giving_up_earlier
from ..steps.sending import make_work, sent_into_work, with_work
from ..steps.state import StepOptions, StepwiseTransfer, Watch
from ..upload import finish_upload
from . import place_job
from .plan import planned, same_there
from .state import AtomicUpload

logger = logging.getLogger("airflow_provider_firecrest.transfers")


def start_atomic_upload(
    client: FirecrestClient,
    source: Path | str,
    target: str,
    *,
    system: str | None = None,
    options: StepOptions | None = None,
    watch: Watch | None = None,
    earlier: StepwiseTransfer | None = None,
) -> AtomicUpload | TransferResult:
    """Begin to upload a file that gets its name in one step: check, send, submit the job that renames.

    ``stepwise.run(client, start_atomic_upload(client, source, target))`` waits for all of it.

    :param client: a client of FirecREST v2.
    :param source: a local file.
    :param target: absolute path on the system: the file to be, or an existing directory (then, and when it
        ends with ``/``, the source's name is added).
    :param system: system name; default: the connection's.
    :param options: how.
    :param watch: who is told.
    :param earlier: how far an earlier process got; what still holds of it is gone on with, the rest given up.
    :returns: what to wait for before ``stepwise.go_on``; or the result, when the same file is there
        (``if_exists="skip"``).
    :raises InvalidRequestError: a path cannot be used; the message names the field. Or it is FirecREST v1,
        where :func:`plan_upload` leads to a rename without a job.
    :raises NotFoundError: the target's directory does not exist.
    :raises ConflictError: the target exists.
    :endpoint: GET .../ops/stat, POST .../ops/mkdir; the bytes go as every file's do; POST .../jobs
    """
    options, watch = options or StepOptions(), watch or Watch()
    if client.api.generation == 1:
        raise InvalidRequestError("On FirecREST v1 every upload is renamed at its end; it takes no job.")
    with giving_up_earlier(client, earlier, watch.again):
        return _start(client, Path(source), target, system, options, watch, earlier)


def go_on(
    client: FirecrestClient, upload: AtomicUpload, job: Job | None, watch: Watch
) -> AtomicUpload | TransferResult:
    """Take the step after the one that was waited for."""
    if upload.phase == "staging" and upload.staged is not None:
        staged = StagedUpload.from_dict(upload.staged)
        finish_upload(client, staged, job)
        return _have_placed(client, replace(upload, staged=None, sha256=staged.sha256), watch)
    if upload.phase == "placing" and job is not None:
        return _placed(client, upload, job, watch)
    raise InvalidRequestError(f"An atomic upload has no step after {upload.phase!r}.")


def _start(
    client: FirecrestClient,
    source: Path,
    target: str,
    system: str | None,
    options: StepOptions,
    watch: Watch,
    earlier: StepwiseTransfer | None,
) -> AtomicUpload | TransferResult:
    upload, there = planned(client, source, target, system, options)
    if earlier is not None and (going := continued(client, upload, earlier)) is not None:
        return _from_there(client, going, watch)
    clear_up_unnoted(client, upload, watch.again)
    if there is not None and (same := same_there(client, upload, there, earlier)) is not None:
        return same
    return _send(client, upload, watch)


def _from_there(client: FirecrestClient, upload: AtomicUpload, watch: Watch) -> AtomicUpload | TransferResult:
    """Take the step that an earlier process did not get to, or to the end of."""
    watch.on_change(upload)
    if upload.phase == "sending":
        return _send(client, upload, watch)
    if upload.phase == "done":
        return _cleared(client, upload)
    if upload.phase == "staging" or upload.job_id is not None:
        return upload
    with giving_up(client, upload, watch.again):
        return _have_placed(client, upload, watch)


def _send(client: FirecrestClient, upload: AtomicUpload, watch: Watch) -> AtomicUpload:
    """Send the file, and have it placed once it is there."""
    upload = with_work(upload, watch)
    with giving_up(client, upload, watch.again):
        upload = replace(upload, phase="sending")
        watch.on_change(upload)
        make_work(client, upload)
        source, earlier = Path(upload.source), watch.again.sending
        upload, sha256 = sent_into_work(client, upload, source, watch, earlier)
        if upload.phase == "staging":
            return upload
        return _have_placed(client, replace(upload, sha256=sha256), watch)


def _have_placed(client: FirecrestClient, upload: AtomicUpload, watch: Watch) -> AtomicUpload:
    script = place_job.place_script(
        upload.target,
        upload.work,
        size=upload.size,
        sha256=upload.sha256 if upload.options.verify_checksum else None,
        replace=upload.options.if_exists == "overwrite",
        time_limit=upload.options.time_limit,
    )
    upload = submitted(client, upload, "placing", "place", script, watch)
    logger.info("Job %s compares the file and gives it its name.", upload.job_id)
    return upload


def _placed(client: FirecrestClient, upload: AtomicUpload, job: Job, watch: Watch) -> TransferResult:
    doing = f"Giving {upload.target} on {upload.system} its name"
    noes = (place_job.DIFFERS, place_job.OCCUPIED)
    said = workdir.report(client, upload.work, job, system=upload.system, doing=doing, noes=noes)
    _check_no(upload, job, said)
    if said.get(place_job.KEPT) == "no":
        logger.warning("%s does not keep group and permissions of the file it replaced.", upload.target)
    _must_be_there(client, upload, job)
    upload = replace(upload, phase="done")
    watch.on_change(upload)
    crash_point("before_clearing")
    return _cleared(client, upload)


def _check_no(upload: AtomicUpload, job: Job, said: dict[str, str]) -> None:
    where = f"{upload.target} on {upload.system}"
    if differs := said.get(place_job.DIFFERS):
        raise IntegrityError(
            f"What arrived for {where} has {differs}, as job {job.job_id} found. It never got that name; what"
            " was there is as it was."
        )
    if occupied := said.get(place_job.OCCUPIED):
        advice = "" if upload.options.if_exists == "overwrite" else " if_exists='overwrite' replaces a file."
        raise ConflictError(
            f"target_path: at {where} there is {occupied}, as job {job.job_id} found; it is left as it"
            f" is.{advice}"
        )


def _must_be_there(client: FirecrestClient, upload: AtomicUpload, job: Job) -> None:
    try:
        found = proof.stat_when_there(client, upload.target, upload.system)
    except NotFoundError:
        found = None
    if found is None or not found.is_file or found.size != upload.size:
        said = workdir.evidence(client, upload.work, job, system=upload.system)
        raise TransferFailedError(f"{upload.target} on {upload.system} is not the file that was sent. {said}")


def _cleared(client: FirecrestClient, upload: AtomicUpload) -> TransferResult:
    """Remove what is not needed any more, now that the file is there and right."""
    abandon(client, upload)
    crash_point("after_clearing")
    return upload.result()
