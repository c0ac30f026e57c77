"""Waits until FirecREST v1's tasks are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..hooks._task import DEFAULT_CONN_ID, default_deferrable
from ._base import FirecrestSensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..client import FirecrestClient
    from ..client.waiting.task_watch import Seen, TaskWatch
    from ..triggers.tasks import FirecrestTaskTrigger


class FirecrestTaskSensor(FirecrestSensor):
    """Waits until one or many tasks of FirecREST v1 are over. Succeeds when all of them did; fails at once,
    without retry, when one failed, is unknown or belongs to another user.

    The result is a list of ``{task_id, status, meaning, job_id}``, in the order of the ids. ``job_id`` is
    that of the job a task submitted, else None. The tasks' own data are not part of it: they can hold URLs
    that are credentials.

    :param firecrest_task_id: id of a task of FirecREST's, or a list of them. (``task_id`` is Airflow's own
        name for this task.)
    :param firecrest_conn_id: the id of a connection to FirecREST v1.
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("firecrest_task_id", "firecrest_conn_id")
    system = None
    _watch: TaskWatch | None = None

    def __init__(
        self,
        *,
        firecrest_task_id: str | list[str],
        firecrest_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.firecrest_task_id = firecrest_task_id
        self.firecrest_conn_id = firecrest_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def subject(self) -> str:
        """Return what is waited for, for a message."""
        return f"task {', '.join(self._ids())}"

    def look(self, client: FirecrestClient) -> Any:
        """Ask for all tasks that are not over."""
        from airflow.providers.common.compat.sdk import AirflowFailException, PokeReturnValue

        from ..client.errors import FirecrestError
        from ..client.waiting.task_watch import TaskWatch, tasks_flow

        # Each poke of a rescheduled sensor is a new process: it cannot know how long a task has been unknown.
        watch = self._watch = self._watch or TaskWatch(self._ids(), patient=not self.reschedule)
        try:
            answer = client.run(tasks_flow(client.api, watch.pending))
        except FirecrestError:
            watch.unanswered()
            raise
        for line in watch.observe(answer):
            self.log.info("%s", line)
        self._refuse_failures(watch.failed)
        if watch.problem:
            raise AirflowFailException(watch.problem)
        return PokeReturnValue(is_done=True, xcom_value=_short(watch.as_dicts())) if watch.done else False

    def trigger(self, deadline: float) -> FirecrestTaskTrigger:
        """Return the trigger that goes on asking."""
        from ..triggers.tasks import FirecrestTaskTrigger

        return FirecrestTaskTrigger(
            firecrest_conn_id=self.firecrest_conn_id,
            task_ids=self._ids(),
            poll_interval=self.poke_interval,
            deadline=deadline,
        )

    def found(self, event: dict[str, Any]) -> Any:
        """Return the tasks of an event, or fail for those that failed or cannot be followed."""
        from airflow.providers.common.compat.sdk import AirflowFailException

        from ..client.waiting.task_watch import seen_from_dict

        seen = [seen_from_dict(each) for each in event["tasks"]]
        self._refuse_failures(each for each in seen if each.is_over and not each.succeeded)
        if event["status"] == "lost":
            raise AirflowFailException(event["message"])
        return _short(event["tasks"])

    def _ids(self) -> list[str]:
        """Return the ids as texts: a template may have made one, a list, or a text with commas of it."""
        from ..client.errors import InvalidRequestError

        given = self.firecrest_task_id
        parts = given.split(",") if isinstance(given, str) else given
        ids = [str(each).strip() for each in parts or () if str(each).strip()]
        if not ids:
            raise InvalidRequestError("firecrest_task_id: empty.")
        return ids

    @staticmethod
    def _refuse_failures(failed: Iterable[Seen]) -> None:
        from airflow.providers.common.compat.sdk import AirflowFailException

        said = [f"{each}." for each in failed]
        if said:
            raise AirflowFailException(" ".join(said))


def _short(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: each[key] for key in ("task_id", "status", "meaning", "job_id")} for each in tasks]
