"""A small Slurm that really runs batch scripts as processes of this machine.

Knows: what sbatch, scancel, squeue, sacct and scontrol do and print. Must not know: HTTP, FirecREST, Airflow.
"""

from __future__ import annotations

from airflow_provider_firecrest.local.slurm.config import Partition, Reservation, SchedulerConfig
from airflow_provider_firecrest.local.slurm.errors import (
    SbatchError,
    ScancelError,
    ScontrolError,
    SlurmCommandError,
    SrunError,
)
from airflow_provider_firecrest.local.slurm.scheduler import Scheduler

__all__ = [
    "Partition",
    "Reservation",
    "SbatchError",
    "ScancelError",
    "Scheduler",
    "SchedulerConfig",
    "ScontrolError",
    "SlurmCommandError",
    "SrunError",
]
