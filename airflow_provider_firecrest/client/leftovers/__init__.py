"""What interrupted transfers leave on the system, and removing it: one rule for workers and triggerer."""

from __future__ import annotations

from .leftover import OLD, Leftover
from .removal import remove_leftover

__all__ = ["OLD", "Leftover", "remove_leftover"]
