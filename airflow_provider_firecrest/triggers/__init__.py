"""What waits in the triggerer while a task holds no worker.

Classes are found on first use (PEP 562), so that importing this package costs a DAG file nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import FirecrestFileTrigger
    from .jobs import FirecrestJobTrigger
    from .pause import FirecrestPauseTrigger
    from .systems import FirecrestSystemTrigger
    from .tasks import FirecrestTaskTrigger

__all__ = [
    "FirecrestFileTrigger",
    "FirecrestJobTrigger",
    "FirecrestPauseTrigger",
    "FirecrestSystemTrigger",
    "FirecrestTaskTrigger",
]

_HOME_OF = {
    "FirecrestFileTrigger": "files",
    "FirecrestJobTrigger": "jobs",
    "FirecrestPauseTrigger": "pause",
    "FirecrestSystemTrigger": "systems",
    "FirecrestTaskTrigger": "tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value
