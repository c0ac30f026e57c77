"""The same statistics as the jobs compute, on this side: what the downloaded files must be, byte by byte.

Also the records of the result as Python values, for the figure. Standard library only.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MONTHLY_HEADER = "station,month,hours,min_c,mean_c,max_c,rain_mm\n"


@dataclass
class Tally:
    """Running statistics in tenths: whole numbers add up exactly, in any order and any program."""

    hours: int = 0
    low: int = 10**9
    high: int = -(10**9)
    total: int = 0
    rain: int = 0

    def add(self, temperature: int, rain: int) -> None:
        """Count one hour."""
        self.hours += 1
        self.low = min(self.low, temperature)
        self.high = max(self.high, temperature)
        self.total += temperature
        self.rain += rain


@dataclass(frozen=True)
class Month:
    """One line of ``monthly.csv``."""

    station: str
    month: str
    hours: int
    min_c: float
    mean_c: float
    max_c: float
    rain_mm: float = field(default=0.0)


def expected_monthly(records: Path) -> bytes:
    """What ``monthly.csv`` must contain for these records."""
    tallies: dict[tuple[str, str], Tally] = {}
    with records.open(encoding="ascii", newline="") as stream:
        for row in csv.DictReader(stream):
            tally = tallies.setdefault((row["station"], row["time"][:7]), Tally())
            tally.add(_tenths(row["temperature_c"]), _tenths(row["precipitation_mm"]))
    lines = [MONTHLY_HEADER]
    for (station, month), t in sorted(tallies.items()):
        mean = t.total / (10 * t.hours)
        lines.append(
            f"{station},{month},{t.hours},{t.low / 10:.1f},{mean:.3f},{t.high / 10:.1f},{t.rain / 10:.1f}\n"
        )
    return "".join(lines).encode("ascii")


def read_monthly(path: Path) -> Iterator[Month]:
    """The lines of ``monthly.csv``."""
    with path.open(encoding="ascii", newline="") as stream:
        for row in csv.DictReader(stream):
            yield Month(
                row["station"],
                row["month"],
                int(row["hours"]),
                float(row["min_c"]),
                float(row["mean_c"]),
                float(row["max_c"]),
                float(row["rain_mm"]),
            )


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tenths(number: str) -> int:
    return round(float(number) * 10)
