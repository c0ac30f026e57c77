"""The batch script that compares a file in a transfer's own directory with what was sent, and gives it its
name in one step. A pure function on text.

Where nothing may be replaced, the name is made by a hard link: that fails when it is there, whoever was
first, and no tool looks and acts at two moments. What it shares with other jobs stands in ``job_frame``.
"""

from __future__ import annotations

from ..steps.job_frame import START, header, path_in

FILE = "file"
"""Name of the file in the transfer's own directory."""

DIFFERS = "differs"
"""Key of the report: in what the file is not what was sent."""

OCCUPIED = "occupied"
"""Key of the report: what is at the target and must not be replaced."""

KEPT = "kept"
"""Key of the report: ``no`` when group and permissions of what was replaced could not be kept."""

_COMPARE = r"""
found=$(stat -c %s -- "$new")
[ "$found" = "$size" ] || say_no differs "$found bytes instead of $size"
if [ -n "$sha256" ]; then
    found=$(sha256sum < "$new" | cut -c 1-64)
    [ "$found" = "$sha256" ] || say_no differs "SHA-256 $found instead of $sha256"
fi
"""

_NAME = r"""
there() { [ -e "$target" ] || [ -L "$target" ]; }
group() { stat -c %g -- "$1"; }

same_group() { [ "$(group "$target")" = "$(group "$new")" ] || chgrp --reference="$target" -- "$new"; }
has_acl() {
    local line
    line=$(ls -ld -- "$target")
    [ "${line:10:1}" = + ]
}

# As if the old file had been written over.
pass_on() {
    local mode kept=yes
    mode=$((8#$(stat -c %a -- "$target") & 8#777))
    if ! same_group || has_acl; then
        # Its group's bits are another group's, or a mask: the group gets no more than everybody.
        mode=$((mode & 8#707 | mode & (mode << 3) & 8#070))
        kept=no
    fi
    chmod "$(printf %o "$mode")" -- "$new" || kept=no
    [ "$kept" = yes ] || tell kept=no
}

# Already now: when the file has its name, nothing must be left that can fail.
tell "end=yes"
if [ "$replace" = yes ]; then
    if there; then
        if [ -L "$target" ] || ! [ -f "$target" ]; then
            say_no occupied "something else than a regular file"
        fi
        pass_on
    fi
    mv -fT -- "$new" "$target"
elif ln -T -- "$new" "$target" || [ "$new" -ef "$target" ]; then
    rm -f -- "$new"
elif there; then
    say_no occupied "a file that has come into being meanwhile"
else
    # A file system without hard links.
    mv -nT -- "$new" "$target" || true
    if [ -e "$new" ]; then
        ! there || say_no occupied "a file that has come into being meanwhile"
        exit 1
    fi
fi
mv "$work/report.new" "$work/report"
"""


def place_script(
    target: str, work: str, *, size: int, sha256: str | None, replace: bool, time_limit: str
) -> str:
    """Return the script that gives a file its name.

    :param target: the file to be; no link.
    :param work: the job's own directory, beside it.
    :param size: bytes that the file must have.
    :param sha256: digest that it must have; None leaves it at the size.
    :param replace: a regular file of that name may be there, and goes.
    :param time_limit: of the job.
    """
    values = {
        "work": work,
        "new": path_in(work, FILE),
        "target": target,
        "size": str(size),
        "sha256": sha256 or "",
        "replace": "yes" if replace else "no",
    }
    return header(time_limit, values) + START + _COMPARE + _NAME
