"""Operators that move one file between Airflow's workers and a system, with proof.

Knows the story of a transfer in a task: plan, move, wait for the server's job, prove. The data moves in the
worker; the server's job is waited for in the triggerer. What the steps do stands in ``client.transfers``,
loaded when a task runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from ..hooks._task import DEFAULT_CONN_ID, default_deferrable
from ._deferral import WaitsForJob

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers import DownloadPlan, StagedDownload, StagedUpload, TransferResult, UploadPlan

_POLL_INTERVAL = 15.0
_PROGRESS_EVERY = 30.0


class _TransferOperator(WaitsForJob, BaseOperator):
    """What both directions share: arguments, and the order of the steps."""

    template_fields: Sequence[str] = ("source_path", "target_path", "account", "system", "firecrest_conn_id")
    ui_color = "#e2f0de"
    cancel_on_kill = True

    def __init__(
        self,
        *,
        source_path: str,
        target_path: str,
        if_exists: str = "fail",
        verify_checksum: bool = True,
        account: str | None = None,
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = _POLL_INTERVAL,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_path = source_path
        self.target_path = target_path
        self.if_exists = if_exists
        self.verify_checksum = verify_checksum
        self.account = account
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.poll_interval = poll_interval
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Check, move, and wait for the server's job where there is one."""
        from ..client.errors import TooLargeError
        from ..client.transfers import staged_instead

        with self.firecrest() as client:
            plan = self._plan(client)
            if plan.way == "skip":
                self.log.info("%s is there already, with the same size and SHA-256.", plan.target)
                return _skipped(plan)
            self.log.info("%s -> %s: %d bytes, %s.", plan.source, plan.target, plan.size, plan.way)
            if plan.way == "direct":
                try:
                    return self._done(self._direct(client, plan))
                except TooLargeError as error:
                    self.log.warning("The direct way cannot carry it after all: %s", error)
                    plan = staged_instead(client, plan)
            note = self._staged_note(client, plan, context)
            self.started(note, context)
            if not self.deferrable or "staged" not in note:
                return self.wait_here(client, note, context)
        return self.wait_in_triggerer(note, context)

    def finish(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Prove the transfer, now that the server's job is over."""
        from airflow.providers.common.compat.sdk import AirflowException

        from ..triggers._watch import job_from_dict

        note = event["carry"]
        if event["status"] != "done":
            why = event.get("message") or f"{note['system']} does not know it any more."
            self.cancel(client, note, "nobody knows what became of it")
            raise AirflowException(f"What became of the server's job {note['job_id']} is not known: {why}")
        return self._finish(client, note, job_from_dict(event["jobs"][0]), context)

    def _plan(self, client: FirecrestClient) -> Any:
        raise NotImplementedError

    def _direct(self, client: FirecrestClient, plan: Any) -> TransferResult:
        raise NotImplementedError

    def _staged_note(self, client: FirecrestClient, plan: Any, context: Context) -> dict[str, Any]:
        raise NotImplementedError

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        raise NotImplementedError

    def _note_for(self, staged: StagedUpload | StagedDownload) -> dict[str, Any]:
        return {"job_id": staged.job_id, "system": staged.system, "submitted_at": time.time()}

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
    """Uploads one file: a small one in one request, a large one through the server's object storage.

    The result is a JSON dict: ``source``, ``target``, ``size``, ``sha256``, ``way`` (``direct``, ``staged``
    or ``skip``), ``system``, ``job_id`` and ``seconds``. A file that turns out wrong on the system is
    removed there.

    :param source_path: local file, on the worker.
    :param target_path: absolute path on the system: the file to be, or a directory (an existing one, or
        ending with ``/``), which gets the source's name.
    :param if_exists: what to do when the target exists: ``fail``; ``overwrite``; ``skip`` accepts the same
        file (size and SHA-256) and fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only the size is compared.
    :param account: Slurm account of the server's transfer job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the server's transfer job.
    :param deferrable: wait for the server's job in the triggerer; default: ``[operators]
        default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong, or the target exists; a
        retry would not help.
    :raises AirflowException: the transfer failed, with the evidence.
    """

    def _plan(self, client: FirecrestClient) -> UploadPlan:
        from ..client.transfers import plan_upload

        return plan_upload(
            client,
            self.source_path,
            self.target_path,
            system=self.system,
            account=self.account,
            if_exists=self.if_exists,  # type: ignore[arg-type]
            verify_checksum=self.verify_checksum,
        )

    def _direct(self, client: FirecrestClient, plan: UploadPlan) -> TransferResult:
        from ..client.transfers import upload_direct

        return upload_direct(client, plan)

    def _staged_note(self, client: FirecrestClient, plan: UploadPlan, context: Context) -> dict[str, Any]:
        from ..client.transfers import stage_upload

        def killable(job: Any) -> None:
            self._running = {"job_id": job.job_id, "system": plan.system}

        staged = stage_upload(client, plan, progress=self._progress(), on_start=killable)
        self.log.info("All bytes are in the object storage; job %s writes the file.", staged.job_id)
        return {**self._note_for(staged), "staged": staged.as_dict()}

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        from ..client.transfers import StagedUpload, finish_upload

        return self._done(finish_upload(client, StagedUpload.from_dict(note["staged"]), job))


class FirecrestDownloadOperator(_TransferOperator):
    """Downloads one file: a small one in one request, a large one through the server's object storage.

    The result is a JSON dict: ``source``, ``target``, ``size``, ``sha256``, ``way`` (``direct``, ``staged``
    or ``skip``), ``system``, ``job_id`` and ``seconds``. The local file gets its name only when it is
    complete and right.

    :param source_path: absolute path of a file on the system.
    :param target_path: local path on the worker: the file to be, or an existing directory, which gets the
        source's name.
    :param if_exists: what to do when the target exists: ``fail``; ``overwrite``; ``skip`` accepts the same
        file (size and SHA-256) and fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only the size is compared.
    :param account: Slurm account of the server's transfer job; default: the connection's.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about the server's transfer job.
    :param deferrable: wait for the server's job in the triggerer; default: ``[operators]
        default_deferrable``. Needs Airflow's Fernet key on the workers, because the download's URL is a
        secret that outlives the deferral; without it the task waits in the worker.
    :raises AirflowFailException: a path, the system or the connection is wrong, or the target exists; a
        retry would not help.
    :raises AirflowException: the transfer failed, with the evidence.
    """

    _staged: StagedDownload | None = None

    def _plan(self, client: FirecrestClient) -> DownloadPlan:
        from ..client.transfers import plan_download

        return plan_download(
            client,
            self.source_path,
            self.target_path,
            system=self.system,
            account=self.account,
            if_exists=self.if_exists,  # type: ignore[arg-type]
            verify_checksum=self.verify_checksum,
        )

    def _direct(self, client: FirecrestClient, plan: DownloadPlan) -> TransferResult:
        from ..client.transfers import download_direct

        return download_direct(client, plan)

    def _staged_note(self, client: FirecrestClient, plan: DownloadPlan, context: Context) -> dict[str, Any]:
        from ..client.transfers import stage_download
        from ._seal import seal

        self._staged = staged = stage_download(client, plan)
        note = self._note_for(staged)
        self.log.info("Job %s puts the file into the object storage.", staged.job_id)
        sealed = seal(staged.as_dict()) if self.deferrable else None
        if sealed is not None:
            note["staged"] = sealed
        elif self.deferrable:
            self.log.warning(
                "Waiting in the worker: without a Fernet key ([core] fernet_key) the download's URL,"
                " a secret, cannot be stored while the task is deferred."
            )
        return note

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        from ..client.transfers import finish_download

        staged = self._staged or self._unsealed(note)
        if staged is None:
            self.log.warning(
                "The download's URL cannot be unsealed: the workers do not share one [core] fernet_key."
                " Starting over, and waiting in the worker."
            )
            self.deferrable = False
            return self.execute(context)
        return self._done(finish_download(client, staged, job, progress=self._progress()))

    @staticmethod
    def _unsealed(note: dict[str, Any]) -> StagedDownload | None:
        from ..client.transfers import StagedDownload
        from ._seal import unseal

        values = unseal(note["staged"]) if "staged" in note else None
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
