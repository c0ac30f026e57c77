"""The batch scripts of ``/storage/xfer-internal``.

Knows: what these jobs do, say and hide. Must not know: HTTP, the scheduler.

The last command of every script is an ``echo``. So a job whose transfer failed ends COMPLETED 0:0, and only
its error file tells.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from airflow_provider_firecrest.local.v1.archives import extract_line, tar_line
from airflow_provider_firecrest.local.v1.values import Values

_RSYNC = Path(__file__).with_name("rsync.py")


@dataclass(frozen=True)
class TransferJob:
    """One transfer job.

    Args:
        name: Slurm job name.
        command: what it runs as a job step.
        time: text for ``--time``.
        account: account to charge; None leaves it to Slurm.
        after: id of the job that must succeed first.
    """

    name: str
    command: str
    time: str
    account: str | None = None
    after: str | None = None

    def script(self, *, idle: bool = False) -> str:
        """The batch script; an ``idle`` one says all it always says and transfers nothing (a fault)."""
        name = shlex.quote(self.name)
        optional = [
            *([f"#SBATCH --dependency=afterok:{self.after}"] if self.after else []),
            *([f"#SBATCH --account='{self.account}'"] if self.account else []),
        ]
        lines = [
            # Not a login shell, as it is on the real servers: a profile could take our srun off the PATH.
            "#! /bin/bash",
            f"#SBATCH --job-name='{self.name}'",
            f"#SBATCH --time={self.time}",
            "#SBATCH --error=job-%j.err",
            "#SBATCH --output=job-%j.out",
            "#SBATCH --ntasks=1",
            "#SBATCH --partition=xfer",
            *optional,
            "",
            "echo Trace ID: ",
            f'echo {name} "started on $(date)"',
            *([] if idle else [f"srun -n 1 {self.command}"]),
            f'echo {name} "finished on $(date)"',
        ]
        return "\n".join(lines) + "\n"


def _tool(name: str) -> str:
    """A tool with its path: so it calls itself in its complaints."""
    return shutil.which(name) or f"/usr/bin/{name}"


def _copy(values: Values) -> str:
    return f"{_tool('cp')} --force -dR --preserve=all -- {_pair(values)}"


def _move(values: Values) -> str:
    return f"{_tool('mv')} --force -- {_pair(values)}"


def _rsync(values: Values) -> str:
    # Our own: not every machine has rsync.
    program = f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(_RSYNC))}"
    return f"{program} {_pair(values)}"


def _remove(values: Values) -> str:
    return f"{_tool('rm')} -rf -- {shlex.quote(values.required('targetPath'))}"


def _compress(values: Values) -> str:
    target = shlex.quote(values.required("targetPath"))
    source = PurePosixPath(values.required("sourcePath"))
    return tar_line(_tool("tar"), source, target, dereference=values.flag("dereference"))


def _extract(values: Values) -> str:
    return extract_line(values, shlex.quote(values.required("targetPath")), _tool)


COMMANDS: dict[str, Callable[[Values], str]] = {
    "rsync": _rsync,
    "mv": _move,
    "cp": _copy,
    "rm": _remove,
    "compress": _compress,
    "extract": _extract,
}


def closed_command(operation: str, path: str) -> str:
    """What a job runs instead when ``path`` lies outside of the sandbox: it is closed to the user."""
    text = f"{_tool(operation)}: cannot access '{path}': Permission denied"
    return f"sh -c {shlex.quote(f'echo {shlex.quote(text)} >&2; exit 1')}"


def _pair(values: Values) -> str:
    target, source = values.required("targetPath"), values.required("sourcePath")
    return f"{shlex.quote(source)} {shlex.quote(target)}"
