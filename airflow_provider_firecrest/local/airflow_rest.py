"""Airflow's REST API, as much of it as is needed to drive DAGs from outside.

Knows the paths and bodies of ``/api/v2``. Must not know how the Airflow behind it was started, nor anything
of FirecREST.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import requests

RUN_ENDED = frozenset({"success", "failed"})
TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

Json = dict[str, Any]


class AirflowApiError(Exception):
    """Airflow's REST API refused a request, or something waited for did not come in time."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AirflowRest:
    """A client of one Airflow's REST API that takes its token from ``/auth/token`` without credentials.

    That works with the simple auth manager and ``[core] simple_auth_manager_all_admins``.

    :param base_url: where the API server answers, such as ``http://127.0.0.1:8080``.
    :param timeout: seconds for one request.
    """

    def __init__(self, base_url: str, *, timeout: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment must not get requests for this machine

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # -- requests ----------------------------------------------------------------------------------

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send one request below ``/api/v2`` and return the answer when it is a success.

        :raises AirflowApiError: for an answer of 400 or more, with Airflow's own words.
        """
        if "Authorization" not in self._session.headers:
            self._log_in()
        url = f"{self.base_url}/api/v2{path}"
        response = self._session.request(method, url, timeout=self.timeout, **kwargs)
        if response.status_code == 401:
            self._log_in()
            response = self._session.request(method, url, timeout=self.timeout, **kwargs)
        if response.status_code >= 400:
            said = response.text[:500]
            raise AirflowApiError(
                f"Airflow answered {response.status_code} to {method} {path}: {said}",
                status=response.status_code,
            )
        return response

    def get(self, path: str, **params: Any) -> Any:
        """GET, parsed as JSON."""
        return self.request("GET", path, params=params).json()

    def _log_in(self) -> None:
        response = self._session.get(f"{self.base_url}/auth/token", timeout=self.timeout)
        response.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    # -- the installation --------------------------------------------------------------------------

    def health(self) -> Json:
        """Status and latest heartbeat of each component: GET /monitor/health."""
        return dict(self.get("/monitor/health"))

    def import_errors(self) -> dict[str, str]:
        """DAG files that could not be imported, with the stack trace: GET /importErrors."""
        return {e["filename"]: e["stack_trace"] for e in self.get("/importErrors")["import_errors"]}

    def dag_ids(self) -> list[str]:
        """Ids of the DAGs that were parsed: GET /dags."""
        return [dag["dag_id"] for dag in self.get("/dags", limit=100)["dags"]]

    def pool(self, name: str = "default_pool") -> Json:
        """Slots of a pool, in all and by use: GET /pools/{name}."""
        return dict(self.get(f"/pools/{quote(name)}"))

    def wait_pool(
        self, condition: Callable[[Json], bool], *, name: str = "default_pool", timeout: float = 30.0
    ) -> Json:
        """Wait until a pool's slots meet ``condition`` and return the pool.

        :raises AirflowApiError: after ``timeout`` seconds, with the slots as they are.
        """
        deadline = time.monotonic() + timeout
        while not condition(pool := self.pool(name)):
            if time.monotonic() > deadline:
                raise AirflowApiError(f"The pool {name} is not as expected after {timeout:.0f} s: {pool}")
            time.sleep(0.2)
        return pool

    # -- DAG runs ----------------------------------------------------------------------------------

    def wait_dag(self, dag_id: str, *, timeout: float = 60.0) -> None:
        """Wait until the DAG processor has stored the DAG.

        :raises AirflowApiError: when it is not there in time, with the import errors there are.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.get(f"/dags/{dag_id}")
                return
            except AirflowApiError as error:
                if error.status != 404:
                    raise
            if time.monotonic() > deadline:
                broken = "\n".join(f"{name}:\n{trace}" for name, trace in self.import_errors().items())
                found = ", ".join(self.dag_ids()) or "none"
                raise AirflowApiError(
                    f"Airflow did not find the DAG {dag_id!r} within {timeout:.0f} s. DAGs found: {found}. "
                    f"Import errors: {broken or 'none'}"
                )
            time.sleep(0.3)

    def trigger_dag(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, timeout: float = 60.0
    ) -> str:
        """Unpause the DAG, start a run with ``conf`` (the DAG's params) and return the run's id."""
        self.wait_dag(dag_id, timeout=timeout)
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", json=body).json()["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> Json:
        """One DAG run."""
        return dict(self.get(_run_path(dag_id, run_id)))

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a whole run as ``success``, ``failed`` or ``queued``, as the button in the UI does."""
        self.request("PATCH", _run_path(dag_id, run_id), json={"state": state})

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear a whole run so that all of its tasks run again, as the button in the UI does."""
        self.request("POST", f"{_run_path(dag_id, run_id)}/clear", json={"dry_run": False})

    def task_instances(self, dag_id: str, run_id: str) -> list[Json]:
        """The task instances of a run, mapped ones included."""
        found = self.get(f"{_run_path(dag_id, run_id)}/taskInstances", limit=1000)
        return list(found["task_instances"])

    def wait_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float,
        on_change: Callable[[Json], None] | None = None,
        interval: float = 0.5,
    ) -> str:
        """Wait for the end of a run and return its state, ``success`` or ``failed``.

        :param timeout: seconds after which :class:`AirflowApiError` is raised, naming all tasks' states.
        :param on_change: called with a task instance whenever its state or try number differs from before.
        """
        deadline = time.monotonic() + timeout
        seen: dict[tuple[str, int], tuple[Any, Any]] = {}
        while True:
            state = str(
                self.dag_run(dag_id, run_id)["state"]
            )  # first: then the last task changes are not missed
            for ti in self.task_instances(dag_id, run_id):
                key, now = (ti["task_id"], ti["map_index"]), (ti["state"], ti["try_number"])
                if seen.get(key) != now:
                    seen[key] = now
                    if on_change is not None:
                        on_change(ti)
            if state in RUN_ENDED:
                return state
            if time.monotonic() > deadline:
                states = ", ".join(f"{task}: {what[0]}" for (task, _), what in seen.items())
                raise AirflowApiError(
                    f"Run {run_id} of {dag_id} is still {state} after {timeout:.0f} s ({states})"
                )
            time.sleep(interval)

    # -- task instances ----------------------------------------------------------------------------

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json:
        """One task instance."""
        return dict(self.get(_task_path(dag_id, run_id, task_id, map_index)))

    def wait_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        states: frozenset[str] = TASK_ENDED,
        map_index: int = -1,
        timeout: float = 60.0,
    ) -> Json:
        """Wait until the task instance is in one of ``states`` and return it.

        :raises AirflowApiError: after ``timeout`` seconds, or at once when it ended in another state.
        """
        deadline = time.monotonic() + timeout
        while True:
            ti = self.task_instance(dag_id, run_id, task_id, map_index)
            if ti["state"] in states:
                return ti
            late = time.monotonic() > deadline
            if late or ti["state"] in TASK_ENDED:
                when = f"after {timeout:.0f} s" if late else "for good"
                wanted = ", ".join(sorted(states))
                raise AirflowApiError(
                    f"Task {task_id} of {run_id} is {ti['state']} {when}, expected: {wanted}"
                )
            time.sleep(0.2)

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int | None = None, map_index: int = -1
    ) -> str:
        """The log of one try (default: the latest) as text, one line for each event."""
        if try_number is None:
            try_number = max(1, self.task_instance(dag_id, run_id, task_id, map_index)["try_number"])
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}"
        answer = self.get(path, map_index=map_index, full_content=True)
        return "\n".join(_log_line(event) for event in answer["content"])

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """The value of an XCom; None when there is none."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key)}"
        try:
            value = self.get(path, map_index=map_index, deserialize=True)["value"]
        except AirflowApiError as error:
            if error.status == 404:
                return None
            raise
        return value

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int = -1) -> None:
        """Mark a task instance as ``success``, ``failed`` or ``skipped``, as the button in the UI does."""
        path = _task_path(dag_id, run_id, task_id, map_index)
        self.request("PATCH", path, json={"new_state": state})

    def clear_task(self, dag_id: str, run_id: str, task_id: str, *, downstream: bool = False) -> None:
        """Clear a task instance so that it runs again, as the button in the UI does."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task_path(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    mapped = f"/{map_index}" if map_index >= 0 else ""
    return f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}{mapped}"


def _log_line(event: Any) -> str:
    """A structured log event as a line: time, level, text, and the stack traces it carries."""
    if not isinstance(event, dict):
        return str(event)
    parts = [event.get("timestamp"), event.get("level"), event.get("event")]
    line = " ".join(str(part) for part in parts if part)
    for error in event.get("error_detail") or []:
        line += f"\n  {error.get('exc_type')}: {error.get('exc_value')}"
    return line
