"""What a DAG author writes to wait for jobs, files, systems and tasks of FirecREST v1.

Classes are found on first use (PEP 562), so that importing this package costs a DAG file nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import FirecrestFileSensor
    from .jobs import FirecrestJobSensor
    from .systems import FirecrestSystemSensor
    from .tasks import FirecrestTaskSensor

__all__ = [
    "FirecrestFileSensor",
    "FirecrestJobSensor",
    "FirecrestSystemSensor",
    "FirecrestTaskSensor",
]

_HOME_OF = {
    "FirecrestFileSensor": "files",
    "FirecrestJobSensor": "jobs",
    "FirecrestSystemSensor": "systems",
    "FirecrestTaskSensor": "tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value
