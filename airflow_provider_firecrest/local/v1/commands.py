"""Commands on a machine, as the utilities service runs them over SSH, and what becomes of their complaints.

Knows: running a shell line as a user, and which words in an error become which header. Must not know: which
call runs which command.
"""

from __future__ import annotations

import os
import shlex

from airflow_provider_firecrest.local.errors import ApiError
from airflow_provider_firecrest.local.v1.access import Reach, reach
from airflow_provider_firecrest.local.v1.context import V1

TIMED_OUT = "Command has finished with timeout signal"
_NO_PERMISSION = ("X-Permission-Denied", "User does not have permissions to access path")
# Words in an error, in the order in which they are looked for, and the header they become.
_MISSING = (
    ("cannot stat", "X-Not-Found", "sourcePath not found"),
    ("cannot create", "X-Invalid-Path", "sourcePath and/or targetPath are invalid paths"),
    ("cannot remove", "X-Invalid-Path", "path is an invalid path."),
    ("", "X-Invalid-Path", "path is an invalid path"),
)
_WORDS = (
    (TIMED_OUT, "X-Timeout", TIMED_OUT),
    (str(Reach.NO_HOST.value), "X-Machine-Not-Available", "Machine is not available"),
    ("Permission denied", *_NO_PERMISSION),
    ("Operation not permitted", *_NO_PERMISSION),
    ("cannot access", "X-Invalid-Path", "path is an invalid path"),
    ("Is a directory", "X-A-Directory", "path is a directory, can't checksum directories"),
    ("Not a directory", "X-Not-A-Directory", "targetPath is not a directory"),
    ("File exists", "X-Exists", "targetPath already exists"),
    ("invalid mode", "X-Invalid-Mode", "mode is an invalid mode"),
    ("invalid group", "X-Invalid-Group", "group is an invalid group"),
    ("invalid user", "X-Invalid-Owner", "owner is an invalid user"),
)


class CommandFailed(Exception):
    """A command ended unsuccessfully; the text has lost its line ends, as on the real server."""

    @property
    def text(self) -> str:
        """What it said."""
        return str(self.args[0])

    @property
    def header(self) -> dict[str, str]:
        """The header that names the cause."""
        if "No such file" in self.text:
            return next({name: text} for words, name, text in _MISSING if words in self.text)
        found = ({name: text} for words, name, text in _WORDS if words in self.text)
        return next(found, {"X-Error": self.text})


async def run(v1: V1, machine: str, user: str, line: str, *, stdin: bytes | None = None) -> bytes:
    """Standard output of ``line``, run in the user's home.

    Raises:
        CommandFailed: the machine cannot be reached, the command failed, took or printed too much.
    """
    connect(v1, machine, user)
    shell = v1.local.shell
    try:
        done = await shell.execute(line, stdin=stdin, cwd=str(v1.local.sandbox.home / user))
    except ApiError as error:
        text = f"Command output exceeded buffer limit ({shell.max_output})"
        raise CommandFailed(TIMED_OUT if error.status == 408 else text) from None
    if done.exit_status:
        raise CommandFailed(done.stderr.decode("utf-8", "replace").replace("\n", ""))
    return done.stdout


def connect(v1: V1, machine: str, user: str) -> None:
    """What opening the connection may end with.

    Raises:
        CommandFailed: the machine cannot be reached, or does not know the user.
    """
    reached = reach(v1, machine, user)
    if reached is not Reach.OPEN:
        raise CommandFailed(reached.value)


def inside(v1: V1, user: str, path: str) -> str:
    """``path`` quoted for a command line, relative ones being relative to the user's home.

    v1 publishes no file systems to check against. Here everything outside of the sandbox is closed: these
    are the directories of whoever runs the server.

    Raises:
        CommandFailed: it lies outside.
    """
    _, published = v1.local.sandbox.locate(absolute(v1, user, path))
    if not published:
        raise CommandFailed(f"cannot open '{path}': Permission denied")
    return shlex.quote(path)


def absolute(v1: V1, user: str, path: str) -> str:
    """Where a path leads that may be relative to the user's home. ``~`` is not expanded."""
    return os.path.join(v1.local.sandbox.home / user, path)  # noqa: PTH118 - names are not normalised
