"""The batch scripts of our own, as text: what no job of the server's can do, or can do honestly.

Pure functions. A script ends with the exit code of the tool that failed, which the server's jobs do not.
Paths stand in it only behind ``shlex.quote``.
"""

from __future__ import annotations

import shlex

from .. import paths, script
from .operation import FileOperation

DEFAULT_TIME_LIMIT = "02:00:00"
"""What FirecREST v1 gives its own file jobs."""

COMPARE_TIME_LIMIT = "00:30:00"

DIFFERENT = "firecrest: different."

NO_SOURCE = 66
"""Exit code when the source is missing."""

TAR_FLAGS = {"none": "", "bzip2": "j", "gzip": "z", "xz": "J"}


def batch_script(operation: FileOperation) -> str:
    """Return the batch script that does an operation.

    :param operation: the operation; its ``after_job_id`` becomes a dependency that fails the job when that
        one fails, instead of leaving it in the queue for ever.
    """
    text = f"#!/bin/bash\n{_commands(operation)}\n"
    directives = {
        "nodes": "1",
        "ntasks": "1",
        "time": operation.time_limit or DEFAULT_TIME_LIMIT,
        "partition": operation.partition,
    }
    if operation.after_job_id:
        directives["dependency"] = f"afterok:{operation.after_job_id}"
        directives["kill-on-invalid-dep"] = "yes"
    for name, value in directives.items():
        if value:
            text = script.set_directive(text, name, value)
    return text


def compare_trees(source: str, copy: str, *, exact: bool) -> str:
    """Return a script that fails when an entry of a directory is missing or different in its copy.

    :param exact: also when the copy holds more.
    """
    # Column 1 of comm is what only the source has, column 2 what only the copy has.
    only = "-3" if exact else "-23"
    return _reading(
        f"source={shlex.quote(source.rstrip('/'))}\ncopy={shlex.quote(copy.rstrip('/'))}\n"
        "work=$(mktemp -d)\n"
        "trap 'rm -rf -- \"$work\"' EXIT\n"
        "entries() {\n"
        "    find . -mindepth 1 \\( -type f -printf 'f %s %P\\0' \\) -o -printf '%y %P\\0' | sort -z\n"
        "}\n"
        '(cd -- "$source"; entries) > "$work/source"\n'
        '(cd -- "$copy"; entries) > "$work/copy"\n'
        f'comm -z {only} "$work/source" "$work/copy" > "$work/difference"\n'
        'if [ -s "$work/difference" ]; then\n'
        "    number=$(tr -cd '\\0' < \"$work/difference\" | wc -c)\n"
        f'    echo "{DIFFERENT} $number entries are missing or of another type or size"\n'
        "    exit 1\n"
        "fi"
    )


def compare_files(source: str, copy: str) -> str:
    """Return a script that fails when two files are not the same byte by byte."""
    return _reading(
        f"cmp -- {shlex.quote(source)} {shlex.quote(copy)} ||"
        f" {{ [ $? -eq 1 ] && echo '{DIFFERENT} its content differs'; exit 1; }}"
    )


def _reading(commands: str) -> str:
    return (
        "#!/bin/bash\n"
        f"#SBATCH --nodes=1 --ntasks=1 --time={COMPARE_TIME_LIMIT}\n"
        "set -euo pipefail\n"
        "export LC_ALL=C\n"
        f"{commands}\n"
    )


def _commands(operation: FileOperation) -> str:
    lines = ["set -euo pipefail", "export LC_ALL=C", f"source={shlex.quote(operation.source)}"]
    if operation.kind != "rm":
        lines.append(f"target={shlex.quote(operation.result)}")
    lines += _source_is_there(operation)
    return "\n".join([*lines, *_WORK[operation.kind](operation)])


def _source_is_there(operation: FileOperation) -> list[str]:
    leave = "exit 0" if operation.missing_ok else f'echo "there is no $source" >&2; exit {NO_SOURCE}'
    # A broken link is there too.
    return [f'[ -e "$source" ] || [ -L "${{source%/}}" ] || {{ {leave}; }}']


def _move(operation: FileOperation) -> list[str]:
    # -T: into a directory that has appeared meanwhile nothing is moved under another name.
    return ['mv -T -- "$source" "$target"']


def _copy(operation: FileOperation) -> list[str]:
    lines = ['cp -a -T -- "$source" "$target"']
    if operation.verify_checksum:
        lines.append('if [ -f "$source" ] && [ ! -L "$source" ]; then cmp -- "$source" "$target"; fi')
    return lines


def _rsync(operation: FileOperation) -> list[str]:
    # rsync's own rule decides where it goes, so it is given the target as the caller said it.
    return [f'rsync -a --info=stats1 -- "$source" {shlex.quote(operation.target)}']


def _remove(operation: FileOperation) -> list[str]:
    return ['rm -rf -- "$source"']


def _compress(operation: FileOperation) -> list[str]:
    option = "--dereference " if operation.dereference else ""
    parent, name = paths.parent(operation.source), paths.basename(operation.source)
    flags = f"-c{TAR_FLAGS[operation.compression]}f"
    # The archive gets its name only when it is complete.
    return [
        'part="$target.part-$SLURM_JOB_ID"',
        "trap 'rm -f -- \"$part\"' EXIT",
        f'tar {option}{flags} "$part" -C {shlex.quote(parent)} -- {shlex.quote(name)}',
        'mv -f -T -- "$part" "$target"',
    ]


def _extract(operation: FileOperation) -> list[str]:
    return [f'tar -x{TAR_FLAGS[operation.compression]}f "$source" -C "$target"']


_WORK = {
    "mv": _move,
    "cp": _copy,
    "rsync": _rsync,
    "rm": _remove,
    "compress": _compress,
    "extract": _extract,
}
