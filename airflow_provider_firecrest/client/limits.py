"""Numbers that are facts of FirecREST and Slurm, not preferences; each with what it means."""

from __future__ import annotations

DEFAULT_MAX_OPS_FILE_SIZE = 5 * 1024 * 1024
"""Bytes: `max_ops_file_size` when a server does not publish its own."""

MIN_TOKEN_LIFE = 30
"""Seconds: tokens with less than this left are refused (401)."""

TOKEN_MARGIN = 90
"""Seconds before expiry at which we renew; a call takes time and clocks differ."""

COMMAND_TIMEOUT = 5
"""Seconds a direct (ops) call may take on the server before it answers 408."""

JOB_VISIBLE_WITHIN = 60.0
"""Seconds after a submit during which a job may be missing from every answer."""

MAX_SCRIPT_SIZE = 4 * 1024 * 1024
"""Bytes of a batch script: Slurm's `max_script_size` where a site sets none in SchedulerParameters; no call
tells what it has set.
"""

MAX_JOB_NAME = 235
"""Characters: `name=` of the job list accepts no more."""


def ops_download_limit(max_ops_file_size: int) -> int:
    """Return the largest file, in bytes, that `ops/download` carries for a published `max_ops_file_size`.

    The file passes a buffer of that size as base64, which with its padding must stay below it: 3,932,157
    bytes for 5 MiB.
    """
    groups = (max_ops_file_size - 1) // 4
    return max(groups * 3, 0)


def direct_download_limit(generation: int, max_ops_file_size: int) -> int:
    """Return the largest file, in bytes, that a direct download carries: v1 keeps its word, v2 does not."""
    return ops_download_limit(max_ops_file_size) if generation == 2 else max_ops_file_size
