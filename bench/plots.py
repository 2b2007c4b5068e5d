"""Plots as inline SVG: bars with quartiles, goals on a logarithmic axis, trends. Pure; colours come from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

NAME_W, BAR_W, TEXT_W, LINE_H = 150, 230, 170, 22
GOAL_W, GOAL_NAME_W = 360, 520
TREND_W, TREND_H = 460, 120
DECADES = 2.0  # of the axis of goals: a hundred times worse to a hundred times better


class Bar(NamedTuple):
    """One contender: its median with quartiles, and what is written beside it."""

    name: str
    median: float
    low: float
    high: float
    text: str
    ours: bool = False


class Mark(NamedTuple):
    """One goal: how many times better than asked the measure is (1 is the goal), with quartiles."""

    name: str
    median: float
    low: float
    high: float
    text: str


class Point(NamedTuple):
    """One figure of a trend: what it was, in which run, and where. Points of one place are joined."""

    value: float
    label: str
    place: str


def number(value: float) -> str:
    """Return a coordinate, short."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def bars(title: str, unit: str, lines: Sequence[Bar]) -> str:
    """Return horizontal bars from zero, one a contender, with a whisker over the quartiles."""
    top = max((bar.high for bar in lines), default=0.0) or 1.0
    height = LINE_H * len(lines) + 26
    width = NAME_W + BAR_W + TEXT_W
    parts = [f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">']
    parts.append(f"<title>{escape(title)}</title>")
    parts.append(f'<text class="head" x="0" y="14">{escape(title)}<tspan class="dim"> {escape(unit)}</tspan></text>')
    for index, bar in enumerate(lines):
        y = 24 + index * LINE_H
        middle = y + LINE_H / 2 - 2
        length = bar.median / top * BAR_W
        kind = "ours" if bar.ours else "peer"
        parts.append(f'<text x="{NAME_W - 8}" y="{number(middle + 4)}" text-anchor="end">{escape(bar.name)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{NAME_W}" y="{y}" width="{number(max(length, 1))}" height="{LINE_H - 5}" rx="2"/>'
        )
        low, high = (NAME_W + value / top * BAR_W for value in (bar.low, bar.high))
        parts.append(f'<path class="whisker" d="M{number(low)} {number(middle)}H{number(high)}"/>')
        parts.append(
            f'<text class="value" x="{number(NAME_W + max(length, bar.high / top * BAR_W) + 6)}" '
            f'y="{number(middle + 4)}">{escape(bar.text)}</text>'
        )
    return "".join([*parts, "</svg>"])


def goals(marks: Sequence[Mark]) -> str:
    """Return one line a goal on a logarithmic axis: right of the middle the goal is met."""
    height = LINE_H * len(marks) + 40
    width = GOAL_NAME_W + GOAL_W + TEXT_W

    def place(value: float) -> float:
        logarithm = math.log10(value) if value > 0 else -DECADES
        return GOAL_NAME_W + (max(-DECADES, min(DECADES, logarithm)) / DECADES + 1) * GOAL_W / 2

    bottom = 24 + LINE_H * len(marks)
    parts = [f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">']
    parts.append("<title>How far each goal is met</title>")
    for value, label in ((0.01, "1/100"), (0.1, "1/10"), (1, "goal"), (10, "10x"), (100, "100x")):
        x = number(place(value))
        kind = "goal" if value == 1 else "grid"
        parts.append(f'<path class="{kind}" d="M{x} 18V{bottom}"/>')
        parts.append(f'<text class="dim" x="{x}" y="12" text-anchor="middle">{label}</text>')
    for index, mark in enumerate(marks):
        y = 24 + index * LINE_H + LINE_H / 2
        kind = "met" if mark.median >= 1 else "missed"
        parts.append(f'<text x="{GOAL_NAME_W - 8}" y="{number(y + 4)}" text-anchor="end">{escape(mark.name)}</text>')
        parts.append(f'<path class="whisker" d="M{number(place(mark.low))} {number(y)}H{number(place(mark.high))}"/>')
        parts.append(f'<circle class="{kind}" cx="{number(place(mark.median))}" cy="{number(y)}" r="5"/>')
        parts.append(
            f'<text class="value" x="{GOAL_NAME_W + GOAL_W + 8}" y="{number(y + 4)}">{escape(mark.text)}</text>'
        )
    return "".join([*parts, "</svg>"])


def trend(title: str, text: str, points: Sequence[Point], bound: float | None) -> str:
    """Return one figure over runs, oldest left, from zero; a dashed line at its goal."""
    top = 1.1 * max([point.value for point in points] + ([bound] if bound is not None else [])) or 1.0
    step = (TREND_W - 20) / max(1, len(points) - 1)
    places = [(10 + index * step, 42 + (TREND_H - 50) * (1 - point.value / top)) for index, point in enumerate(points)]
    parts = [f'<svg role="img" viewBox="0 0 {TREND_W} {TREND_H}" width="{TREND_W}" height="{TREND_H}">']
    parts.append(f'<title>{escape(title)}</title><text class="head" x="0" y="14">{escape(title)}</text>')
    parts.append(f'<text class="dim" x="0" y="31">{escape(text)}</text>')
    if bound is not None:
        height = number(42 + (TREND_H - 50) * (1 - bound / top))
        parts.append(f'<path class="goal" d="M10 {height}H{TREND_W - 10}"/>')
    for index in range(1, len(points)):
        if points[index].place == points[index - 1].place:
            line = "L".join(f"{number(x)} {number(y)}" for x, y in places[index - 1 : index + 1])
            parts.append(f'<path class="line" d="M{line}"/>')
    for point, (x, y) in zip(points, places, strict=True):
        told = f"{point.label}: {point.value:g}; {point.place}"
        parts.append(
            f'<circle class="ours" cx="{number(x)}" cy="{number(y)}" r="4"><title>{escape(told)}</title></circle>'
        )
    return "".join([*parts, "</svg>"])
