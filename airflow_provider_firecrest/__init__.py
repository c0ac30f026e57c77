"""Run Slurm jobs and move files on supercomputers from Apache Airflow, through FirecREST."""

from __future__ import annotations

__version__ = "0.1.0"
