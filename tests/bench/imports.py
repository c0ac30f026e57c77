"""What importing a module adds to a process that has `airflow.sdk`: every parse of a DAG file pays it."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, BaseHook
known = len(sys.modules)
start = time.process_time()
import {module}
print((time.process_time() - start) * 1000, len(sys.modules) - known)
"""


def import_cost(module: str, *, runs: int = 5, enough: float = 0.0) -> tuple[float, int]:
    """Return the least milliseconds of processor time, and the new modules, that importing ``module`` took in
    fresh processes.

    Processor time, and the least of several runs, because whatever else the machine does can only add. Stops
    at ``enough`` ms.
    """
    best, modules = float("inf"), 0
    for _ in range(runs):
        command = [sys.executable, "-c", _CODE.format(module=module)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout
        milliseconds, new = output.split()
        best, modules = min(best, float(milliseconds)), int(new)
        if best <= enough:
            break
    return best, modules
