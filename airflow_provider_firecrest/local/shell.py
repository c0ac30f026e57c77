"""Commands as the real server runs them over SSH: one line for bash, a time limit, an output limit.

Knows: running a shell line and turning its failure into an answer. Must not know: which call runs which.

The lines are the recorded ones, quoting mistakes included: a single quote in a path breaks them here, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass

from airflow_provider_firecrest.local.disk import shell_line
from airflow_provider_firecrest.local.errors import ApiError

_READ_SIZE = 256 * 1024
# The servers' shells are POSIX: `ls` shows non-ASCII names as octal text.
_ENVIRONMENT = {"LC_ALL": "C", "HOME": "/", "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")}

_TOOLS = ("bash", "ls", "stat", "head", "tail", "dd", "base64", "sha256sum", "tar", "find")

TIMED_OUT = "Command execution timeout limit exceeded."
TOO_MUCH_OUTPUT = "Command output exceeded buffer limit."


def missing_tools() -> list[str]:
    """Commands the server needs and this machine has not, or not in GNU's version (macOS)."""
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if "ls" not in missing:
        asked = subprocess.run(["ls", "--version"], capture_output=True, text=True, check=False)
        if "GNU" not in asked.stdout:
            missing.append("GNU coreutils")
    return missing


@dataclass(frozen=True)
class Completed:
    """How a command ended, and what it printed."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class Shell:
    """Runs shell lines with the server's limits.

    Args:
        timeout: limit of one command in seconds.
        max_output: outputs of this many bytes or more are refused.
        slots: commands at one time.
    """

    def __init__(self, timeout: float, max_output: int, slots: int = 64) -> None:
        self.timeout = timeout
        self.max_output = max_output
        self.prefix = f"timeout {timeout:g} " if shutil.which("timeout") else ""
        self._slots = asyncio.Semaphore(slots)

    async def run(self, line: str, *, stdin: bytes | None = None, cwd: str | None = None) -> bytes:
        """Standard output of ``line``.

        ``stdin`` of zero bytes leaves the command waiting for input, as the real server does: it sends
        nothing and never says that there is nothing more.

        Raises:
            ApiError: 408 over the time limit, 413 over the output limit, else by what the command printed.
        """
        done = await self.execute(line, stdin=stdin, cwd=cwd)
        if done.exit_status == 124:
            raise ApiError(408, TIMED_OUT)
        if done.exit_status:
            raise command_failure(done.exit_status, done.stderr.decode("utf-8", "replace"))
        return done.stdout

    async def execute(self, line: str, *, stdin: bytes | None = None, cwd: str | None = None) -> Completed:
        """Run ``line`` and tell how it ended, well or not.

        Raises:
            ApiError: 408 over the time limit, 413 over the output limit.
        """
        async with self._slots:
            process = await asyncio.create_subprocess_exec(
                # By this name and not by its path: it stands in front of bash's own complaints.
                "bash",
                "-c",
                shell_line(line),
                stdin=asyncio.subprocess.DEVNULL if stdin is None else PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=_ENVIRONMENT,
                cwd=cwd,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(self.timeout):
                    stdout, stderr = await self._communicate(process, stdin)
                    return Completed(await process.wait(), stdout, stderr)
            except TimeoutError:
                raise ApiError(408, TIMED_OUT) from None
            finally:
                await _end(process)

    async def _communicate(self, process: Process, stdin: bytes | None) -> tuple[bytes, bytes]:
        assert process.stdout is not None
        assert process.stderr is not None
        feeding = asyncio.ensure_future(_feed(process, stdin)) if stdin else None
        stderr_task = asyncio.ensure_future(process.stderr.read())
        try:
            stdout = bytearray()
            while chunk := await process.stdout.read(_READ_SIZE):
                stdout += chunk
                if len(stdout) >= self.max_output:
                    raise ApiError(413, TOO_MUCH_OUTPUT)
            stderr = await stderr_task
            await process.wait()
            return bytes(stdout), stderr
        finally:
            for task in (feeding, stderr_task):
                if task is not None and not task.done():
                    task.cancel()


async def _feed(process: Process, stdin: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _end(process: Process) -> None:
    """Leave nothing of the command running."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def command_failure(exit_status: int, stderr: str) -> ApiError:
    """The answer to a command that failed; the status is guessed from its words, as on the real server."""
    text = stderr.strip()
    message = f"Remote process failed with exit status:{exit_status} and error message:{text}"
    if "No such file" in text:
        return ApiError(404, message)
    if "Permission denied" in text or "Operation not permitted" in text:
        return ApiError(403, message)
    if "File exists" in text:
        return ApiError(400, message)
    return ApiError(500, message)
