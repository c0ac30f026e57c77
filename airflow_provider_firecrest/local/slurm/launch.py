"""How a batch script is started: its interpreter, its files, its environment.

Knows: SLURM_* variables, file name patterns, the job's private directory. Must not know: states, scheduling.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_firecrest.local.disk import command
from airflow_provider_firecrest.local.slurm.filenames import NO_INDEX, FileNameValues, default_output, expand
from airflow_provider_firecrest.local.slurm.node import Launch
from airflow_provider_firecrest.local.slurm.records import Submission, Task

_SRUN = Path(__file__).with_name("srun.py")
_RSYNC = Path(__file__).parents[1] / "v1" / "rsync.py"


def install_srun(directory: Path) -> None:
    """Put the ``srun`` command into a directory that jobs get at the front of their PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "srun"
    python, script = shlex.quote(sys.executable), shlex.quote(str(_SRUN))
    program.write_text(f'#!/bin/sh\nexec {python} -I -S -X utf8 {script} "$@"\n')
    program.chmod(0o755)


def install_rsync(directory: Path) -> None:
    """Give jobs an ``rsync`` where this machine has none: clusters always have one. It knows no options."""
    if shutil.which("rsync") is not None:
        return
    program = directory / "rsync"
    python, script = shlex.quote(sys.executable), shlex.quote(str(_RSYNC))
    program.write_text(
        "#!/bin/sh\n"
        'for each; do shift; case "$each" in -*) ;; *) set -- "$@" "$each" ;; esac; done\n'
        f'exec {python} -I -S -X utf8 {script} "$@"\n'
    )
    program.chmod(0o755)


def interpreter(script: str) -> list[str]:
    """Program and argument of a ``#!`` line, split as Linux splits it: at most one argument.

    The interpreter is executed, not the script: a script file that was just written can be "busy" while
    another thread forks, and the state directory may be mounted noexec.
    """
    line = script.split("\n", 1)[0].removeprefix("#!").strip()
    return line.split(None, 1) or ["/bin/sh"]


def file_names(submission: Submission, values: FileNameValues) -> tuple[str, str, str]:
    """Standard input, output and error of a job as absolute names; error joins output unless it was given."""
    where = submission.working_dir
    output = submission.stdout or default_output(is_array=submission.array is not None)
    stdout = expand(output, values, where)
    stderr = expand(submission.stderr, values, where) if submission.stderr else stdout
    stdin = expand(submission.stdin, values, where) if submission.stdin else "/dev/null"
    return stdin, stdout, stderr


def name_values(task: Task, node: str) -> FileNameValues:
    """What the patterns of a running task stand for."""
    submission = task.submission
    return FileNameValues(
        job_id=str(task.raw_id),
        array_job_id=str(submission.job_id),
        task_index=NO_INDEX if task.index is None else task.index,
        name=submission.name,
        user=submission.user,
        node=node,
    )


def batch_launch(
    task: Task, directory: Path, bin_directory: Path, nodes: Sequence[str], cluster: str
) -> Launch:
    """Everything the node daemon needs to run a task's script; writes the script into ``directory``."""
    submission = task.submission
    steps = directory / "steps"
    steps.mkdir(parents=True, exist_ok=True)
    script = directory / "slurm_script"
    script.write_bytes(submission.script.encode("utf-8", "surrogateescape"))
    script.chmod(0o700)
    stdin, stdout, stderr = file_names(submission, name_values(task, nodes[0]))
    env = {**submission.env, **slurm_variables(task, nodes, cluster), "SLURM_LOCAL_STEPS": str(steps)}
    env["PATH"] = f"{bin_directory}{os.pathsep}{env['PATH']}"
    return Launch(
        argv=command([*interpreter(submission.script), str(script)], submission.room),
        env=env,
        cwd=submission.working_dir,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        append=submission.append,
    )


def slurm_variables(task: Task, nodes: Sequence[str], cluster: str) -> dict[str, str]:
    """The output environment variables of sbatch(1)."""
    job = task.submission
    variables = {
        "SLURM_JOB_ID": str(task.raw_id),
        "SLURM_JOBID": str(task.raw_id),
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_USER": job.user,
        "SLURM_JOB_ACCOUNT": job.account,
        "SLURM_JOB_PARTITION": job.partition,
        "SLURM_JOB_NODELIST": node_list(nodes),
        "SLURM_NODELIST": node_list(nodes),
        "SLURM_JOB_NUM_NODES": str(len(nodes)),
        "SLURM_NNODES": str(len(nodes)),
        "SLURM_NTASKS": str(job.ntasks),
        "SLURM_NPROCS": str(job.ntasks),
        "SLURM_CPUS_PER_TASK": str(job.cpus_per_task),
        "SLURM_CPUS_ON_NODE": str(max(job.cpus // len(nodes), 1)),
        "SLURM_JOB_CPUS_PER_NODE": str(max(job.cpus // len(nodes), 1)),
        "SLURM_SUBMIT_DIR": job.working_dir,
        "SLURM_SUBMIT_HOST": "localhost",
        "SLURM_CLUSTER_NAME": cluster,
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURMD_NODENAME": nodes[0],
        "ENVIRONMENT": "BATCH",
    }
    if task.restarts:
        variables["SLURM_RESTART_COUNT"] = str(task.restarts)
    if job.array is not None and task.index is not None:
        variables |= {
            "SLURM_ARRAY_JOB_ID": str(job.job_id),
            "SLURM_ARRAY_TASK_ID": str(task.index),
            "SLURM_ARRAY_TASK_COUNT": str(len(job.array.indices)),
            "SLURM_ARRAY_TASK_MIN": str(job.array.indices[0]),
            "SLURM_ARRAY_TASK_MAX": str(job.array.indices[-1]),
        }
    return variables


def node_list(nodes: Sequence[str]) -> str:
    """Slurm's short form of a list of nodes: ``nid[001-003]``."""
    if len(nodes) == 1:
        return nodes[0]
    matches = [re.fullmatch(r"(.*?)(\d+)", name) for name in nodes]
    if not all(matches) or len({match.group(1) for match in matches if match}) != 1:
        return ",".join(nodes)
    numbers = [match.group(2) for match in matches if match]
    prefix = next(match.group(1) for match in matches if match)
    consecutive = int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1
    inner = f"{numbers[0]}-{numbers[-1]}" if consecutive else ",".join(numbers)
    return f"{prefix}[{inner}]"
