"""The look at a path the compute and storage services take before they create a task.

Knows: the headers these two services answer. Must not know: what the path is for.
"""

from __future__ import annotations

import os
import stat

from airflow_provider_firecrest.local.v1.access import Reach, reach
from airflow_provider_firecrest.local.v1.commands import absolute
from airflow_provider_firecrest.local.v1.context import V1

_NO_PERMISSION = {"X-Permission-Denied": "User does not have permissions to access machine or path"}
_UNREACHABLE = {
    Reach.REFUSED: "Connection refused",
    Reach.NO_HOST: "Name or service not known",
    Reach.NO_USER: Reach.NO_USER.value,
}


class BadPath(Exception):
    """A path that will not do; ``headers`` name the cause."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(str(headers))
        self.headers = headers


def check_machine(v1: V1, machine: str, user: str) -> None:
    """Raises:
    BadPath: the machine cannot be reached.
    """
    reached = reach(v1, machine, user)
    if reached is not Reach.OPEN:
        raise BadPath({"X-Error": _UNREACHABLE[reached]})


def readable_file(v1: V1, user: str, path: str) -> str:
    """The absolute path of a file the user may read.

    Raises:
        BadPath: it is missing, closed, or a directory.
    """
    full = absolute(v1, user, path)
    if stat.S_ISDIR(_look(v1, full, path).st_mode):
        raise BadPath({"X-A-Directory": f"{path} is a directory"})
    if not os.access(full, os.R_OK):
        raise BadPath(_NO_PERMISSION)
    return full


def writable_target(v1: V1, user: str, path: str, name: str) -> str:
    """Where a file called ``name`` lands: in the directory ``path``, or at ``path`` itself.

    Raises:
        BadPath: the directory is missing or closed, or is none.
    """
    full = absolute(v1, user, path)
    if os.path.isdir(full):  # noqa: PTH112 - may be any text
        directory, shown, target = full, path, f"{full.rstrip('/')}/{name}"
    else:
        directory, shown, target = os.path.dirname(full), os.path.dirname(path), full  # noqa: PTH120
    if not stat.S_ISDIR(_look(v1, directory, shown).st_mode):
        raise BadPath({"X-Not-A-Directory": f"{shown} is not a directory"})
    if not os.access(directory, os.W_OK | os.X_OK):
        raise BadPath(_NO_PERMISSION)
    return target


def _look(v1: V1, full: str, path: str) -> os.stat_result:
    _, published = v1.local.sandbox.locate(full)
    if not published:
        raise BadPath(_NO_PERMISSION)
    try:
        return os.stat(full)  # noqa: PTH116 - may be any text
    except PermissionError:
        raise BadPath(_NO_PERMISSION) from None
    except NotADirectoryError:
        raise BadPath({"X-Not-A-Directory": f"{path} is not a directory"}) from None
    except OSError:
        raise BadPath({"X-Invalid-Path": f"{path} is an invalid path."}) from None
