"""The batch scripts that pack, unpack and measure a directory on the system. Pure functions on text.

Each works in a directory of its own beside the source or the target, writes what it found to ``report``
there and what went wrong to ``log``, and ends with an honest exit code. Bash and the GNU tools are all it
needs. The records it hashes are those of ``tree``; the two must not drift apart.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from .. import paths
from ..errors import InvalidRequestError, TransferFailedError
from ..leftovers import OLD
from .tree import TreeDigest

REPORT, LOG, CLAIM = "report", "log", "claim/job"

REFUSED = 65
"""Exit code: the job looked and said no; ``refused=`` in its report says why."""

TAKEN = 75
"""Exit code: another job with the same directory was first; its claim says which."""

_TIME = re.compile(r"(\d+-)?\d{1,2}(:\d{2}){1,2}|\d+")

_START = r"""
set -euo pipefail
export LC_ALL=C
# After a lost answer, or a crash before it was noted, the same script may have been submitted twice. The
# later job must not touch the log of the one that works.
mkdir "$work/claim" 2>/dev/null || exit 75
printf '%s\n' "${SLURM_JOB_ID:-}" > "$work/claim/job"
exec > "$work/log" 2>&1

tell() { printf '%s\n' "$1" >> "$work/report.new"; }
refuse() { tell "refused=$1"; mv "$work/report.new" "$work/report"; echo "$1"; exit 65; }
"""

_END = r"""
tell "end=yes"
mv "$work/report.new" "$work/report"
"""

# Run in the tree's top directory.
_MEASURE = r"""
measure() {
    find . -mindepth 1 \( -type d -printf 'd//%P\0' \) -o \( -type f -printf 'f/%s//%P\0' \) \
        -o \( -type l -printf 'l//%P//%l\0' \) | sort -z -T "$work" > "$work/layout"
    tell "layout=$(sha256sum < "$work/layout" | cut -c 1-64)"
    if [ "$contents" = yes ]; then
        # sha256sum marks the line of an odd name by a backslash in front.
        find . -type f -print0 | sort -z -T "$work" | xargs -0 -r sha256sum -- \
            | sed 's/^\\//' | cut -c 1-64 > "$work/contents"
        tell "tree=$(cat "$work/layout" "$work/contents" | sha256sum | cut -c 1-64)"
    fi
    tell "$(find . -type f -printf '%s\n' | awk '{ files++; bytes += $1 }
        END { printf "files=%d\nbytes=%.0f\n", files, bytes }')"
}
"""

_EXAMINE = r"""
stays_inside() {
    local rest=$2 part=${1//[!\/]/}
    local depth=${#part}
    case $rest in /*) return 1 ;; esac
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
        case $part in
            ..) depth=$((depth - 1)) ;;
            . | '') ;;
            *) depth=$((depth + 1)) ;;
        esac
        [ "$depth" -ge 0 ] || return 1
    done
    return 0
}
examine() {
    local odd name target
    odd=$(find . ! -type f ! -type d ! -type l -printf '%P\n' -quit)
    [ -z "$odd" ] || refuse "$(printf '%q' "$odd") is neither a file, a directory nor a link"
    odd=$(find . -type f -links +1 -printf '%D:%i %P\n' \
        | awk 'seen[$1]++ && !told++ { sub(/^[^ ]* /, ""); print }')
    [ -z "$odd" ] || refuse "$(printf '%q' "$odd") is a second name (a hard link) of another file there"
    find . -type l -printf '%P\0%l\0' > "$work/links"
    while IFS= read -r -d '' name && IFS= read -r -d '' target; do
        stays_inside "$name" "$target" \
            || refuse "the link $(printf '%q -> %q' "$name" "$target") leads out of the directory"
    done < "$work/links"
}
"""

_PACK = r"""
cd -- "$directory"
examine
measure
if [ -n "$archive" ]; then
    tar "$flags" "$work/$archive" --format=gnu .
    tell "archive=$(stat -c %s "$work/$archive")"
fi
"""

_UNPACK = r"""
undo() {
    local status=$?
    if [ "$status" -ne 0 ] && [ -d "$work/tree" ]; then
        cd "$work"
        chmod -R u+rwX "$work/tree"
        rm -rf "$work/tree"
    fi
    exit "$status"
}
trap undo EXIT
trap 'exit 143' TERM
there() { [ -e "$directory" ] || [ -L "$directory" ]; }

mkdir "$work/tree"
tar "$flags" "$work/$archive" --no-same-owner -C "$work/tree"
cd "$work/tree"
# The top directory's own mode may forbid what comes next; it is set again at the end.
mode=$(stat -c %a .)
chmod u+rwx .
measure
cd "$work"
grep -qx "layout=$layout" report.new \
    || refuse "what was unpacked has other names, types, sizes or link targets than what was sent"
[ "$contents" = no ] || grep -qx "tree=$tree" report.new \
    || refuse "what was unpacked has other contents than what was sent"
rm -f "$work/$archive"

if there; then
    [ "$replace" = yes ] || refuse "$directory has come into being meanwhile"
    # Between these two there is nothing at the name; nobody shall be stopped there.
    trap '' HUP INT TERM
    if [ -d "$directory" ] && [ ! -L "$directory" ]; then chmod u+rwx "$directory"; fi
    mv -T -- "$directory" "$work/@OLD@"
    if ! mv -T -- "$work/tree" "$directory"; then
        mv -T -- "$work/@OLD@" "$directory"
        exit 1
    fi
else
    mv -T -- "$work/tree" "$directory"
fi
chmod "$mode" "$directory"
if [ -e "$work/@OLD@" ] || [ -L "$work/@OLD@" ]; then
    if [ -d "$work/@OLD@" ] && [ ! -L "$work/@OLD@" ]; then chmod -R u+rwX "$work/@OLD@"; fi
    rm -rf "$work/@OLD@"
fi
"""


def pack_script(
    directory: str, work: str, *, archive: str | None, contents: bool, compression: str, time_limit: str
) -> str:
    """Return the script that measures a directory and packs it.

    :param directory: the directory to pack.
    :param work: the job's own directory.
    :param archive: name of the archive there; None only measures.
    :param contents: hash the files, too.
    :param compression: ``none`` or ``gzip``.
    :param time_limit: of the job.
    """
    values = {
        "work": work,
        "directory": directory,
        "archive": archive or "",
        "flags": "-czf" if compression == "gzip" else "-cf",
        "contents": "yes" if contents else "no",
    }
    return _header(time_limit, values) + _START + _MEASURE + _EXAMINE + _PACK + _END


def unpack_script(
    directory: str,
    work: str,
    *,
    archive: str,
    expected: TreeDigest,
    contents: bool,
    compression: str,
    replace: bool,
    time_limit: str,
) -> str:
    """Return the script that unpacks an archive, compares the result with what was sent, and gives it its
    name.

    :param directory: the directory to be.
    :param work: the job's own directory, on the same file system.
    :param archive: name of the archive there.
    :param expected: what it must hold.
    :param contents: compare the files' contents, too.
    :param compression: ``none`` or ``gzip``.
    :param replace: something of that name may be there, and goes.
    :param time_limit: of the job.
    """
    values = {
        "work": work,
        "directory": directory,
        "archive": archive,
        "flags": "-xzpf" if compression == "gzip" else "-xpf",
        "contents": "yes" if contents else "no",
        "layout": expected.layout,
        "tree": expected.sha256 or "",
        "replace": "yes" if replace else "no",
    }
    return _header(time_limit, values) + _START + _MEASURE + _UNPACK.replace("@OLD@", OLD) + _END


def check_time_limit(value: str) -> str:
    """Return a time limit that Slurm understands.

    :raises InvalidRequestError: it is none.
    """
    if not _TIME.fullmatch(value):
        raise InvalidRequestError(f"time_limit: {value!r} is not a time such as 02:00:00.")
    return value


def read_report(text: str) -> dict[str, str]:
    """Return what a job found, by key; without ``end`` or ``refused`` it did not get to its end."""
    lines = (line.partition("=") for line in text.splitlines())
    return {key: value for key, equals, value in lines if equals}


def tree_of(report: Mapping[str, str]) -> TreeDigest:
    """Return what a job measured.

    :raises TransferFailedError: its report is not complete.
    """
    try:
        return TreeDigest(
            report["layout"], report.get("tree"), int(report["files"]), int(float(report["bytes"]))
        )
    except (KeyError, ValueError):
        raise TransferFailedError("The report of the job cannot be read.") from None


def path_in(work: str, name: str) -> str:
    """Return the path of a file in a job's own directory."""
    return paths.join(work, name)


def _header(time_limit: str, values: dict[str, str]) -> str:
    # A requeued job would meet what its first half left; the task starts over instead.
    directives = f"#SBATCH --nodes=1 --ntasks=1 --no-requeue --time={time_limit}"
    settings = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"#!/bin/bash\n{directives}\n{settings}\n"
