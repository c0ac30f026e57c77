"""Operators that move a file or a directory between Airflow's workers and a system, with proof.

Knows what is particular to each direction. A file's story stands in ``_transfer_operator``, a directory's,
which goes in steps, in ``_steps``; what is done, in ``client.transfers``, loaded when a task runs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._steps import NO_KEY, OTHER_KEY
from ._transfer_operator import TransferOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers import DownloadPlan, StagedDownload, TransferResult, UploadPlan, UploadState
    from ..client.transfers.stepwise import Next, StepwiseTransfer, Watch
    from ._transfer_memory import TransferMemory


class FirecrestUploadOperator(TransferOperator):
    """Uploads a file or a directory: little in one request, much through the server's object storage.

    The result is a JSON dict. Of a file: ``source``, ``target``, ``size``, ``sha256``, ``way`` (``direct``,
    ``staged`` or ``skip``), ``system``, ``job_id`` and ``seconds``; one that turns out wrong on the system is
    removed there. On FirecREST v1 it is written under a hidden name and renamed when it is proven, so its
    target is untouched until then; on v2, ``atomic`` has a job do that. Of a directory: ``source``,
    ``target``, ``files``, ``bytes``, ``tree_sha256``, ``way``, ``system``, ``job_ids`` and ``seconds``; it
    travels as one archive, a batch job unpacks it, and it gets its name when it is complete and right.

    :param source_path: local file or directory, on the worker.
    :param target_path: absolute path on the system. For a file: the file to be, or a directory (an existing
        one, or ending with ``/``), which gets the source's name. For a directory: the directory to be, or,
        with a ``/`` at its end, the one that gets the source's name.
    :param if_exists: what to do when the target exists: ``fail``; ``overwrite`` (a directory as a whole);
        ``skip`` accepts the same file or tree and fails on any other.
    :param verify_checksum: compare SHA-256 at the end; without it only sizes (of a directory: names, types,
        sizes, link targets).
    :param atomic: leave the target as it is until the new file is there and proven, on FirecREST v2, too: a
        batch job, which has to queue, compares it in a directory of its own and names it in one step. On v1,
        and for directories, that is so anyway. Default: False.
    :param compression: of a directory's archive: ``none`` or ``gzip``.
    :param account: Slurm account of the jobs on the system; default: the connection's.
    :param partition: partition of the job that unpacks a directory or names a file; default: Slurm's.
    :param time_limit: of that job, as ``HH:MM:SS``; default: one hour.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param poll_interval: seconds between questions about jobs and tasks.
    :param reattach: ``retry``: a retry goes on with what the try before had done (Airflow 3.3), a clear
        starts anew; ``never``: every try starts anew. What is not gone on with is cancelled.
    :param wait_for_quota: wait until a limit of the site (of jobs, of requests) lets the transfer through,
        up to ``execution_timeout``; False fails at once.
    :param deferrable: wait for jobs and tasks in the triggerer; default: ``[operators]
        default_deferrable``.
    :raises AirflowFailException: a path, the system or the connection is wrong, or the target exists; a
        retry would not help.
    :raises AirflowException: the transfer failed, with the evidence.
    """

    def __init__(self, *, atomic: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.atomic = atomic

    def _goes_in_steps(self, client: FirecrestClient) -> bool:
        # FirecREST v1 renames without a job.
        return Path(self.source_path).is_dir() or (self.atomic and client.api.generation == 2)

    def _start_steps(self, client: FirecrestClient, watch: Watch, earlier: StepwiseTransfer | None) -> Next:
        from ..client.transfers import start_atomic_upload
        from ..client.transfers.directories.start import start_upload

        paths = (self.source_path, self.target_path)
        common: dict[str, Any] = {"system": self.system, "watch": watch, "earlier": earlier}
        if Path(self.source_path).is_dir():
            return start_upload(client, *paths, options=self._directory_options(), **common)
        return start_atomic_upload(client, *paths, options=self._file_options(), **common)

    def _plan(
        self,
        client: FirecrestClient,
        known: dict[str, Any] | None,
        memory: TransferMemory,
        context: Context,
    ) -> UploadPlan:
        from ..client.errors import FirecrestError
        from ..client.staging import may_pass
        from ..client.transfers import UploadState, part
        from ..client.transfers.giving_up import give_up_upload
        from ..client.transfers.resume import ended_without_file

        state = UploadState.from_dict(known) if known else None
        if state is not None and ended_without_file(client, state):
            # Once its half is gone, what is at the target is not its own work.
            give_up_upload(client, state.job_id, state.system, state.leftover)
            state = None
        mark = self.mark(client, context)
        try:
            plan = self._plan_after(client, state, mark, is_first=memory.first_try)
        except FirecrestError as error:
            if state is not None and state.part and not may_pass(error):
                part.remove(client, state.part, state.system)
            raise
        if not memory.first_try and client.api.generation == 1:
            # Of a staged one it is still to be seen whether it can be gone on with.
            keep = state.part if state is not None and plan.way == "staged" else None
            part.sweep(client, plan.target, mark, plan.system, keep=keep)
        return plan

    def _plan_after(
        self, client: FirecrestClient, state: UploadState | None, mark: str, *, is_first: bool
    ) -> UploadPlan:
        """Plan, knowing what the try before may have done to the target."""
        from ..client.errors import ConflictError
        from ..client.transfers import plan_upload

        def plan(if_exists: str) -> UploadPlan:
            return plan_upload(
                client,
                self.source_path,
                self.target_path,
                system=self.system,
                account=self.account,
                if_exists=if_exists,  # type: ignore[arg-type]
                verify_checksum=self.verify_checksum,
                mark=mark,
            )

        if state is not None and state.part:
            # The try before found no target; one that is there now, and is the same file, is its own work.
            return plan("skip" if self.if_exists == "fail" and state.may_have_written else self.if_exists)
        if state is not None and state.may_have_written:
            # The try before found the target as if_exists wants it; what is there now is its own work.
            found = plan("overwrite")
            if (found.target, str(found.source)) == (state.target, state.source):
                return replace(found, replaces=state.replaces)
        try:
            return plan(self.if_exists)
        except ConflictError:
            if is_first or state is not None or not self._end_unknown(client):
                raise
            return plan(self.if_exists)

    def _end_unknown(self, client: FirecrestClient) -> bool:
        """End a job of ours that writes the target, of which nothing is remembered; was there one?"""
        from ..client import paths
        from ..client.transfers.orphans import end_ingress

        if client.api.generation != 2:
            return False
        source = Path(self.source_path)
        targets = [self.target_path, paths.join(self.target_path, source.name)]
        system = client.system_info(system=self.system).name
        return end_ingress(client, targets, system, size=source.stat().st_size)

    def _direct(self, client: FirecrestClient, plan: UploadPlan, memory: TransferMemory) -> TransferResult:
        from ..client.leftovers import Leftover
        from ..client.transfers import UploadState, upload_direct

        memory.keep_upload(UploadState.of_plan(plan, "direct"))
        if plan.part:
            left = Leftover(plan.part, plan.system).as_dict()
            self._running = {"job_id": None, "system": plan.system, "leftover": left}
        return upload_direct(client, plan, stop=self.stop)

    def _staged_note(
        self,
        client: FirecrestClient,
        plan: UploadPlan,
        memory: TransferMemory,
        known: dict[str, Any] | None,
        context: Context,
    ) -> dict[str, Any]:
        from ..client.transfers import UploadState, stage_upload
        from ..client.transfers.orphans import end_ingress

        def killable(job: Any) -> None:
            self._running = {"job_id": job.job_id, "system": plan.system}

        def save(state: UploadState) -> None:
            memory.keep_upload(state)
            if self._running is not None and state.leftover is not None:
                # From now on the job may write.
                self._running = {**self._running, "leftover": state.leftover.as_dict()}

        if known is None and not memory.first_try and client.api.generation == 2:
            # The try before may have been killed before it could write down which job it had started.
            end_ingress(client, [plan.target], plan.system, size=plan.size)
        staged = stage_upload(
            client,
            plan,
            progress=self._progress(),
            on_start=killable,
            stop=self.stop,
            state=UploadState.from_dict(known) if known else None,
            save=save,
            keep=memory.keeps and self.goes_on(context),
        )
        what = f"job {staged.job_id}" if staged.job_id else f"FirecREST's task {staged.task_id}"
        self.log.info("All bytes are in the object storage; %s writes the file.", what)
        note = {**self._note_for(staged), "staged": staged.as_dict()}
        if staged.leftover is not None:
            note["leftover"] = staged.leftover.as_dict()
        return note

    def _finish(self, client: FirecrestClient, note: dict[str, Any], job: Any, context: Context) -> Any:
        from ..client.transfers import StagedUpload, finish_upload, part

        staged = StagedUpload.from_dict(note["staged"])
        self._running = note if note.get("leftover") else None
        keep = self.memory(client, context).keeps and self.goes_on(context)
        result = finish_upload(client, staged, job, stop=self.stop, keep=keep)
        self._running = None
        if staged.part and not self.memory(client, context).first_try:
            # An earlier try's task may have written its own part only now: FirecREST v1 cannot cancel it.
            part.sweep(client, staged.target, self.mark(client, context), staged.system)
        return self._done(result)


class FirecrestDownloadOperator(TransferOperator):
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
    :param reattach: ``retry``: a retry goes on with what the try before had done (Airflow 3.3), a clear
        starts anew; ``never``: every try starts anew. What is not gone on with is cancelled.
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

    def _goes_in_steps(self, client: FirecrestClient) -> bool:
        from ..client.errors import FirecrestError
        from ..client.staging import may_pass

        try:
            return client.stat(self.source_path, system=self.system).is_dir
        except FirecrestError as error:
            if may_pass(error):
                # It may be one of which an earlier try has done much.
                raise
            # The plan says it with the name of the field.
            return False

    def _start_steps(self, client: FirecrestClient, watch: Watch, earlier: StepwiseTransfer | None) -> Next:
        from ..client.transfers.directories.start import start_download

        return start_download(
            client,
            self.source_path,
            self.target_path,
            system=self.system,
            options=self._directory_options(),
            watch=watch,
            earlier=earlier,
        )

    def _plan(
        self,
        client: FirecrestClient,
        known: dict[str, Any] | None,
        memory: TransferMemory,
        context: Context,
    ) -> DownloadPlan:
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
                keep=self.goes_on(context),
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
