"""Run Slurm jobs and move files on supercomputers from Apache Airflow, through FirecREST.

Knows where each public class lives; must not import Airflow, nor anything that does.

Airflow loads every provider's entry point, and with it the package's ``__init__``, while an ``import
airflow.sdk`` is still under way and its configuration does not exist yet. A provider that imports Airflow
here breaks that import for the whole installation. So the public classes are found on first use (PEP 562):

    from airflow_provider_firecrest import FirecrestSubmitJobOperator
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hooks.firecrest import FirecrestHook
    from .operators.filesystem import FirecrestFilesystemOperator
    from .operators.internal import (
        FirecrestCompressOperator,
        FirecrestExtractOperator,
        FirecrestInternalCopyOperator,
        FirecrestInternalDeleteOperator,
        FirecrestInternalMoveOperator,
        FirecrestInternalRsyncOperator,
    )
    from .operators.jobs import FirecrestCancelJobOperator, FirecrestSubmitJobOperator
    from .operators.transfers import FirecrestDownloadOperator, FirecrestUploadOperator
    from .sensors.files import FirecrestFileSensor
    from .sensors.jobs import FirecrestJobSensor
    from .sensors.systems import FirecrestSystemSensor
    from .sensors.tasks import FirecrestTaskSensor

__version__ = "0.1.0"

__all__ = [
    "FirecrestCancelJobOperator",
    "FirecrestCompressOperator",
    "FirecrestDownloadOperator",
    "FirecrestExtractOperator",
    "FirecrestFileSensor",
    "FirecrestFilesystemOperator",
    "FirecrestHook",
    "FirecrestInternalCopyOperator",
    "FirecrestInternalDeleteOperator",
    "FirecrestInternalMoveOperator",
    "FirecrestInternalRsyncOperator",
    "FirecrestJobSensor",
    "FirecrestSubmitJobOperator",
    "FirecrestSystemSensor",
    "FirecrestTaskSensor",
    "FirecrestUploadOperator",
    "__version__",
]

_HOME_OF = {
    "FirecrestCancelJobOperator": "operators.jobs",
    "FirecrestCompressOperator": "operators.internal",
    "FirecrestDownloadOperator": "operators.transfers",
    "FirecrestExtractOperator": "operators.internal",
    "FirecrestFileSensor": "sensors.files",
    "FirecrestFilesystemOperator": "operators.filesystem",
    "FirecrestHook": "hooks.firecrest",
    "FirecrestInternalCopyOperator": "operators.internal",
    "FirecrestInternalDeleteOperator": "operators.internal",
    "FirecrestInternalMoveOperator": "operators.internal",
    "FirecrestInternalRsyncOperator": "operators.internal",
    "FirecrestJobSensor": "sensors.jobs",
    "FirecrestSubmitJobOperator": "operators.jobs",
    "FirecrestSystemSensor": "sensors.systems",
    "FirecrestTaskSensor": "sensors.tasks",
    "FirecrestUploadOperator": "operators.transfers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
