"""What Airflow is told about this provider. Knows names only; imports nothing of Airflow."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow's providers manager."""
    return {
        "package-name": "airflow-provider-firecrest",
        "name": "FirecREST",
        "description": "Slurm jobs and file transfers on supercomputers, through FirecREST.",
        "versions": ["0.1.0"],
    }
