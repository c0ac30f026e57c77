"""Make hourly weather records of invented stations: the same seed gives the same file.

Standard library only. Also a command: ``python generate.py records.csv --years 4``.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

HEADER = "station,time,temperature_c,precipitation_mm,wind_m_s\n"
FIRST_YEAR = 2021


@dataclass(frozen=True)
class Station:
    """A made-up station. Its height sets the mean temperature, its distance from the sea the seasons."""

    name: str
    height_m: int
    seasonal_swing_c: float
    daily_swing_c: float


STATIONS = (
    Station("Ardenau", 420, 9.5, 4.5),
    Station("Bellmoor", 12, 6.5, 2.5),
    Station("Castrel", 275, 10.0, 5.5),
    Station("Dunwick", 5, 5.5, 2.0),
    Station("Elmsee", 540, 9.0, 4.0),
    Station("Fontal", 1120, 8.5, 4.0),
    Station("Gratspitz", 2690, 7.5, 2.0),
    Station("Hohenfels", 1780, 8.0, 3.0),
    Station("Inselholm", 3, 6.0, 1.5),
    Station("Jurabon", 890, 9.0, 4.5),
    Station("Kaltwasser", 1460, 9.5, 5.0),
    Station("Lindmark", 60, 8.5, 4.0),
)


def write_records(path: Path, *, years: int = 4, seed: int = 20211) -> int:
    """Write hourly records of all stations as CSV, station by station, and return the number of rows.

    :param path: the file to write.
    :param years: how many years from 2021 on; one year is about 105,000 rows and 4 MB.
    :param seed: another seed gives other weather.
    """
    rows = 0
    with path.open("w", encoding="ascii", newline="") as out:
        out.write(HEADER)
        for index, station in enumerate(STATIONS):
            lines = _station_rows(station, years, random.Random(seed + index))
            out.writelines(lines)
            rows += len(lines)
    return rows


def _station_rows(station: Station, years: int, rng: random.Random) -> list[str]:
    start = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    hours = int((datetime(FIRST_YEAR + years, 1, 1, tzinfo=UTC) - start) / timedelta(hours=1))
    mean = 14.0 - 0.0062 * station.height_m  # it gets 6.2 degrees colder with every kilometre
    front = 0.0  # the passing weather: today resembles yesterday
    rows = []
    for hour in range(hours):
        if hour % 24 == 0:
            day = start + timedelta(hours=hour)
            season = -math.cos(2 * math.pi * (day.timetuple().tm_yday - 20) / 365.25)
            front = 0.82 * front + rng.uniform(-3.2, 3.2)
            wet = rng.random() < 0.32
            date = day.strftime("%Y-%m-%d")
        sun = -math.cos(2 * math.pi * (hour % 24 - 3) / 24)
        temperature = (
            mean
            + station.seasonal_swing_c * season
            + station.daily_swing_c * sun * (0.4 if wet else 1.0)
            + front
            + rng.uniform(-0.6, 0.6)
        )
        rain = max(0.0, rng.uniform(-1.5, 2.5)) if wet else 0.0
        wind = abs(front) * 0.6 + rng.uniform(0.2, 4.0)
        rows.append(f"{station.name},{date}T{hour % 24:02d}:00Z,{temperature:.1f},{rain:.1f},{wind:.1f}\n")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write hourly records of invented weather stations as CSV.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--years", type=int, default=4)
    parser.add_argument("--seed", type=int, default=20211)
    options = parser.parse_args()
    print(f"{write_records(options.path, years=options.years, seed=options.seed)} rows in {options.path}")
