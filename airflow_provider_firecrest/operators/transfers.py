"""Operators that move a file or a directory between Airflow's workers and a system, with proof.

Knows the story of a file in a task: plan, move, wait for the server's job or task, prove. The data moves in
the worker; the waiting is done in the triggerer. What the steps do stands in ``client.transfers``, loaded
when a task runs; how a directory goes, in ``_directories``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from .._crash_points import crash_point
from ..hooks._task import DEFAULT_CONN_ID, default_deferrable
from ._directories import NO_KEY, OTHER_KEY
from ._resuming import REATTACH, ResumesTransfers

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers import DownloadPlan, StagedDownload, StagedUpload, TransferResult, UploadPlan
    from ..client.transfers.directory import Next
    from ._transfer_memory import TransferMemory

_POLL_INTERVAL = 15.0
_PROGRESS_EVERY = 30.0


class _TransferOperator(ResumesTransfers, BaseOperator):
    """What both directions share: arguments, and the order of the steps."""

    template_fields: Sequence[str] = (
        "source_path",
        "target_path",
        "account",
        "partition",
        "time_limit",
        "system",
        "firecrest_conn_id",
    )
    ui_color = "#e2f0de"
    cancel_on_kill = True

    def __init__(
        self,
        *,
        source_path: str,
        target_path: str,
        if_exists: str = "fail",
        verify_checksum: bool = True,
        compression: str = "none",
        account: str | None = None,
        partition: str | None = None,
        time_limit: str | None = None,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = _POLL_INTERVAL,
        reattach: Literal["retry", "never"] = "retry",
        wait_for_quota: bool = True,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reattach not in REATTACH:
            raise ValueError(f"reattach: {reattach!r} is not one of {', '.join(REATTACH)}.")
        self.source_path = source_path
        self.target_path = target_path
        self.if_exists = if_exists
        self.verify_checksum = verify_checksum
        self.compression = compression
        self.account = account
        self.partition = partition
        self.time_limit = time_limit
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.poll_interval = poll_interval
        self.reattach = reattach
        self.wait_for_quota = wait_for_quota
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Check, move, and wait for the server's job where there is one."""
        with self.firecrest() as client:
            if self._is_directory(client):
                step = self.within_quota(lambda: self._start_directory(client), context)
                return self._wait_or_return(client, step, context)
            note = self.within_quota(lambda: self._begin(client, context), context)
            if "result" in note:
                return note["result"]
            self.started(note, context)
            if not self.deferrable or "staged" not in note:
                return self.wait_here(client, note, context)
        crash_point("before_defer")
        return self.wait_in_triggerer(note, context)

    def _begin(self, client: FirecrestClient, context: Context) -> dict[str, Any]:
        """Move a file as far as it goes now; return ``result``, or the note of what to wait for."""
        from ..client.errors import TooLargeError
        from ..client.transfers import staged_instead

        memory = self.memory(client, context)
        known = self.known(client, memory)
        plan = self._plan(client, known)
        if plan.way == "skip":
            self.log.info("%s is there already, with the same size and SHA-256.", plan.target)
            memory.forget()
            return {"result": _skipped(plan)}
        self.log.info("%s -> %s: %d bytes, %s.", plan.source, plan.target, plan.size, plan.way)
        if plan.way == "direct":
            try:
                result = self._done(self._direct(client, plan, memory))
                memory.forget()
                return {"result": result}
            except TooLargeError as error:
                self.log.warning("The direct way cannot carry it after all: %s", error)
                plan = staged_instead(client, plan)
        return self._staged_note(client, plan, memory, known, context)

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Prove the transfer, now that what it waited for is over."""
        from airflow.providers.common.compat.sdk import AirflowException

        from ..triggers._watch import job_from_dict

        note = event["carry"]
        if event["status"] != "done":
            why = event.get("message") or f"{note['system']} does not know it any more."
            self.cancel(client, note, "nobody knows what became of it")
            what = f"job {note['job_id']}" if note["job_id"] else f"task {note['firecrest_task_id']}"
            raise AirflowException(f"What became of the server's {what} is not known: {why}")
        if "directory" in note:
            return self._finish_directory(client, event, context)
        job = job_from_dict(event["jobs"][0]) if note["job_id"] else None
        return self._finish_file(client, note, job, context)

    def _finish_file(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        """Prove a file; what failed for good is not gone on with."""
        from ..client.errors import FirecrestError
        from ..client.staging import may_pass

        memory = self.memory(client, context)
        try:
            result = self._finish(client, note, job, context)
        except FirecrestError as error:
            if not may_pass(error):
                memory.forget()
            raise
        memory.forget()
        return result

    def _is_directory(self, client: FirecrestClient) -> bool:
        raise NotImplementedError

    def _start_directory(self, client: FirecrestClient) -> Next:
        raise NotImplementedError

    def _plan(self, client: FirecrestClient, known: dict[str, Any] | None) -> Any:
        raise NotImplementedError

    def _direct(self, client: FirecrestClient, plan: Any, memory: TransferMemory) -> TransferResult:
        raise NotImplementedError

    def _staged_note(
        self,
        client: FirecrestClient,
        plan: Any,
        memory: TransferMemory,
        known: dict[str, Any] | None,
        context: Context,
    ) -> dict[str, Any]:
        raise NotImplementedError

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        raise NotImplementedError

    def _note_for(self, staged: StagedUpload | StagedDownload) -> dict[str, Any]:
        return {
            "job_id": staged.job_id,
            "firecrest_task_id": staged.task_id,
            "system": staged.system,
            "submitted_at": time.time(),
        }

    def _done(self, result: TransferResult) -> dict[str, Any]:
        self.log.info(
            "Done: %s, %d bytes, SHA-256 %s, %.1f s.",
            result.target,
            result.size,
            result.sha256,
            result.seconds,
        )
        return result.as_dict()

    def _progress(self) -> Callable[[int, int], None]:
        """Return a callback that logs twice a minute."""
        last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY:
                last = time.monotonic()
                self.log.info("%d of %d MiB", done >> 20, total >> 20)

        return tell


class FirecrestUploadOperator(_TransferOperator):
    """Uploads a file or a directory: little in one request, much through the server's object storage.

    The result is a JSON dict. Of a file: ``source``, ``target``, ``size``, ``sha256``, ``way`` (``direct``,
    ``staged`` or ``skip``), ``system``, ``job_id`` and ``seconds``; one that turns out wrong on the system is
    removed there. Of a directory: ``source``, ``target``, ``files``, ``bytes``, ``tree_sha256``, ``way``,
    ``system``, ``job_ids`` and ``seconds``; it travels as one archive, a batch job unpacks it, and it gets
    its name when it is complete and right.

    :param source_path: local file or directory, on the worker.
    :param target_path: absolute path on the system. For a file: the file to be, or a directory (an existing
        one, or ending with ``/``), which gets the source's name. For a directory: the directory to be, or,
        with a ``/`` at its end, the one that gets the source's name.
    :param if_exists: what to do when the target exists: ``fail``; ``overwrite`` (a directory as a whole);
        ``skip`` accepts the same file or tree and fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only sizes (of a directory: names, types,
        sizes, link targets).
    :param compression: of a directory's archive: ``none`` or ``gzip``.
    :param account: Slurm account of the jobs on the system; default: the connection's.
    :param partition: partition of the job that unpacks a directory; default: Slurm's.
    :param time_limit: of that job, as ``HH:MM:SS``; default: one hour.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about jobs and tasks.
    :param reattach: ``retry``: a retry goes on with what the try before had done of a file (Airflow 3.3), a
        clear starts anew; ``never``: every try starts anew. What is not gone on with is cancelled.
    :param wait_for_quota: wait until a limit of the site (of jobs, of requests) lets the transfer through,
        up to ``execution_timeout``; False fails at once.
    :param deferrable: wait for jobs and tasks in the triggerer; default: ``[operators]
        default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong, or the target exists; a
        retry would not help.
    :raises AirflowException: the transfer failed, with the evidence.
    """

    def _is_directory(self, client: FirecrestClient) -> bool:
        return Path(self.source_path).is_dir()

    def _start_directory(self, client: FirecrestClient) -> Next:
        from ..client.transfers.directory import start_upload

        return start_upload(
            client,
            self.source_path,
            self.target_path,
            system=self.system,
            options=self._options(),
            watch=self._watch(),
        )

    def _plan(self, client: FirecrestClient, known: dict[str, Any] | None) -> UploadPlan:
        from ..client.transfers import UploadState, plan_upload

        def plan(if_exists: str) -> UploadPlan:
            return plan_upload(
                client,
                self.source_path,
                self.target_path,
                system=self.system,
                account=self.account,
                if_exists=if_exists,  # type: ignore[arg-type]
                verify_checksum=self.verify_checksum,
            )

        state = UploadState.from_dict(known) if known else None
        if state is not None and state.may_have_written:
            # The try before found the target as if_exists wants it; what is there now is its own work.
            found = plan("overwrite")
            if (found.target, str(found.source)) == (state.target, state.source):
                return replace(found, replaces=state.replaces)
        return plan(self.if_exists)

    def _direct(self, client: FirecrestClient, plan: UploadPlan, memory: TransferMemory) -> TransferResult:
        from ..client.transfers import UploadState, upload_direct

        memory.keep_upload(UploadState.of_plan(plan, "direct"))
        return upload_direct(client, plan)

    def _staged_note(
        self,
        client: FirecrestClient,
        plan: UploadPlan,
        memory: TransferMemory,
        known: dict[str, Any] | None,
        context: Context,
    ) -> dict[str, Any]:
        from ..client.transfers import UploadState, stage_upload
        from ..client.transfers.orphans import cancel_ingress

        def killable(job: Any) -> None:
            self._running = {"job_id": job.job_id, "system": plan.system}

        if known is None and not memory.first_try and client.api.generation == 2:
            # The try before may have been killed before it could write down which job it had started.
            cancel_ingress(client, plan.target, plan.system)
        staged = stage_upload(
            client,
            plan,
            progress=self._progress(),
            on_start=killable,
            stop=self.stop,
            state=UploadState.from_dict(known) if known else None,
            save=memory.keep_upload,
            keep=memory.keeps and self.another_try(context),
        )
        what = f"job {staged.job_id}" if staged.job_id else f"FirecREST's task {staged.task_id}"
        self.log.info("All bytes are in the object storage; %s writes the file.", what)
        return {**self._note_for(staged), "staged": staged.as_dict()}

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        from ..client.transfers import StagedUpload, finish_upload

        return self._done(finish_upload(client, StagedUpload.from_dict(note["staged"]), job))


class FirecrestDownloadOperator(_TransferOperator):
    """Downloads a file or a directory: little in one request, much through the server's object storage.

    The result is a JSON dict. Of a file: ``source``, ``target``, ``size``, ``sha256``, ``way`` (``direct``,
    ``staged`` or ``skip``), ``system``, ``job_id`` and ``seconds``. Of a directory: ``source``, ``target``,
    ``files``, ``bytes``, ``tree_sha256``, ``way``, ``system``, ``job_ids`` and ``seconds``; a batch job
    packs it, and it travels as one archive. The target gets its name only when it is complete and right.

    :param source_path: absolute path of a file or a directory on the system.
    :param target_path: local path on the worker. For a file: the file to be, or an existing directory, which
        gets the source's name. For a directory: the directory to be, or, with a ``/`` at its end, the one
        that gets the source's name.
    :param if_exists: what to do when the target exists: ``fail``; ``overwrite`` (a directory as a whole);
        ``skip`` accepts the same file or tree and fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only sizes (of a directory: names, types,
        sizes, link targets).
    :param compression: of a directory's archive: ``none`` or ``gzip``.
    :param account: Slurm account of the jobs on the system; default: the connection's.
    :param partition: partition of the job that packs a directory; default: Slurm's.
    :param time_limit: of that job, as ``HH:MM:SS``; default: one hour.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about jobs and tasks.
    :param reattach: ``retry``: a retry goes on with what the try before had done of a file (Airflow 3.3), a
        clear starts anew; ``never``: every try starts anew. What is not gone on with is cancelled.
    :param wait_for_quota: wait until a limit of the site (of jobs, of requests) lets the transfer through,
        up to ``execution_timeout``; False fails at once.
    :param deferrable: wait for jobs and tasks in the triggerer; default: ``[operators]
        default_deferrable``. Needs Airflow's Fernet key on the workers, because the download's URL is a
        secret that outlives the deferral; without it the task waits in the worker.
    :raises AirflowFailException: a path, the system or the connection is wrong, or the target exists; a
        retry would not help.
    :raises AirflowException: the transfer failed, with the evidence.
    """

    _staged: StagedDownload | None = None

    def _is_directory(self, client: FirecrestClient) -> bool:
        from ..client.errors import FirecrestError

        try:
            return client.stat(self.source_path, system=self.system).is_dir
        except FirecrestError:
            # The plan says it with the name of the field.
            return False

    def _start_directory(self, client: FirecrestClient) -> Next:
        from ..client.transfers.directory import start_download

        return start_download(
            client,
            self.source_path,
            self.target_path,
            system=self.system,
            options=self._options(),
            watch=self._watch(),
        )

    def _plan(self, client: FirecrestClient, known: dict[str, Any] | None) -> DownloadPlan:
        from ..client.transfers import plan_download

        # The try before found no target; one that is there now, and is the same file, is its own work.
        mine = known is not None and self.if_exists == "fail"
        return plan_download(
            client,
            self.source_path,
            self.target_path,
            system=self.system,
            account=self.account,
            if_exists="skip" if mine else self.if_exists,  # type: ignore[arg-type]
            verify_checksum=self.verify_checksum,
        )

    def _direct(self, client: FirecrestClient, plan: DownloadPlan, memory: TransferMemory) -> TransferResult:
        from ..client.transfers import StagedDownload, download_direct

        memory.keep_download(StagedDownload.of_plan(plan))
        return download_direct(client, plan)

    def _staged_note(
        self,
        client: FirecrestClient,
        plan: DownloadPlan,
        memory: TransferMemory,
        known: dict[str, Any] | None,
        context: Context,
    ) -> dict[str, Any]:
        from ..client.transfers import StagedDownload, continued_download, stage_download
        from ._seal import seal

        staged = continued_download(client, plan, StagedDownload.from_dict(known)) if known else None
        if staged is None:
            staged = stage_download(client, plan)
            memory.keep_download(staged)
        self._staged = staged
        note = self._note_for(staged)
        what = f"Job {staged.job_id}" if staged.job_id else f"FirecREST's task {staged.task_id}"
        self.log.info("%s puts the file into the object storage.", what)
        if staged.url is None:
            # FirecREST v1 tells the URL at the end of its task: there is no secret to keep until then.
            note["staged"] = staged.as_dict()
        elif self.deferrable and (sealed := seal(staged.as_dict())) is not None:
            note["staged"] = sealed
        elif self.deferrable:
            self.log.warning(NO_KEY)
        return note

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        from ..client.transfers import finish_download

        staged = self._staged or self._unsealed(note)
        if staged is None:
            self.log.warning("%s Starting over, and waiting in the worker.", OTHER_KEY)
            self.deferrable = False
            return self.execute(context)
        return self._done(
            finish_download(
                client,
                staged,
                job,
                progress=self._progress(),
                stop=self.stop,
                mark=self.mark(client, context),
                keep=self.another_try(context),
                fresh=self.reattach == "never",
            )
        )

    @staticmethod
    def _unsealed(note: dict[str, Any]) -> StagedDownload | None:
        from ..client.transfers import StagedDownload
        from ._seal import unseal

        values = note.get("staged")
        if isinstance(values, str):
            values = unseal(values)
        return None if values is None else StagedDownload.from_dict(values)


def _skipped(plan: UploadPlan | DownloadPlan) -> dict[str, Any]:
    from ..client.transfers import TransferResult

    return TransferResult(
        source=str(plan.source),
        target=str(plan.target),
        size=plan.size,
        sha256=plan.sha256,
        way="skip",
        system=plan.system,
    ).as_dict()
