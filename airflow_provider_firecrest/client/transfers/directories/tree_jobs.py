"""The batch scripts that pack, unpack and measure a directory on the system. Pure functions on text.

The records they hash are those of ``tree``; the two must not drift apart. What they share with other jobs
stands in ``job_frame``.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import TransferFailedError
from ...leftovers import OLD
from ..steps.job_frame import END, START, header
from .tree import TreeDigest

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
    return header(time_limit, values) + START + _MEASURE + _EXAMINE + _PACK + END


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
    return header(time_limit, values) + START + _MEASURE + _UNPACK.replace("@OLD@", OLD) + END


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
