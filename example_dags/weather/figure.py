"""Draw monthly temperatures as SVG: one panel for each station, its mean as a line in its range as a band.

Knows nothing of Airflow. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .statistics import Month

PANEL_W, PANEL_H = 240, 140
GAP_X, GAP_Y = 26, 46
LEFT, TOP, RIGHT, BOTTOM = 64, 104, 28, 58
BAND, LINE, GRID, INK, FAINT = "#a9cfe8", "#12507b", "#e4e8ec", "#1f2933", "#66727f"


@dataclass(frozen=True)
class Scale:
    """Where months and temperatures lie inside a panel."""

    months: Sequence[str]
    low: float
    high: float

    def x(self, month: str) -> float:
        """The month's distance from the panel's left edge."""
        return PANEL_W * (self.months.index(month) + 0.5) / len(self.months)

    def y(self, temperature: float) -> float:
        """The temperature's distance from the panel's upper edge."""
        return PANEL_H * (self.high - temperature) / (self.high - self.low)


def draw(months: Iterable[Month], path: Path, *, columns: int = 4, subtitle: str = "") -> None:
    """Write the figure.

    :param months: the statistics; all panels share the axes that these need.
    :param path: the SVG file to write.
    :param columns: panels in a row.
    :param subtitle: a line below the title.
    """
    by_station: dict[str, list[Month]] = {}
    for month in months:
        by_station.setdefault(month.station, []).append(month)
    everything = [month for series in by_station.values() for month in series]
    scale = Scale(
        months=sorted({month.month for month in everything}),
        low=10 * math.floor(min(month.min_c for month in everything) / 10),
        high=10 * math.ceil(max(month.max_c for month in everything) / 10),
    )
    rows = math.ceil(len(by_station) / columns)
    width = LEFT + columns * PANEL_W + (columns - 1) * GAP_X + RIGHT
    height = TOP + rows * PANEL_H + (rows - 1) * GAP_Y + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_heading(width, subtitle),
    ]
    for index, (station, series) in enumerate(sorted(by_station.items())):
        row, column = divmod(index, columns)
        x, y = LEFT + column * (PANEL_W + GAP_X), TOP + row * (PANEL_H + GAP_Y)
        last_of_column = index + columns >= len(by_station)
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _axes(scale, labels_left=column == 0, labels_below=last_of_column)
        parts += _series(station, series, scale)
        parts.append("</g>")
    middle = TOP + (height - TOP - BOTTOM) / 2
    parts.append(_text(18, middle, "Air temperature (°C)", size=13, anchor="middle", turn=True))
    parts.append(
        _text(LEFT + (width - LEFT - RIGHT) / 2, height - 14, "Time, by month", size=13, anchor="middle")
    )
    parts.append("</svg>")
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _heading(width: int, subtitle: str) -> list[str]:
    legend_x = width - RIGHT - 268
    return [
        _text(LEFT, 40, "Monthly air temperature by station", size=22, weight="bold"),
        _text(LEFT, 64, subtitle, size=13, colour=FAINT),
        f'<rect x="{legend_x}" y="26" width="26" height="16" fill="{BAND}"/>',
        f'<line x1="{legend_x}" x2="{legend_x + 26}" y1="34" y2="34" stroke="{LINE}" stroke-width="2"/>',
        _text(legend_x + 34, 38, "mean, and range from lowest to highest", size=12),
    ]


def _axes(scale: Scale, *, labels_left: bool, labels_below: bool) -> list[str]:
    parts = []
    for temperature in range(int(scale.low), int(scale.high) + 1, 10):
        y = scale.y(temperature)
        colour = "#b3bcc5" if temperature == 0 else GRID
        parts.append(f'<line x1="0" x2="{PANEL_W}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>')
        if labels_left:
            label = str(temperature).replace("-", "\u2212")
            parts.append(_text(-8, y + 4, label, size=11, anchor="end", colour=FAINT))
    for month in scale.months:
        if month.endswith("-01"):
            x = scale.x(month) - PANEL_W / len(scale.months) / 2
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{PANEL_H}" stroke="{GRID}"/>')
            if labels_below:
                parts.append(_text(x + 2, PANEL_H + 17, month[:4], size=11, colour=FAINT))
    parts.append(f'<line x1="0" x2="{PANEL_W}" y1="{PANEL_H}" y2="{PANEL_H}" stroke="{FAINT}"/>')
    return parts


def _series(station: str, series: Sequence[Month], scale: Scale) -> list[str]:
    upper = [(scale.x(m.month), scale.y(m.max_c)) for m in series]
    lower = [(scale.x(m.month), scale.y(m.min_c)) for m in series]
    mean = [(scale.x(m.month), scale.y(m.mean_c)) for m in series]
    return [
        _text(0, -9, station, size=13, weight="bold"),
        f'<polygon points="{_points([*upper, *reversed(lower)])}" fill="{BAND}"/>',
        f'<polyline points="{_points(mean)}" fill="none" stroke="{LINE}" stroke-width="2" '
        'stroke-linejoin="round"/>',
    ]


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = INK,
    turn: bool = False,
) -> str:
    where = f'transform="translate({x:.1f} {y:.1f}) rotate(-90)"' if turn else f'x="{x:.1f}" y="{y:.1f}"'
    return (
        f'<text {where} font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
