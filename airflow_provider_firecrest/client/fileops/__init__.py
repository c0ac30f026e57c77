"""File operations on the system, with proof: mv, cp, rsync, rm, compress, extract.

Built on the calls of either API generation. Blocking; the steps are apart so that an operator can wait for
the job in between without holding a worker::

    operation = plan_operation(client, "cp", "/scratch/me/a", "/store/me/a")
    started = start_operation(client, operation)
    ...                                        # until the job is over
    result = finish_operation(client, started)

or all of it, waiting here: ``run_operation(client, "cp", "/scratch/me/a", "/store/me/a")``.
"""

from __future__ import annotations

from .dependency import failed_first, may_wait_forever
from .finish import cancel_operation, finish_operation, tidy_up
from .operation import FileOperation, FileOperationResult, StartedOperation
from .plan import plan_operation
from .run import run_operation
from .start import start_operation

__all__ = [
    "FileOperation",
    "FileOperationResult",
    "StartedOperation",
    "cancel_operation",
    "failed_first",
    "finish_operation",
    "may_wait_forever",
    "plan_operation",
    "run_operation",
    "start_operation",
    "tidy_up",
]
