"""From the text of ``ls -l --quoting-style=c`` to the file objects of the API.

Knows: the columns of ls, whom files belong to in the sandbox. Must not know: running commands.
"""

from __future__ import annotations

import os
import re
from typing import Any

from airflow_provider_firecrest.local.config import LocalConfig
from airflow_provider_firecrest.local.sandbox import Sandbox

LS = "ls -l --quoting-style=c --time-style='+%Y-%m-%dT%H:%M:%S'"

_ENTRY = re.compile(
    r"(?P<type>[-dlbcpsD])(?P<permissions>[-rwxsStT]{9})\S?\s+\d+\s+(?P<user>\S+)\s+(?P<group>\S+)\s+"
    r"(?P<size>\d+(?:,\s*\d+)?)\s+(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\s+(?P<name>\".*\")"
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Listing:
    """Turns ls output into file objects whose owners are the sandbox's users, not this machine's."""

    def __init__(self, sandbox: Sandbox, config: LocalConfig) -> None:
        self._sandbox = sandbox
        self._config = config

    def parse(self, output: bytes, path: str, *, numeric: bool = False) -> list[dict[str, Any]]:
        """The files in ``output``, an ls of ``path``; names further down are relative to it."""
        files: list[dict[str, Any]] = []
        prefix = ""
        for line in output.decode("utf-8", "replace").splitlines():
            header = re.fullmatch(r'"(.*)":', line)
            if header is not None:
                prefix = _below(_unquote(header.group(1)), path)
                continue
            match = _ENTRY.fullmatch(line)
            if match is not None:
                files.append(self._file(match, prefix, path, numeric))
        return files

    def _file(self, match: re.Match[str], prefix: str, path: str, numeric: bool) -> dict[str, Any]:
        quoted = _QUOTED.findall(match["name"])
        name = prefix + _unquote(quoted[0])
        full_path = os.path.join(path, name)  # noqa: PTH118 - an absolute name must win, names are not normalised
        user, group, permissions = self._ownership(full_path, match["permissions"], numeric)
        return {
            "name": name,
            "type": match["type"],
            "linkTarget": _unquote(quoted[1]) if len(quoted) > 1 else None,
            "user": user,
            "group": group,
            "permissions": permissions,
            "lastModified": match["time"],
            "size": match["size"],
        }

    def _ownership(self, path: str, permissions: str, numeric: bool) -> tuple[str, str, str]:
        config = self._config
        if self._sandbox.owned_by_other(path):
            closed = "rwx------" if permissions == "---------" else permissions
            owner = str(config.other_uid) if numeric else config.other_user
            return owner, owner, closed
        if numeric:
            return str(config.uid), str(config.uid), permissions
        return config.user, self._sandbox.group_of(path) or config.group, permissions


def _below(directory: str, top: str) -> str:
    relative = os.path.relpath(directory, top)
    return "" if relative == "." else f"{relative}/"


def _unquote(text: str) -> str:
    # Only quotes and backslashes are undone. Octal and letter escapes stay text, as on the real server.
    return re.sub(r'\\(["\\])', r"\1", text)
