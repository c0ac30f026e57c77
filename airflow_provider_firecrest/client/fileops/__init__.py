"""File operations on the system, with proof: mv, cp, rsync, rm, compress, extract.

Built on the calls of either API generation. Blocking; the steps are apart so that an operator can wait for
the job in between without holding a worker::

    operation = plan_operation(client, "cp", "/scratch/me/a", "/store/me/a")
    started = start_operation(client, operation)
    ...                                        # until the job is over
    result = finish_operation(client, started)

or all of it, waiting here: ``run_operation(client, "cp", "/scratch/me/a", "/store/me/a")``. Should the
process die in between, ``take_up`` finds the job by what ``start_operation`` told before its submit.
"""

from __future__ import annotations

from .again import intended_jobs, looks_copied, looks_done, seen_done, several, take_up
from .dependency import failed_first, may_wait_forever
from .finish import cancel_operation, complains, finish_operation, give_up
from .once import active_like, adopted, log_name
from .operation import FileOperation, FileOperationResult, Intent, StartedOperation
from .plan import plan_operation
from .run import run_operation
from .start import start_operation

__all__ = [
    "FileOperation",
    "FileOperationResult",
    "Intent",
    "StartedOperation",
    "active_like",
    "adopted",
    "cancel_operation",
    "complains",
    "failed_first",
    "finish_operation",
    "give_up",
    "intended_jobs",
    "log_name",
    "looks_copied",
    "looks_done",
    "may_wait_forever",
    "plan_operation",
    "run_operation",
    "seen_done",
    "several",
    "start_operation",
    "take_up",
]
