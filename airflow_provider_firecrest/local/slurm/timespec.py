"""Slurm's ways of writing a duration (``--time``) and a moment (``--begin``).

Knows: the notations. Must not know: jobs.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_UNLIMITED = {"unlimited", "infinite", "-1", "0"}
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_NAMED_HOURS = {"midnight": 0, "elevenses": 11, "noon": 12, "fika": 15, "teatime": 16}


def parse_time_limit(text: str) -> int | None:
    """Seconds of a ``--time`` value, None for "no limit".

    Slurm itself rounds seconds up to the next minute; here they are kept, so that a short limit can be tried.

    Raises:
        ValueError: the text is none of M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.
    """
    text = text.strip()
    if text.lower() in _UNLIMITED:
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise ValueError(f"no time limit: {text!r}")
    days, *rest = match.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(numbers) == 3:
        return numbers[0] * 3600 + numbers[1] * 60 + numbers[2]
    minutes, seconds = (*numbers, 0)[:2]
    return minutes * 60 + seconds


def parse_begin(text: str, now: float) -> float:
    """The moment of a ``--begin`` value, in seconds since the epoch.

    Raises:
        ValueError: not a notation Slurm knows.
    """
    text = text.strip().lower()
    if text.startswith("now"):
        return now + _offset(text[3:])
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "tomorrow"):
        return now if text == "today" else (datetime.fromtimestamp(now) + timedelta(days=1)).timestamp()
    if text in _NAMED_HOURS:
        return _next(today + timedelta(hours=_NAMED_HOURS[text]), now)
    if clock := re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", text):
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return _next(today + timedelta(hours=hours, minutes=minutes, seconds=seconds), now)
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except ValueError:
        raise ValueError(f"no begin time: {text!r}") from None


def _offset(text: str) -> float:
    if not text:
        return 0.0
    match = re.fullmatch(r"\+(\d+)([a-z]*)", text)
    if match is None:
        raise ValueError(f"no begin time: 'now{text}'")
    count, unit = match.groups()
    return float(int(count) * _UNITS[_unit_name(unit)])


def _unit_name(unit: str) -> str:
    if not unit:
        return "second"
    for name in _UNITS:
        if name.startswith(unit.rstrip("s")) and len(unit.rstrip("s")) >= 1:
            return name
    raise ValueError(f"no begin time: unknown unit {unit!r}")


def _next(moment: datetime, now: float) -> float:
    """A time of day that has passed today means tomorrow."""
    if moment.timestamp() <= now:
        moment += timedelta(days=1)
    return moment.timestamp()
