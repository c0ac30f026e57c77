"""Single values, as they come in answers."""

from __future__ import annotations

from typing import Any


def integer(value: Any) -> int | None:
    """Return a number, or None for what is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def text(value: Any) -> str | None:
    """Return anything but None as text."""
    return None if value is None else str(value)
