"""Named places at which a test can let this process die, as a machine that loses its power would.

Knows the environment variable and the names. Must not know what happens around a place. Nothing happens,
and nothing is written down, where the variable is not set.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "FIRECREST_CRASH_AT"
"""A name of :data:`POINTS`, or ``name:path``: with a path the process dies only if it can create that file,
which is to say once. Several are parted by commas.
"""

POINTS = frozenset(
    {
        "before_submit",
        "after_post",
        "after_store",
        "before_defer",
        "in_execute_complete",
        "during_parts",
        "before_complete_upload",
        "after_complete_upload",
        "during_ranges",
        "before_rename",
        "after_rename",
        "after_mkdir",
        "during_packing",
        "after_packing",
        "after_sending",
        "after_staging",
        "after_fetching",
        "during_unpacking",
        "before_publishing",
        "between_renames",
        "after_publishing",
        "before_clearing",
        "after_clearing",
    }
)


def crash_point(name: str) -> None:
    """Send this process SIGKILL where the environment names this place; else do nothing.

    No handler runs, nothing is flushed, no lock is given back: what a test sees afterwards is what a crash
    leaves behind.

    :param name: one of :data:`POINTS`.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is not None and any(_is_meant(name, each) for each in wanted.split(",")):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_meant(name: str, wish: str) -> bool:
    point, _, once = wish.strip().partition(":")
    if point != name:
        return False
    if not once:
        return True
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True
