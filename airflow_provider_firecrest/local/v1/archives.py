"""The commands that pack and unpack, for the utilities and for transfer jobs.

Knows: which tool unpacks which file. Must not know: who runs it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import PurePosixPath

from airflow_provider_firecrest.local.v1.errors import refused
from airflow_provider_firecrest.local.v1.values import Values

# By the end of the file's name; the first that fits.
_TAR_FLAGS = ((".tar", "-xf"), (".tgz", "-xzf"), (".gz", "-xzf"), (".bz2", "-xjf"))


def tar_line(tar: str, source: PurePosixPath, quoted_target: str, *, dereference: bool) -> str:
    """Pack ``source`` under its own name; ``tar`` is the tool as it is to be called."""
    option = "--dereference " if dereference else ""
    parent, name = shlex.quote(str(source.parent)), shlex.quote(source.name)
    return f"{tar} {option}-czf {quoted_target} -C {parent} -- {name}"


def extract_line(values: Values, quoted_target: str, tool: Callable[[str], str]) -> str:
    """Unpack ``sourcePath``; ``tool`` turns a tool's name into how it is to be called.

    Raises:
        V1Error: neither the name nor the given ``extension`` says how.
    """
    source = values.required("sourcePath")
    extension = values.optional("extension") or "auto"
    name = source if extension == "auto" else extension
    quoted = shlex.quote(source)
    if name.endswith(".zip"):
        return f"{tool('unzip')} -o {quoted} -d {quoted_target}"
    for end, flags in _TAR_FLAGS:
        if name.endswith(end):
            return f"{tool('tar')} {flags} {quoted} -C {quoted_target}"
    raise refused(values.description, f"Unsupported file format in {source}.")
