"""What the sensors share: poking through outages, and waiting in the triggerer.

Imported whenever a DAG file is parsed, so it imports nothing of the client at the top.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator

from ..hooks._task import FirecrestMixin, framework_timeout

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from ..client import FirecrestClient
    from ..client.errors import FirecrestError
    from ..client.waiting.patience import Patience
    from ..triggers._base import FirecrestTrigger

_REFUSED_KEY = "firecrest_refused"


class FirecrestSensor(FirecrestMixin, BaseSensorOperator):
    """Base of the sensors: one question per poke, which an outage of the API does not fail."""

    deferrable: bool
    _patience: Patience | None = None

    def look(self, client: FirecrestClient) -> Any:
        """Ask once.

        :returns: something true when the wait is over.
        """
        raise NotImplementedError

    def subject(self) -> str:
        """Return what is waited for, for a message."""
        raise NotImplementedError

    def trigger(self, deadline: float) -> FirecrestTrigger:
        """Return the trigger that goes on asking."""
        raise NotImplementedError

    def found(self, event: dict[str, Any]) -> Any:
        """Return the sensor's result of an event with status ``done``, or raise."""
        return None

    def poke(self, context: Context) -> Any:
        """Ask once;

        an outage counts as "not yet". A refusal, or a web page in place of FirecREST, does so only when there
        has been an answer before.
        """
        from ..client.errors import FirecrestError, NotFirecrestError
        from ..client.waiting.patience import Patience, is_outage

        with self.firecrest() as client:
            try:
                result = self.look(client)
            except FirecrestError as error:
                if self._patience is not None:
                    self._patience.failed(error)
                else:
                    passing = is_outage(error) and not isinstance(error, NotFirecrestError)
                    if not passing and not self._passing_refusal(error, context):
                        raise
                self.log.warning("Waiting on; the question failed: %s", error)
                return False
            self._patience = self._patience or Patience(self.poke_interval)
            self._patience.answered(changed=True)
            return result

    def _passing_refusal(self, error: FirecrestError, context: Context) -> bool:
        """Return whether a refused login or a page may yet pass, for a poke that knows of no answer before.

        With ``mode="reschedule"`` each poke is a process of its own. That there was a poke before it says
        that a refusal is news; where Airflow has a store for the task (3.3), since when is kept there.
        """
        from ..client.errors import AuthenticationError, NotFirecrestError, PermissionDeniedError
        from ..client.waiting.patience import REFUSALS_TOLERATED

        refused = isinstance(error, AuthenticationError | PermissionDeniedError | NotFirecrestError)
        if not refused or self.mode != "reschedule" or not _was_rescheduled(context):
            return False
        return _refused_for(context, forget_after=600.0 + 3 * self.poke_interval) < REFUSALS_TOLERATED

    def execute(self, context: Context) -> Any:
        """Poke, or, when deferrable, ask once here and go on in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        result = self._first_look(context)
        if result:
            return getattr(result, "xcom_value", None)
        deadline = self._deadline(context)
        return self.defer(
            trigger=self.trigger(deadline),
            method_name="execute_complete",
            timeout=framework_timeout(deadline, self.poke_interval),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take up the task again when the trigger has fired."""
        from airflow.providers.common.compat.sdk import (
            AirflowException,
            AirflowSensorTimeout,
            AirflowTaskTimeout,
        )

        if event["status"] == "timeout":
            limit = self.deadline(context)
            if limit is not None and limit <= time.time():
                raise AirflowTaskTimeout("execution_timeout is over.")
            waited = timedelta(seconds=self.timeout)
            raise AirflowSensorTimeout(
                f"The sensor has timed out after waiting {waited} for {self.subject()}."
            )
        if event["status"] == "error":
            raise AirflowException(event["message"])
        return self.found(event)

    def _first_look(self, context: Context) -> Any:
        """Poke as the base class does in its loop, soft_fail and never_fail included."""
        from airflow.providers.common.compat.sdk import (
            AirflowException,
            AirflowFailException,
            AirflowSkipException,
        )

        try:
            return self.poke(context)
        except AirflowException as error:
            skip = self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException))
            if skip:
                raise AirflowSkipException(f"Skipped instead of failed: {error}") from error
            raise

    def _deadline(self, context: Context) -> float:
        """Return when ``timeout`` or ``execution_timeout`` ends, in seconds since the epoch."""
        started = getattr(context["ti"], "start_date", None)
        ours = (started.timestamp() if started else time.time()) + self.timeout
        return min(ours, self.deadline(context) or ours)


def _was_rescheduled(context: Context) -> bool:
    """Return False for a sensor's very first poke; where Airflow cannot tell, any may be a later one."""
    ask = getattr(context["ti"], "get_first_reschedule_date", None)
    return ask is None or ask(context) is not None


def _refused_for(context: Context, *, forget_after: float) -> float:
    """Return for how many seconds the pokes have been refused, as far as that is known, and write it down.

    :param context: the task's.
    :param forget_after: seconds without a refusal after which there must have been an answer in between.
    """
    store: Any = context.get("task_state_store")
    now = time.time()
    if store is None:
        return 0.0
    try:
        since, last = store.get(_REFUSED_KEY) or (now, now)
        if now - last > forget_after:
            since = now
        store.set(_REFUSED_KEY, [since, now])
    except Exception:
        # Airflow's store is a help; without it a refusal counts as the first.
        return 0.0
    return float(now - since)
