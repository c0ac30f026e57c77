"""Waits until Slurm jobs submitted elsewhere are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..hooks._task import DEFAULT_CONN_ID, default_deferrable, job_ids_of
from ._base import FirecrestSensor

if TYPE_CHECKING:
    from ..client import FirecrestClient
    from ..client.models import Job
    from ..triggers.jobs import FirecrestJobTrigger


class FirecrestJobSensor(FirecrestSensor):
    """Waits until one or many jobs are over. Succeeds when all of them did; fails at once, without retry,
    when one failed.

    The result is a list of ``{job_id, state, exit_code, elapsed}``, in the order of the ids. The jobs are
    not cancelled when the sensor is.

    :param job_id: job id, or a list of them.
    :param system: name of the system; default: the connection's.
    :param firecrest_conn_id: the connection's id.
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("job_id", "system", "firecrest_conn_id")

    def __init__(
        self,
        *,
        job_id: str | list[str],
        system: str | None = None,
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_id = job_id
        self.system = system
        self.firecrest_conn_id = firecrest_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def subject(self) -> str:
        """Return what is waited for, for a message."""
        return f"job {', '.join(job_ids_of(self.job_id))}"

    def look(self, client: FirecrestClient) -> Any:
        """Ask for all jobs at once; unknown is "not yet"."""
        from airflow.providers.common.compat.sdk import PokeReturnValue

        ids = job_ids_of(self.job_id)
        jobs = client.find_jobs(ids, system=self.system)
        known = [jobs[each] for each in ids if each in jobs]
        self._refuse_failures(known)
        if len(known) < len(ids) or not all(job.is_final for job in known):
            states = ", ".join(f"{each}: {jobs[each].state if each in jobs else 'unknown'}" for each in ids)
            self.log.info("Not over yet (%s).", states)
            return False
        return PokeReturnValue(is_done=True, xcom_value=[_short(job) for job in known])

    def trigger(self, deadline: float) -> FirecrestJobTrigger:
        """Return the trigger that goes on asking."""
        from ..triggers.jobs import FirecrestJobTrigger

        return FirecrestJobTrigger(
            firecrest_conn_id=self.firecrest_conn_id,
            system=self.system or self.hook.settings.system,
            job_ids=job_ids_of(self.job_id),
            poll_interval=self.poke_interval,
            deadline=deadline,
        )

    def found(self, event: dict[str, Any]) -> Any:
        """Return the jobs of an event, or fail for those that failed or got lost."""
        from airflow.providers.common.compat.sdk import AirflowFailException

        from ..client.job_json import job_from_dict

        jobs = [job_from_dict(each) for each in event["jobs"]]
        self._refuse_failures(jobs)
        if event["status"] == "lost":
            raise AirflowFailException(
                f"The system has said for ten minutes that it does not know: {', '.join(event['lost'])}."
            )
        return [_short(job) for job in jobs]

    @staticmethod
    def _refuse_failures(jobs: list[Job]) -> None:
        from airflow.providers.common.compat.sdk import AirflowFailException

        from ..client.diagnosis import summary

        failed = [summary(job) for job in jobs if job.is_final and not job.succeeded]
        if failed:
            raise AirflowFailException(" ".join(failed))


def _short(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "state": job.state,
        "exit_code": job.exit_code,
        "elapsed": job.elapsed,
    }
