"""The local FirecREST as a context manager, for tests and demos.

Knows: starting and stopping the server's process, its control endpoint. Must not know: how the server works.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from airflow_provider_firecrest.local.config import LocalConfig

_START_LIMIT = 30.0
_STOP_LIMIT = 15.0
# Settings the command line knows, with their flag.
_FLAGS = {
    "host", "port", "root", "cpus", "token_ttl", "ingress_interval", "ops_timeout", "max_part_size",
    "client_id", "client_secret", "second_system", "transfer_time_limit", "v1_polling_interval",
    "v1_acct_lag", "url_ttl",
}  # fmt: skip


class LocalFirecrestError(RuntimeError):
    """The server did not start, or its control endpoint refused."""


class LocalFirecrest:
    """A FirecREST v1 and v2 server in a child process; it ends with this process at the latest.

    Args:
        settings: fields of `LocalConfig` that have a command line flag, e.g. ``cpus=4, token_ttl=40``.

    Attributes after entering: ``base_url`` (v2), ``base_url_v1``, ``token_url``, ``control_url``,
    ``client_id``, ``client_secret``, ``system``, ``user``, ``root``, ``scratch`` and ``home`` (the user's own
    directories, `Path`), ``pid``, ``conn_json`` (an Airflow connection).

    Raises:
        TypeError: an unknown setting.
        LocalFirecrestError: the server did not come up within 30 s.
    """

    base_url: str
    base_url_v1: str
    token_url: str
    control_url: str
    client_id: str
    client_secret: str
    system: str
    user: str
    conn_json: str
    pid: int
    root: Path
    scratch: Path
    home: Path

    def __init__(self, **settings: Any) -> None:
        unknown = set(settings) - _FLAGS
        if unknown:
            known = ", ".join(f.name for f in fields(LocalConfig) if f.name in _FLAGS)
            raise TypeError(f"unknown setting {', '.join(sorted(unknown))}; known are {known}")
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        with tempfile.TemporaryDirectory(prefix="firecrest-ready-") as directory:
            ready, log = Path(directory, "ready.json"), Path(directory, "log")
            command = [
                sys.executable,
                "-m",
                "airflow_provider_firecrest.local",
                "--quiet",
                "--stop-with-stdin",
            ]
            command += ["--ready-file", str(ready)]
            for name, value in self._settings.items():
                if value is not None:
                    command += [f"--{name.replace('_', '-')}", str(value)]
            with log.open("wb") as output:
                # The pipe on its standard input is how the server learns that we are gone, whatever ended us.
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
            try:
                self._read(_await_ready(self._process, ready, log))
            except BaseException:
                self.stop()
                raise

    def _read(self, description: dict[str, Any]) -> None:
        for name, value in description.items():
            setattr(self, name, Path(value) if name in ("root", "scratch", "home") else value)

    def stop(self) -> None:
        """Stop the server and every job it runs. Does nothing when it is stopped already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Answer of ``/control/<path>``, decoded from JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.control_url}/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise LocalFirecrestError(f"{method} /control/{path}: {error.read().decode()}") from None
        return json.loads(text) if text else None

    def jobs(self, mentioning: str = "") -> list[dict[str, Any]]:
        """The scheduler's own job list: an oracle that no API answer went through.

        With ``mentioning`` only the jobs in whose script that text is.
        """
        return list(self.control("GET", f"jobs?{urlencode({'mentioning': mentioning})}"))

    def objects(self) -> dict[str, Any]:
        """Content of the object store: ``objects`` with digests, and open ``uploads``."""
        return dict(self.control("GET", "objects"))

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """The requests the server answered after the one numbered ``since``."""
        return list(self.control("GET", f"requests?since={since}"))

    def fault(
        self, action: str, *, method: str = "", path_regex: str = "", times: int = 1, **details: Any
    ) -> None:
        """Make the next ``times`` matching requests (0: all) go wrong, or each with a ``probability``.

        See `faults.Fault` for actions and details.
        """
        match = {"method": method, "path_regex": path_regex}
        self.control("POST", "faults", {"action": action, "match": match, "times": times, **details})

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, with the number of requests that each was ``used`` for."""
        return list(self.control("GET", "faults"))

    def clear_faults(self) -> None:
        """End all faults; jobs that one of them holds back go on."""
        self.control("DELETE", "faults")

    def release_jobs(self) -> None:
        """Let the jobs go on that a fault holds back."""
        self.control("DELETE", "holds")

    def mint_token(self, **wish: Any) -> str:
        """A token with chosen ``claims``, ``ttl`` (seconds) or ``key_id``."""
        return str(self.control("POST", "tokens", wish)["access_token"])

    def secrets(self) -> list[str]:
        """The client's secret, and the tokens and signatures of presigned URLs made last."""
        made = self.control("GET", "secrets")
        return [self.client_secret, *made["tokens"], *made["signatures"]]

    def revoke_tokens(self) -> None:
        """Refuse every token there is from now on."""
        self.control("DELETE", "tokens")

    def token_life(self, seconds: float) -> None:
        """Let new tokens end after ``seconds``, whatever life the token endpoint promises."""
        self.control("PUT", "tokens/life", {"seconds": seconds})


def _await_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + _START_LIMIT
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:]
            raise LocalFirecrestError(f"the local FirecREST did not start:\n{tail}")
        time.sleep(0.02)
    return dict(json.loads(ready.read_text()))
