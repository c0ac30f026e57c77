"""What ``sbatch`` does before a job exists: reads script and options, refuses what Slurm refuses.

Knows: the meaning of options, and Slurm's error texts. Must not know: queues and processes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from airflow_provider_firecrest.local.disk import ROOM
from airflow_provider_firecrest.local.slurm.arrays import ArraySpec, parse_array
from airflow_provider_firecrest.local.slurm.config import SchedulerConfig
from airflow_provider_firecrest.local.slurm.dependencies import Dependency, parse_dependency
from airflow_provider_firecrest.local.slurm.environment import apply_export, login_environment
from airflow_provider_firecrest.local.slurm.errors import SbatchError
from airflow_provider_firecrest.local.slurm.options import read_directives
from airflow_provider_firecrest.local.slurm.records import Submission
from airflow_provider_firecrest.local.slurm.timespec import parse_begin, parse_time_limit

_UNITS_MB = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024}


def failed(text: str, *, before: str = "") -> SbatchError:
    """The controller's refusal, after what sbatch itself had to say."""
    return SbatchError(f"{before}sbatch: error: Batch job submission failed: {text}\n")


def check_script(script: str) -> None:
    """Refuse what is no batch script.

    Raises:
        SbatchError: empty, no interpreter line, a NUL character, or DOS line ends.
    """
    if not script:
        raise SbatchError("sbatch: error: Batch script is empty!\n")
    if not script.startswith("#!"):
        raise SbatchError(
            "sbatch: error: This does not look like a batch script.  The first\n"
            "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
            "sbatch: error: For instance: #!/bin/sh\n"
        )
    if "\0" in script:
        raise SbatchError("sbatch: error: The Slurm controller does not allow scripts that\n"
                          "sbatch: error: contain a NULL character '\\0'.\n")  # fmt: skip
    if "\r\n" in script:
        raise SbatchError(
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n"
            "sbatch: error: instead of expected UNIX line breaks (\\n).\n"
        )


def read_options(script: str, command_line: Mapping[str, str | None]) -> dict[str, str]:
    """Directives of the script, overridden by what the command line says."""
    check_script(script)
    options = read_directives(script)
    options.update({name: value for name, value in command_line.items() if value is not None})
    return options


def build(
    options: Mapping[str, str],
    config: SchedulerConfig,
    *,
    job_id: int,
    priority: int,
    script: str,
    user: str,
    home: str,
    default_name: str,
    now: float,
) -> Submission:
    """The job that ``sbatch`` with these options makes.

    Raises:
        SbatchError: Slurm would refuse it; the text is Slurm's.
    """
    _check_size(script, config)
    partition = _partition(options, config)
    _check_memory(options, config)
    _check_names(options, config)
    return Submission(
        job_id=job_id,
        name=options.get("job-name") or default_name,
        user=user,
        account=_account(options, config),
        partition=partition,
        working_dir=str(PurePosixPath(home) / options.get("chdir", "")),
        script=script,
        env=apply_export(options.get("export"), login_environment(user, home)),
        home=home,
        priority=priority,
        submit_time=now,
        time_limit=_time_limit(options, config),
        nodes=_nodes(options),
        ntasks=_ntasks(options),
        cpus_per_task=_number(options, "cpus-per-task"),
        stdin=options.get("input"),
        stdout=options.get("output"),
        stderr=options.get("error"),
        array=_array(options),
        dependency=_dependency(options),
        begin=_begin(options, now),
        requeue="no-requeue" not in options,
        kill_on_invalid_dependency=options.get("kill-on-invalid-dep", "").lower() in ("yes", "y"),
        append=options.get("open-mode", "").startswith("a"),
        comment=options.get("comment", ""),
        room=ROOM.get(),
    )


def _check_size(script: str, config: SchedulerConfig) -> None:
    """The controller's limit; it has no error of its own for it."""
    if len(script.encode()) > config.max_script_size:
        raise failed("Pathname of a file, directory or other parameter too long")


def _check_names(options: Mapping[str, str], config: SchedulerConfig) -> None:
    """Options that can only be right or wrong: they change nothing here."""
    reservation = options.get("reservation")
    if reservation and reservation not in {known.name for known in config.reservations}:
        raise failed("Requested reservation is invalid")
    words = re.split(r"[&|,*()\[\]\s\d]+", options.get("constraint", ""))
    if any(word and word not in config.features for word in words):
        raise failed("Invalid feature specification")


def _partition(options: Mapping[str, str], config: SchedulerConfig) -> str:
    name = options.get("partition") or config.default_partition.name
    for part in name.split(","):
        if config.partition(part) is None:
            note = f"sbatch: error: invalid partition specified: {name}\n"
            raise failed("Invalid partition name specified", before=note)
    return name.split(",")[0]


def _account(options: Mapping[str, str], config: SchedulerConfig) -> str:
    account = options.get("account") or config.accounts[0]
    if account not in config.accounts:
        raise failed("Invalid account or account/partition combination specified")
    return account


def _check_memory(options: Mapping[str, str], config: SchedulerConfig) -> None:
    for name in ("mem", "mem-per-cpu"):
        match = re.fullmatch(r"(\d+)([KMGT]?)B?", options.get(name, "0").upper())
        if match is None:
            raise SbatchError(f"sbatch: error: Invalid --{name} specification\n", 255)
        if int(match.group(1)) * _UNITS_MB[match.group(2)] > config.memory_mb:
            note = "sbatch: error: Memory specification can not be satisfied\n"
            raise failed("Requested node configuration is not available", before=note)


def _time_limit(options: Mapping[str, str], config: SchedulerConfig) -> int | None:
    if "time" not in options:
        return config.default_time_limit
    try:
        return parse_time_limit(options["time"])
    except ValueError:
        raise SbatchError("sbatch: error: Invalid --time specification\n", 255) from None


def _number(options: Mapping[str, str], name: str) -> int:
    """A count; of a range ("1-4", for --nodes) the lower end."""
    text = options.get(name, "1")
    match = re.fullmatch(r"(\d+)(?:-\d+)?", text.strip())
    if match is None or int(match.group(1)) == 0:
        raise SbatchError(f'sbatch: error: Invalid numeric value "{text}" for --{name}.\n', 255)
    return int(match.group(1))


def warning(options: Mapping[str, str]) -> str:
    """What sbatch prints to stderr about a job it accepts all the same; mostly nothing."""
    asked, given = _number(options, "nodes"), _nodes(options)
    if asked == given:
        return ""
    return f"sbatch: Warning: can't run {given} processes on {asked} nodes, setting nnodes to {given}\n"


def _nodes(options: Mapping[str, str]) -> int:
    # Fewer tasks than nodes: sbatch takes fewer nodes and says so.
    asked = _number(options, "nodes")
    return min(asked, _number(options, "ntasks")) if "ntasks" in options else asked


def _ntasks(options: Mapping[str, str]) -> int:
    if "ntasks" not in options and "ntasks-per-node" in options:
        return _number(options, "ntasks-per-node") * _number(options, "nodes")
    return _number(options, "ntasks")


def _array(options: Mapping[str, str]) -> ArraySpec | None:
    if "array" not in options:
        return None
    try:
        return parse_array(options["array"])
    except ValueError:
        raise failed("Invalid job array specification") from None


def _dependency(options: Mapping[str, str]) -> Dependency | None:
    if not options.get("dependency"):
        return None
    try:
        return parse_dependency(options["dependency"])
    except ValueError:
        raise failed("Job dependency problem") from None


def _begin(options: Mapping[str, str], now: float) -> float:
    if "begin" not in options:
        return 0.0
    try:
        return parse_begin(options["begin"], now)
    except ValueError:
        text = options["begin"]
        raise SbatchError(f"sbatch: error: Invalid --begin specification: {text}\n", 255) from None
