"""A real Airflow on this machine, in a throw-away home: API server, scheduler, DAG processor, triggerer.

Knows which processes make an Airflow and which settings let several run side by side. The REST API is in
``airflow_rest``; nothing here knows FirecREST.

    with LocalAirflow([Path("my_dags")], env={"AIRFLOW_CONN_FIRECREST_DEFAULT": "..."}) as airflow:
        run_id = airflow.trigger_dag("my_dag", {"a_param": 1})
        print(airflow.wait_run("my_dag", run_id, timeout=120))
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType

import requests

from .airflow_rest import AirflowApiError, AirflowRest
from .processes import ChildProcess, Guard, kill_leftovers, stop_all, tail

# The order in which they are started: the API server takes longest to answer, so it goes first.
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

_HEARTBEAT_KEYS = {
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}
_START_ATTEMPTS = 3

# Marks every process of one LocalAirflow. AIRFLOW_HOME would not do: a home that was given may be in use.
_MARK = "LOCAL_AIRFLOW_MARK"


class LocalAirflowError(Exception):
    """A component of the local Airflow did not start, or died."""


class _PortTaken(LocalAirflowError):
    """Somebody took a port between our looking for free ones and the API server's using it."""


class LocalAirflow(AirflowRest):
    """An Airflow with SQLite and the LocalExecutor, as a context manager and as the client of its REST API.

    Everybody on this machine who can reach the port is an administrator of it: it is for demos, tests and
    writing DAGs, and listens on 127.0.0.1 only.

    :param dag_folders: folders with DAG files; each becomes a DAG bundle and is importable by its DAGs.
    :param env: more environment variables for all components, such as ``AIRFLOW_CONN_...``. They win over the
        settings made here. ``AIRFLOW*`` variables of the calling process are not passed on.
    :param home: AIRFLOW_HOME; default: a temporary folder, removed by :meth:`stop`.
    :param components: which of :data:`COMPONENTS` the context manager starts.
    :param parallelism: tasks that may run at once; each costs a process.
    :param start_timeout: seconds from launch until all components must be healthy.
    """

    def __init__(
        self,
        dag_folders: Sequence[Path | str],
        *,
        env: Mapping[str, str] | None = None,
        home: Path | str | None = None,
        components: Sequence[str] = COMPONENTS,
        parallelism: int = 4,
        start_timeout: float = 120.0,
    ) -> None:
        unknown = set(components) - set(COMPONENTS)
        if unknown:
            raise ValueError(f"unknown components {sorted(unknown)}; there are {', '.join(COMPONENTS)}")
        super().__init__("http://127.0.0.1:0")
        self.dag_folders = [Path(folder).resolve() for folder in dag_folders]
        self.components = tuple(components)
        self.parallelism = parallelism
        self.start_timeout = start_timeout
        self._extra_env = dict(env or {})
        self._home_is_ours = home is None
        self.home = Path(tempfile.mkdtemp(prefix="airflow-")) if home is None else Path(home).resolve()
        self.processes: dict[str, ChildProcess] = {}
        self.env: dict[str, str] = {}
        self._guard: Guard | None = None
        self._mark = secrets.token_hex(8)

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> LocalAirflow:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Create the database, start the components and wait until they are healthy.

        :raises LocalAirflowError: naming the component that failed, with the end of its log.
        """
        self._secrets = {
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        }
        for folder in ("logs", "component-logs", "plugins", "tmp"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        self._guard = self._guard or Guard(
            _MARK, self._mark, remove=self.home if self._home_is_ours else None
        )
        self._choose_ports()
        self._migrate()
        for attempt in range(1, _START_ATTEMPTS + 1):
            for name in self.components:
                self.start_component(name)
            try:
                self.wait_healthy(timeout=self.start_timeout)
                return
            except _PortTaken:
                if attempt == _START_ATTEMPTS:
                    raise
                stop_all(list(self.processes.values()), grace=5)
                self._choose_ports()

    def stop(self) -> None:
        """Stop everything that was started, within bounded time, and remove the home unless it was given."""
        self.close()
        # Three seconds are enough for all that matters; the triggerer alone would take ten.
        stop_all(list(self.processes.values()), grace=3)
        self.processes.clear()
        kill_leftovers(_MARK, self._mark)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        if self._home_is_ours:
            shutil.rmtree(self.home, ignore_errors=True)

    def _choose_ports(self) -> None:
        api, worker_logs, trigger_logs, scheduler_health = _free_ports(4)
        self.base_url = f"http://127.0.0.1:{api}"
        self._session.headers.pop("Authorization", None)
        self.env = self._environment(api, worker_logs, trigger_logs, scheduler_health)

    def _environment(
        self, api: int, worker_logs: int, trigger_logs: int, scheduler_health: int
    ) -> dict[str, str]:
        bundles = [
            {
                "name": f"{index}-{folder.name}",  # some bare names are reserved, "example_dags" among them
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder)},
            }
            for index, folder in enumerate(self.dag_folders)
        ]
        settings = {
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": self.parallelism,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api}/execution/",
            "CORE__PLUGINS_FOLDER": self.home / "plugins",
            "CORE__TEST_CONNECTION": "Enabled",
            # The default asks the resolver for a full name, which takes seconds on a machine without network.
            "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            # Five minutes until a new DAG file is seen (the default) is too long for somebody writing one.
            "DAG_PROCESSOR__REFRESH_INTERVAL": 10,
            "API__HOST": "127.0.0.1",
            "API__PORT": api,
            "API__BASE_URL": self.base_url,
            "LOGGING__BASE_LOG_FOLDER": self.home / "logs",
            "LOGGING__WORKER_LOG_SERVER_PORT": worker_logs,
            "LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_logs,
            "LOGGING__COLORED_CONSOLE_LOG": False,
            "SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": scheduler_health,
            # After a task's end its worker process sleeps for this long before it notices, and blocks a slot.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        env.update({f"AIRFLOW__{name}": str(value) for name, value in settings.items()})
        env.update(self._secrets)
        env["AIRFLOW_HOME"] = str(self.home)
        env[_MARK] = self._mark
        env["TMPDIR"] = str(self.home / "tmp")  # what tasks leave in the temporary folder goes with the home
        env["PYTHONUNBUFFERED"] = "1"
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
        for name in ("NO_PROXY", "no_proxy"):  # the components talk to each other over 127.0.0.1
            env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
        env.update(self._extra_env)
        return env

    def _migrate(self) -> None:
        log_path = self.home / "component-logs" / "db-migrate.log"
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        migration = self._launch("db migrate", command, log_path)
        try:
            code = migration.wait(self.start_timeout)
        finally:
            migration.kill_group()
        if code != 0:
            what = "did not end in time" if code is None else f"ended with exit code {code}"
            raise LocalAirflowError(f"airflow db migrate {what}; the end of its log:\n{tail(log_path)}")

    def _launch(self, name: str, command: Sequence[str], log_path: Path) -> ChildProcess:
        child = ChildProcess(name, command, env=self.env, log_path=log_path)
        if self._guard is not None:
            self._guard.watch(child)
        return child

    # -- components --------------------------------------------------------------------------------

    def start_component(self, name: str) -> None:
        """Start one component without waiting for it.

        Its output goes to ``<home>/component-logs/<name>.log``.
        """
        running = self.processes.get(name)
        if running is not None and running.exit_code() is None:
            raise LocalAirflowError(f"{name} is already running (process {running.pid})")
        log_path = self.home / "component-logs" / f"{name}.log"
        command = [sys.executable, "-m", "airflow", name]
        self.processes[name] = self._launch(name, command, log_path)

    def kill_component(self, name: str, signum: int = signal.SIGKILL, *, timeout: float = 30.0) -> None:
        """Send a signal to a component and wait for its end; SIGKILL also ends its process group.

        Tasks of the scheduler's executor are in groups of their own and are not hit: as when a machine's
        scheduler crashes while its workers live on.
        """
        process = self.processes[name]
        process.send(signum, group=signum == signal.SIGKILL)
        if process.wait(timeout) is None:
            raise LocalAirflowError(
                self._describe(name, f"did not end within {timeout:.0f} s of signal {signum}")
            )
        process.kill_group()

    def restart_component(self, name: str, *, timeout: float = 60.0) -> None:
        """Start a component again after :meth:`kill_component` and wait until it is healthy."""
        self.start_component(name)
        self.wait_healthy(timeout=timeout, components=[name])

    def wait_healthy(self, *, timeout: float = 60.0, components: Iterable[str] | None = None) -> None:
        """Wait until the API server answers and each component has sent a heartbeat since it was started.

        Without an API server there is nobody to ask: then it only looks whether the processes are alive.

        :raises LocalAirflowError: when a component ended or stayed silent, with the end of its log.
        """
        waiting = list(components if components is not None else self.processes)
        deadline = time.monotonic() + timeout
        while True:
            self._check_alive(waiting)
            missing = self._not_healthy(waiting)
            if not missing:
                return
            if time.monotonic() > deadline:
                raise LocalAirflowError(self._describe(missing[0], f"is not healthy after {timeout:.0f} s"))
            time.sleep(0.2)

    def _check_alive(self, names: Iterable[str]) -> None:
        for name in names:
            code = self.processes[name].exit_code()
            if code is None:
                continue
            if name == "api-server" and "address already in use" in self.processes[name].log_tail(50):
                raise _PortTaken(self._describe(name, "found its port taken"))
            raise LocalAirflowError(self._describe(name, f"ended with exit code {code}"))

    def _not_healthy(self, names: list[str]) -> list[str]:
        if "api-server" not in self.processes:
            return []
        try:
            health = self.health()
        except (requests.RequestException, AirflowApiError):
            return ["api-server"]
        return [name for name in names if name in _HEARTBEAT_KEYS and not self._has_heartbeat(name, health)]

    def _has_heartbeat(self, name: str, health: Mapping[str, Mapping[str, str | None]]) -> bool:
        # A heartbeat counts for 30 s, so "healthy" alone may still speak of a process killed just before.
        section, key = _HEARTBEAT_KEYS[name]
        status = health.get(section) or {}
        latest = status.get(key)
        if status.get("status") != "healthy" or not latest:
            return False
        return datetime.fromisoformat(latest).timestamp() >= self.processes[name].started_at

    def logs(self, lines: int = 30) -> str:
        """The end of every component's log, for an error report."""
        return "\n".join(f"--- {name}\n{child.log_tail(lines)}" for name, child in self.processes.items())

    def _describe(self, name: str, what: str) -> str:
        process = self.processes[name]
        return f"Airflow's {name} {what}; the end of its log ({process.log_path}):\n{process.log_tail()}"


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on now. All are held open together, so they differ."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports
