"""The ``srun`` that batch scripts find on their PATH: runs the command and writes the step down.

Run by file name, with ``-I -S``: it must import nothing of this package. A step is a file ``NUMBER`` in the
job's step directory (``$SLURM_LOCAL_STEPS``), holding JSON: name, start; at the end also end, code, signal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

_SHORT_VALUED = "nNctpAJoeiwxCdmDsTu"
_LONG_FLAGS_TEXT = """
    overlap exact exclusive label unbuffered quiet verbose mpi pty immediate wait multi-prog
    kill-on-bad-exit disable-status overcommit oversubscribe preserve-env
"""
_LONG_FLAGS = frozenset(_LONG_FLAGS_TEXT.split())
_SIGNAL_TEXT = {9: "Killed", 15: "Terminated", 11: "Segmentation fault", 6: "Aborted", 2: "Interrupt"}


def parse(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options, and the command after them."""
    options: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and name not in _LONG_FLAGS and rest:
                value = rest.pop(0)
        else:
            name, value = word[1], word[2:]
            if not value and name in _SHORT_VALUED and rest:
                value = rest.pop(0)
        options[{"n": "ntasks"}.get(name, name)] = value
    return options, rest


def new_step(directory: Path) -> Path:
    """Claim the next step number."""
    number = 0
    while True:
        path = directory / str(number)
        try:
            path.touch(0o644, exist_ok=False)
        except FileExistsError:
            number += 1
            continue
        return path


def write(path: Path | None, step: dict[str, object]) -> None:
    """Replace the step's file in one go: a reader never sees half of it."""
    if path is None:
        return
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(step))
    new.replace(path)


def run(command: list[str], tasks: int, step_id: str) -> list[subprocess.Popen[bytes] | None]:
    """Start the tasks; None for one whose command does not exist."""
    started: list[subprocess.Popen[bytes] | None] = []
    for rank in range(tasks):
        env = {
            **os.environ,
            "SLURM_STEP_ID": step_id,
            "SLURM_STEPID": step_id,
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank),
            "SLURM_NTASKS": str(tasks),
            "SLURM_NPROCS": str(tasks),
        }
        try:
            started.append(subprocess.Popen(command, env=env))
        except OSError as error:
            sys.stderr.write(f"slurmstepd: error: execve(): {command[0]}: {error.strerror}\n")
            started.append(None)
    return started


def wait(processes: list[subprocess.Popen[bytes] | None]) -> tuple[int, int]:
    """Worst exit status and highest signal of the tasks; says on stderr which ones failed."""
    node = os.environ.get("SLURMD_NODENAME", "localhost")
    code = killed_by = 0
    for rank, process in enumerate(processes):
        status = 2 if process is None else process.wait()
        if status < 0:
            killed_by = max(killed_by, -status)
            text = _SIGNAL_TEXT.get(-status, f"Signal {-status}")
            sys.stderr.write(f"srun: error: {node}: task {rank}: {text}\n")
        elif status:
            sys.stderr.write(f"srun: error: {node}: task {rank}: Exited with exit code {status}\n")
        code = max(code, status)
    return code, killed_by


def main() -> int:
    """Run one step; the exit status is the worst of its tasks'."""
    options, command = parse(sys.argv[1:])
    if not command:
        sys.stderr.write("srun: fatal: No command given to execute.\n")
        return 1
    tasks = int(options.get("ntasks") or os.environ.get("SLURM_NTASKS") or 1)
    directory = os.environ.get("SLURM_LOCAL_STEPS")
    path = new_step(Path(directory)) if directory and Path(directory).is_dir() else None
    step: dict[str, object] = {"name": Path(command[0]).name, "start": time.time()}
    write(path, step)
    code, killed_by = wait(run(command, tasks, path.name if path else "0"))
    write(path, {**step, "end": time.time(), "code": code, "signal": killed_by})
    return code or (128 + killed_by if killed_by else 0)


if __name__ == "__main__":
    sys.exit(main())
