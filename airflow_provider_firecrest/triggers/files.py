"""Waits in the triggerer until a path is on a system."""

from __future__ import annotations

from typing import Any

from ..client.flow import Flow
from ._look_trigger import LookTrigger
from ._looks import Look, file_flow


class FirecrestFileTrigger(LookTrigger):
    """Fires once when a path exists and is large enough; ``found`` holds ``path``, ``size`` and ``mtime``.

    :param path: absolute path.
    :param min_size: bytes it must have at least.
    """

    def __init__(self, *, path: str, min_size: int = 0, **common: Any) -> None:
        super().__init__(**common)
        self.path = path
        self.min_size = min_size

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "path": self.path, "min_size": self.min_size}

    def flow(self, api: Any) -> Flow[Look]:
        return file_flow(api, self.path, self.min_size, self.system)
