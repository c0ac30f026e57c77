"""How a directory goes in a task: step by step, waiting between the steps for a job or a task.

Knows the story only; what the steps do stands in ``client.transfers.directory``, loaded when a task runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._transfer_waiting import WaitsForTransfer

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers.directory import DirectoryOptions, DirectoryTransfer, Next, Watch

NO_KEY = (
    "Waiting in the worker: without a Fernet key ([core] fernet_key) the download's URL, a secret, cannot be"
    " stored while the task is deferred."
)
OTHER_KEY = "The download's URL cannot be unsealed: the workers do not share one [core] fernet_key."


STORE_KEY = "firecrest_directory"
"""Key in Airflow's task state store (3.3): the job and the directory on the system that a try has. A retry
starts over; first it ends what a crash of the try before left behind."""


class MovesDirectories(WaitsForTransfer):
    """The part of the transfer operators that moves whole directories."""

    source_path: str
    target_path: str
    if_exists: str
    verify_checksum: bool
    compression: str
    account: str | None
    partition: str | None
    time_limit: str | None
    _moving: DirectoryTransfer | None = None
    _store: Any = None

    def _start_directory(self, client: FirecrestClient) -> Next:
        raise NotImplementedError

    def _begin_directory(self, client: FirecrestClient, context: Context) -> Next:
        """Start over, after ending what an earlier try left."""
        self._store = context.get("task_state_store")
        left = self._in_store("get", STORE_KEY)
        if isinstance(left, dict):
            self.log.info("An earlier try ended without clearing up.")
            self.cancel(client, {"job_id": None, "firecrest_task_id": None, **left}, "this try starts over")
            self._in_store("delete", STORE_KEY)
        return self._start_directory(client)

    def _in_store(self, action: str, *arguments: Any) -> Any:
        """Do something with Airflow's store, where there is one; a failure costs the clearing up only."""
        if self._store is None:
            return None
        try:
            return getattr(self._store, action)(*arguments)
        except Exception as error:
            self.log.info("Airflow's task state store did not %s: %s", action, type(error).__name__)
            return None

    def _progress(self) -> Callable[[int, int], None]:
        raise NotImplementedError

    def _options(self) -> DirectoryOptions:
        from ..client.transfers.directory import TIME_LIMIT, DirectoryOptions

        return DirectoryOptions(
            if_exists=self.if_exists,  # type: ignore[arg-type]
            verify_checksum=self.verify_checksum,
            compression=self.compression,
            account=self.account,
            partition=self.partition,
            time_limit=self.time_limit or TIME_LIMIT,
        )

    def _watch(self) -> Watch:
        from ..client.transfers.directory import Watch

        return Watch(progress=self._progress(), on_change=self._killable, stop=self.stop)

    def _killable(self, transfer: DirectoryTransfer) -> None:
        """Remember for a kill and for a later try what there is to cancel and to remove."""
        self._running = note = _note(transfer)
        kept = ("job_id", "firecrest_task_id", "system", "leftover")
        self._in_store("set", STORE_KEY, {key: note[key] for key in kept})

    def _wait_or_return(self, client: FirecrestClient, step: Next, context: Context) -> Any:
        """Return the result of a directory that is there, or wait for what comes next."""
        from ..client.transfers.directory import DirectoryTransfer

        if not isinstance(step, DirectoryTransfer):
            self._running = None
            self._in_store("delete", STORE_KEY)
            self.log.info(
                "Done: %s, %d files with %d bytes, tree digest %s, %.1f s.",
                step.target,
                step.files,
                step.bytes,
                step.tree_sha256,
                step.seconds,
            )
            return step.as_dict()
        self._moving = step
        note, safe = self._storable(step)
        self.started(note, context)
        if self.deferrable and safe:
            return self.wait_in_triggerer(note, context)
        return self.wait_here(client, note, context)

    def _storable(self, transfer: DirectoryTransfer) -> tuple[dict[str, Any], bool]:
        """Return what may be stored of a transfer, and whether that is enough to go on from.

        A download's URL is sealed; without a key it stays in this process.
        """
        from ._seal import seal

        note = _note(transfer)
        url = (transfer.staged or {}).get("url")
        if url is None:
            return note, True
        note["sealed"] = seal({"url": url}) if self.deferrable else None
        if self.deferrable and note["sealed"] is None:
            self.log.warning(NO_KEY)
        return note, note["sealed"] is not None

    def _finish_directory(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Take the next step, now that what was waited for is over."""
        from ..client.job_json import job_from_dict
        from ..client.transfers.directory import go_on

        note = event["carry"]
        self._store = context.get("task_state_store")
        transfer = self._moving or self._restored(note)
        if transfer is None:
            return self._fetch_again(client, note, context)
        job = job_from_dict(event["jobs"][0]) if event.get("jobs") else None
        self._running = note
        return self._wait_or_return(client, go_on(client, transfer, job, watch=self._watch()), context)

    @staticmethod
    def _restored(note: dict[str, Any]) -> DirectoryTransfer | None:
        """Return the transfer of a note, or None when its URL cannot be read here."""
        from ..client.transfers.directory import DirectoryTransfer
        from ._seal import unseal

        values = dict(note["directory"])
        if note.get("sealed"):
            secret = unseal(note["sealed"])
            if secret is None:
                return None
            values["staged"] = {**values["staged"], **secret}
        return DirectoryTransfer.from_dict(values)

    def _fetch_again(self, client: FirecrestClient, note: dict[str, Any], context: Context) -> Any:
        """Have the packed archive put into the object store once more, and wait in the worker."""
        from ..client.transfers.directory import DirectoryTransfer, fetch_again

        self.log.warning("%s Fetching the archive again, and waiting in the worker.", OTHER_KEY)
        self.deferrable = False
        transfer = DirectoryTransfer.from_dict(note["directory"])
        return self._wait_or_return(client, fetch_again(client, transfer, watch=self._watch()), context)


def _note(transfer: DirectoryTransfer) -> dict[str, Any]:
    """Return a transfer as plain JSON without its URL."""
    values = transfer.as_dict()
    if values["staged"] is not None:
        values["staged"] = (
            {**values["staged"], "url": None} if "url" in values["staged"] else values["staged"]
        )
    left = transfer.leftover
    return {
        "job_id": transfer.job_id,
        "firecrest_task_id": transfer.task_id,
        "system": transfer.system,
        "submitted_at": transfer.submitted_at,
        "leftover": left.as_dict() if left else None,
        "directory": values,
    }
