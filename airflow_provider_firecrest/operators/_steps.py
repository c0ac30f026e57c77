"""How a transfer goes in a task step by step, waiting between the steps for a job or a task.

Knows the story only; what the steps do stands in ``client.transfers.stepwise``, loaded when a task runs.
What a retry finds of it is kept in ``_transfer_memory``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .._crash_points import crash_point
from ._quota import is_waited_out
from ._transfer_waiting import WaitsForTransfer

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers import TransferResult
    from ..client.transfers.directories.start import DirectoryOptions, DirectoryResult
    from ..client.transfers.stepwise import Next, StepOptions, StepwiseTransfer, Watch
    from ._transfer_memory import TransferMemory

NO_KEY = (
    "Waiting in the worker: without a Fernet key ([core] fernet_key) the download's URL, a secret, cannot be"
    " stored while the task is deferred."
)
OTHER_KEY = "The download's URL cannot be unsealed: the workers do not share one [core] fernet_key."


T = TypeVar("T")


class GoesInSteps(WaitsForTransfer):
    """The part of the transfer operators that goes in steps."""

    source_path: str
    target_path: str
    if_exists: str
    verify_checksum: bool
    compression: str
    account: str | None
    partition: str | None
    time_limit: str | None
    reattach: str
    wait_for_quota: bool
    quota_pauses: int
    _moving: StepwiseTransfer | None = None
    _last: StepwiseTransfer | None = None
    """As it was noted last, in this process."""

    def _start_steps(self, client: FirecrestClient, watch: Watch, earlier: StepwiseTransfer | None) -> Next:
        raise NotImplementedError

    def _progress(self) -> Callable[[int, int], None]:
        raise NotImplementedError

    def _done(self, result: TransferResult) -> dict[str, Any]:
        raise NotImplementedError

    def memory(self, client: FirecrestClient, context: Context) -> TransferMemory:
        raise NotImplementedError

    def known(self, client: FirecrestClient, memory: TransferMemory) -> dict[str, Any] | None:
        raise NotImplementedError

    def mark(self, client: FirecrestClient, context: Context) -> str:
        raise NotImplementedError

    def goes_on(self, context: Context) -> bool:
        raise NotImplementedError

    def within_quota(self, action: Callable[[], T], context: Context) -> T:
        raise NotImplementedError

    def _begin_steps(self, client: FirecrestClient, context: Context) -> Next:
        """Go on with what an earlier try left, or start."""
        memory = self.memory(client, context)
        # A pause for a quota may have been made in this process, without a store to remember it.
        earlier = self._last or self._known_steps(client, memory)
        sending = self.known(client, memory)
        watch = self._watch(client, memory, context, sending)
        with self._forgetting(memory, watch):
            return self._start_steps(client, watch, earlier)

    def _known_steps(self, client: FirecrestClient, memory: TransferMemory) -> StepwiseTransfer | None:
        """Return how far this attempt's earlier try got, and end what another attempt left."""
        from ..client.transfers.stepwise import give_up

        found = memory.known_steps()
        if found is None:
            return None
        transfer = _restored(found.values, found.secret)
        if found.is_ours:
            return transfer
        self.log.info("Giving up what the task had begun before: this try starts anew.")
        give_up(client, transfer)
        memory.forget_steps()
        return None

    def _end_steps(self, client: FirecrestClient, memory: TransferMemory) -> None:
        """End what is left of a transfer in steps where one goes without now."""
        from ..client.transfers.stepwise import give_up

        found = memory.known_steps()
        if found is not None:
            give_up(client, _restored(found.values, found.secret))
            memory.forget_steps()

    def _directory_options(self) -> DirectoryOptions:
        from ..client.transfers.directories.start import DirectoryOptions

        return DirectoryOptions(**self._of_both(), compression=self.compression)

    def _file_options(self) -> StepOptions:
        from ..client.transfers.stepwise import StepOptions

        return StepOptions(**self._of_both())

    def _of_both(self) -> dict[str, Any]:
        from ..client.transfers.stepwise import TIME_LIMIT

        return {
            "if_exists": self.if_exists,
            "verify_checksum": self.verify_checksum,
            "account": self.account,
            "partition": self.partition,
            "time_limit": self.time_limit or TIME_LIMIT,
        }

    def _watch(
        self,
        client: FirecrestClient,
        memory: TransferMemory,
        context: Context,
        sending: dict[str, Any] | None = None,
    ) -> Watch:
        from ..client.transfers import UploadState
        from ..client.transfers.stepwise import Again, Watch

        # Whether a pause for a quota leads back to what was done before it.
        stays = not self.deferrable or (memory.keeps and self.reattach != "never")
        again = Again(
            place=self.mark(client, context),
            attempt=memory.attempt,
            keep=memory.keeps and self.goes_on(context),
            waits_out=lambda error: self.wait_for_quota and is_waited_out(error) and stays,
            sweep=not memory.first_try,
            sending=UploadState.from_dict(sending) if sending and "part_urls" in sending else None,
            save_sending=memory.keep_upload,
        )
        return Watch(
            progress=self._progress(),
            on_change=lambda transfer: self._noted(transfer, memory),
            stop=self.stop,
            again=again,
        )

    def _noted(self, transfer: StepwiseTransfer, memory: TransferMemory) -> None:
        """Remember for a kill what there is to cancel and to remove, and for a later try how far it is."""
        self._last, self._running = transfer, (note := _note(transfer))
        memory.keep_steps(note["steps"], _secret(transfer))

    @contextmanager
    def _forgetting(self, memory: TransferMemory, watch: Watch) -> Iterator[None]:
        """When the block fails for good, nothing is left to be remembered."""
        try:
            yield
        except Exception as error:
            if not watch.again.leaves(error):
                self._last = None
                memory.forget()
            raise

    def _wait_or_return(self, client: FirecrestClient, step: Next, context: Context) -> Any:
        """Return the result of what is there, or wait for what comes next."""
        from ..client.transfers.stepwise import StepwiseTransfer

        if not isinstance(step, StepwiseTransfer):
            self._running = None
            self.memory(client, context).forget()
            return self._done_in_steps(step)
        self._moving = step
        note, safe = self._storable(step)
        self.started(note, context)
        if self.deferrable and safe:
            crash_point("before_defer")
            return self.wait_in_triggerer(note, context)
        return self.wait_here(client, note, context)

    def _done_in_steps(self, result: DirectoryResult | TransferResult) -> dict[str, Any]:
        from ..client.transfers import TransferResult

        if isinstance(result, TransferResult) and result.way == "skip":
            self.log.info("%s is there already, with the same size and SHA-256.", result.target)
            return result.as_dict()
        if isinstance(result, TransferResult):
            return self._done(result)
        self.log.info(
            "Done: %s, %d files with %d bytes, tree digest %s, %.1f s.",
            result.target,
            result.files,
            result.bytes,
            result.tree_sha256,
            result.seconds,
        )
        return result.as_dict()

    def _storable(self, transfer: StepwiseTransfer) -> tuple[dict[str, Any], bool]:
        """Return what may be stored of a transfer, and whether that is enough to go on from.

        A download's URL is sealed; without a key it stays in this process.
        """
        from ._seal import seal

        note, secret = _note(transfer), _secret(transfer)
        if secret is None:
            return note, True
        note["sealed"] = seal(secret) if self.deferrable else None
        if self.deferrable and note["sealed"] is None:
            self.log.warning(NO_KEY)
        return note, note["sealed"] is not None

    def _finish_steps(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Any:
        """Take the next step, now that what was waited for is over; up to a limit of the site, again."""
        steps = iter([lambda: self._next_step(client, event, context)])

        def step() -> Next:
            return next(steps, lambda: self._begin_steps(client, context))()

        return self._wait_or_return(client, self.within_quota(step, context), context)

    def _next_step(self, client: FirecrestClient, event: dict[str, Any], context: Context) -> Next:
        from ..client.job_json import job_from_dict
        from ..client.transfers.stepwise import go_on
        from ._seal import unseal

        note = event["carry"]
        memory = self.memory(client, context)
        watch = self._watch(client, memory, context)
        secret = unseal(note["sealed"]) if note.get("sealed") else None
        transfer = self._moving or _restored(note["steps"], secret)
        self._running = note
        with self._forgetting(memory, watch):
            if self._moving is None and note.get("sealed") and secret is None:
                return self._fetch_again(client, transfer, watch)
            job = job_from_dict(event["jobs"][0]) if event.get("jobs") else None
            return go_on(client, transfer, job, watch=watch)

    def _fetch_again(self, client: FirecrestClient, transfer: StepwiseTransfer, watch: Watch) -> Next:
        """Have the packed archive put into the object store once more, and wait in the worker."""
        from ..client.transfers.directories.start import DirectoryTransfer, fetch_again

        assert isinstance(transfer, DirectoryTransfer)  # What else is downloaded has no job of ours.
        self.log.warning("%s Fetching the archive again, and waiting in the worker.", OTHER_KEY)
        self.deferrable = False
        return fetch_again(client, transfer, watch=watch)


def _restored(values: dict[str, Any], secret: dict[str, Any] | None) -> StepwiseTransfer:
    """Return the transfer of a note, with its URL where that can be read here."""
    from ..client.transfers.stepwise import restored

    if secret is not None:
        values = {**values, "staged": {**values["staged"], **secret}}
    return restored(values)


def _secret(transfer: StepwiseTransfer) -> dict[str, Any] | None:
    """Return what of a transfer must not be stored in clear, or None."""
    url = (transfer.staged or {}).get("url")
    return None if url is None else {"url": url}


def _note(transfer: StepwiseTransfer) -> dict[str, Any]:
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
        # A later attempt finds the job, by what is remembered or by its name, and ends it.
        "marked": True,
        "steps": values,
    }
