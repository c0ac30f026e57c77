"""The server's end of the node daemon: starts it, sends it commands, hands its events on.

Knows: the pipe protocol of slurmd.py. Must not know: jobs, states, scheduling.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("slurmd.py")
# Where a Python built with shared libraries finds them; nothing else of our environment is passed on.
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Launch:
    """One process to start: an exec call and where its three files are (absolute paths)."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    stdin: str
    stdout: str
    stderr: str
    append: bool = False


class NodeLost(Exception):
    """The daemon is gone, and with it every job that ran."""


class Node:
    """A running node daemon.

    Args:
        log: file for what the daemon itself prints (nothing, unless it breaks).
        on_event: called from one thread for each event, and once with ``{"event": "lost"}`` when the daemon
            is gone.
    """

    def __init__(self, log: Path, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._on_event = on_event
        self._lock = threading.Lock()
        self._closing = False
        env = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=env,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the server's terminal is the server's business alone
            )
        self._reader = threading.Thread(target=self._read, name="local-slurm-node", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        return self._process.pid

    def start(self, key: str, launch: Launch) -> None:
        """Start a process; events "started" and "exited", or "refused", follow under this key."""
        command = {
            "op": "start",
            "key": key,
            "argv": list(launch.argv),
            "env": dict(launch.env),
            "cwd": launch.cwd,
            "stdin": launch.stdin,
            "stdout": launch.stdout,
            "stderr": launch.stderr,
            "append": launch.append,
        }
        self._send(command)

    def kill(self, key: str, signal_number: int) -> None:
        """Signal the process group of a key; nothing happens when it has ended."""
        with contextlib.suppress(NodeLost):
            self._send({"op": "kill", "key": key, "signal": int(signal_number)})

    def _send(self, command: dict[str, Any]) -> None:
        data = json.dumps(command).encode() + b"\n"
        with self._lock:
            if self._closing or self._process.stdin is None:
                raise NodeLost
            try:
                self._process.stdin.write(data)
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError) as error:
                raise NodeLost from error

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._on_event(json.loads(line))
        if not self._closing:
            self.close()
            self._on_event({"event": "lost"})

    def close(self, timeout: float = 10.0) -> None:
        """End the daemon; it kills every job first. Returns within ``timeout`` seconds."""
        with self._lock:
            self._closing = True
            if self._process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if threading.current_thread() is not self._reader:
            self._reader.join(timeout)
        if self._process.stdout is not None:
            self._process.stdout.close()
