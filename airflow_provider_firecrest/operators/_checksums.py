"""The batch job that a task may need to compute a digest: its deadline is the task's, and a kill cancels it.

Knows when the task's time is over, and which checksum job runs now. The job itself is
``client.transfers.checksum_job``'s. Imported whenever a DAG file is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..hooks._task import FirecrestMixin, within_kill_budget

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.transfers.checksum_job import ChecksumJob

_LOOK_FOR = 3.0
"""Seconds a kill looks for a job whose submit was not answered yet, of the four that it has."""


class TakesChecksums(FirecrestMixin):
    """A task whose steps may compute a digest by a job, and wait for it in the worker."""

    _checksum_job: ChecksumJob | None = None
    _killed: bool = False

    @contextmanager
    def checksums(self, context: Context) -> Iterator[None]:
        """Have checksum jobs inside know this task's deadline and kill.

        :raises AirflowTaskTimeout: ``execution_timeout`` was over before a job was; it was cancelled.
        """
        from airflow.providers.common.compat.sdk import AirflowTaskTimeout

        from ..client.errors import DeadlineError
        from ..client.transfers.checksum_job import waited_for

        deadline = self.deadline(context)
        try:
            with waited_for(deadline=deadline, on_job=self._checksum_runs):
                yield
        except DeadlineError as error:
            if deadline is None:
                raise
            raise AirflowTaskTimeout(f"execution_timeout is over. {error}") from None

    def on_kill(self) -> None:
        """Cancel the checksum job, in 4 s: Airflow sends SIGKILL after 5."""
        self._killed = True
        job, self._checksum_job = self._checksum_job, None
        if job is None:
            return
        self.log.info("The task was killed: cancelling job %s (%s).", job.job_id, job.name)
        within_kill_budget(
            self.log, "Cancelling the checksum job", lambda client: cancel_checksum(client, job), self.hook
        )

    def _checksum_runs(self, job: ChecksumJob | None) -> None:
        """Remember the job for a kill. One that came while it was being submitted is carried out now."""
        self._checksum_job = job
        if self._killed and job is not None and job.job_id is not None:
            self.on_kill()


def cancel_checksum(client: FirecrestClient, job: ChecksumJob) -> None:
    """Cancel a checksum job in the time that a kill has."""
    from ..client.transfers.checksum_job import cancel

    cancel(client, job, look_for=_LOOK_FOR, within=0.0)
