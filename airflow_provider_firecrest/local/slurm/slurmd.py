"""The node daemon: a process of its own that starts batch scripts and never leaves one behind.

Run by file name, with ``-I -S``: it must import nothing of this package. Why a process of its own:

- it has one thread, so forking is safe whatever the server's threads do;
- when the server goes, SIGKILL included, its standard input ends: it kills every job, then ends;
- jobs never see the server's memory, files or environment.

Protocol: one JSON object per line. Commands: start (key, argv, env, cwd, stdin, stdout, stderr, append), kill
(key, signal). Events: started (key, pid), refused (key, error), exited (key, code, signal).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OUR_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXEC_FAILED_NOTE = "slurmstepd: error: execve(): {}: {}\n"


def _prctl() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None).prctl
    return None


class Daemon:
    """Everything the daemon remembers: which process group belongs to which key."""

    def __init__(self) -> None:
        self.prctl = _prctl()
        self.keys: dict[int, str] = {}
        self.pids: dict[str, int] = {}
        self.buffer = b""

    def serve(self) -> None:
        """Follow commands until standard input ends, then kill what still runs."""
        if self.prctl:
            # Processes that left their job's group become our children when their parents end: see kill_all.
            self.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wakeup_read, wakeup_write = os.pipe()
        for descriptor in (wakeup_read, wakeup_write, 0):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in _OUR_SIGNALS:
            signal.signal(number, self._leave)
        try:
            self._loop(wakeup_read)
        finally:
            self.kill_all()

    @staticmethod
    def _leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    def _loop(self, wakeup: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(wakeup, selectors.EVENT_READ)
            while True:
                ready = [key.fd for key, _ in selector.select()]
                if wakeup in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wakeup, 4096)
                    self.reap()
                if 0 in ready and not self._read_commands():
                    return

    def _read_commands(self) -> bool:
        try:
            data = os.read(0, 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            command = json.loads(line)
            self.start(command) if command["op"] == "start" else self.kill(command)
        return True

    def start(self, command: dict[str, Any]) -> None:
        """Open the files, fork, exec. What cannot be opened is refused before a process exists."""
        key = command["key"]
        files: list[int] = []
        try:
            os.chdir(command["cwd"])
            files.append(_open(command["stdin"], os.O_RDONLY))
            mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if command.get("append") else os.O_TRUNC)
            files.append(_open(command["stdout"], mode))
            same = command["stderr"] == command["stdout"]
            files.append(os.dup(files[1]) if same else _open(command["stderr"], mode))
        except OSError as error:
            self._emit({"event": "refused", "key": key, "error": str(error)})
            return self._close(files)
        ready, child_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become(command, files, child_end)
        os.close(child_end)
        # Ends when the child has its own group and default signals: a kill that follows must reach it.
        os.read(ready, 1)
        self._close([*files, ready])
        self.keys[pid] = key
        self.pids[key] = pid
        self._emit({"event": "started", "key": key, "pid": pid})
        return None

    def _become(self, command: dict[str, Any], files: list[int], ready: int) -> None:
        """In the child: own session, own signals, the job's files; never returns."""
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            if self.prctl:
                self.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            for number in (*_OUR_SIGNALS, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.close(ready)
            for target, source in enumerate(files):
                os.dup2(source, target)
            os.execve(command["argv"][0], command["argv"], command["env"])
        except OSError as error:
            # slurmstepd ends with the errno of the failed execve: 2 for an interpreter that does not exist.
            code = error.errno or 1
            os.write(2, _EXEC_FAILED_NOTE.format(command["argv"][0], os.strerror(code)).encode())
        finally:
            os._exit(code)

    @staticmethod
    def _close(files: list[int]) -> None:
        os.chdir("/")
        for descriptor in files:
            os.close(descriptor)

    def kill(self, command: dict[str, Any]) -> None:
        """Signal a job's whole process group."""
        pid = self.pids.get(command["key"])
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, command["signal"])

    def reap(self) -> None:
        """Collect the processes that ended. A job ends with its leader; what it left running is killed."""
        while (pid := self._ended()) is not None:
            if pid in self.keys:
                # The leader is not collected yet, so the number of its group cannot belong to anybody else.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._report(pid, status)

    def _ended(self) -> int | None:
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                return found.si_pid if found else None
            return None
        for pid in list(self.keys):
            with contextlib.suppress(ChildProcessError):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)
                    self._report(pid, status)
        return None

    def _report(self, pid: int, status: int) -> None:
        key = self.keys.pop(pid, None)
        if key is None:
            return
        self.pids.pop(key, None)
        killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        self._emit({"event": "exited", "key": key, "code": code, "signal": killed_by})

    @staticmethod
    def _emit(event: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, json.dumps(event).encode() + b"\n")

    def kill_all(self) -> None:
        """Kill every job's group, and whatever left its group, until no child is left (bounded)."""
        signal.set_wakeup_fd(-1)
        for number in _OUR_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for _ in range(100):
            for pid in [*self.keys]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            for pid in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            try:
                pid, _status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            self.keys.pop(pid, None)


def _open(path: str, mode: int) -> int:
    """Open a job's file. A FIFO nobody holds open must not stop the daemon, so opening never waits."""
    descriptor = os.open(path, mode | os.O_NONBLOCK, 0o644)
    os.set_blocking(descriptor, True)
    return descriptor


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123 (pathlib costs start-up time)
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


if __name__ == "__main__":
    Daemon().serve()
