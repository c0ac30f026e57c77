"""Child processes that never outlive their parent.

Knows how to start a program in a process group of its own with its output in a file, how to stop it within a
bounded time, and how to end it when this process is killed and can do nothing more. Must not know what the
program is. Run as a script, this file is the guard that does the last of these: standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class ChildProcess:
    """A program started by this process, its output appended to a log file.

    :param name: what to call it in messages.
    :param command: the program's absolute path and its arguments.
    :param env: its whole environment.
    :param log_path: the file that gets stdout and stderr.
    """

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self.started_at = time.time()
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                list(command),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal must reach the parent only
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def wait(self, timeout: float) -> int | None:
        """Wait up to ``timeout`` seconds for the end; returns what :meth:`exit_code` returns."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def send(self, signum: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to its whole group. A process already gone is not an error."""
        if self.exit_code() is not None and not group:
            return
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self.pid, signum)
            else:
                os.kill(self.pid, signum)

    def kill_group(self) -> None:
        """SIGKILL the process and its group, and reap it."""
        # On macOS killpg says EPERM when only a zombie is left in the group.
        with contextlib.suppress(PermissionError):
            self.send(signal.SIGKILL, group=True)
        self.wait(5)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its output."""
        return tail(self.log_path, lines)


class Guard:
    """A small process that ends a set of programs, and removes their folder, when this process dies.

    It waits for the end of a pipe that only this process holds open, so it notices SIGKILL too. A
    parent-death signal would not do: programs pass it on to their children badly, or let work end first.

    :param env_name: processes started with this environment variable set to ``env_value`` are ended as well.
    :param env_value: see :func:`kill_leftovers`.
    :param remove: a folder to remove in the end.
    """

    def __init__(self, env_name: str, env_value: str, *, remove: Path | None = None) -> None:
        command = [sys.executable, "-I", "-S", __file__, env_name, env_value, str(remove or "")]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def watch(self, child: ChildProcess) -> None:
        """Add a child to those that are ended with this process."""
        if self._popen.stdin is not None and self._popen.poll() is None:
            self._popen.stdin.write(f"{child.pid}\n".encode())
            self._popen.stdin.flush()

    def dismiss(self) -> None:
        """All is over in good order: nothing is left to be done by the guard."""
        self._popen.kill()
        self._popen.wait(10)
        if self._popen.stdin is not None:
            self._popen.stdin.close()


def stop_all(children: Sequence[ChildProcess], *, grace: float) -> None:
    """Ask all to end at once, wait ``grace`` seconds in total, then kill what is left of their groups."""
    for child in children:
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + grace
    for child in children:
        child.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        child.kill_group()


def kill_leftovers(env_name: str, env_value: str) -> list[int]:
    """SIGKILL every process that was started with this environment variable; returns their ids.

    Programs may put their own children into new process groups (Airflow does so with every task), and those
    are out of reach of their parent's group. Their environment still tells where they come from. Linux only;
    elsewhere nothing is found.

    :param env_name: a variable made up for this purpose.
    :param env_value: a value that no other process has: a random one.
    """
    needle = f"{env_name}={env_value}".encode()
    killed = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and needle in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                killed.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return killed


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a text file, whatever its size; empty when there is no such file."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 64_000))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _signal_groups(pids: Sequence[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signum)


def _guard(env_name: str, env_value: str, folder: str) -> None:
    """The guard's own life: read process ids until the parent is gone, then clean up after it."""
    pids = [int(line) for line in sys.stdin]
    _signal_groups(pids, signal.SIGTERM)
    time.sleep(3)  # nobody waits for this; the programs get a moment to end in good order
    _signal_groups(pids, signal.SIGKILL)
    kill_leftovers(env_name, env_value)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard(*sys.argv[1:])
