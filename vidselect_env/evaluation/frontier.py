"""Accuracy against cost as coordinates of an inline drawing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vidselect_env.evaluation.evaluate import Result

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 14, 44  # margins
COLOURS = ("#c2410c", "#2563eb", "#0f766e", "#7c3aed", "#64748b", "#a16207", "#be185d", "#0891b2")


@dataclass(frozen=True)
class Point:
    """A circle, and what is said of it."""

    x: float
    y: float
    says: str


@dataclass(frozen=True)
class Line:
    """One selector's points, from its cheapest on."""

    name: str
    colour: str
    is_dashed: bool
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Plot:
    """Lines and ticks, (place, text), in a drawing of `width` x `height`."""

    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM
    right: int = WIDTH - RIGHT
    top: int = TOP


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` on the pixels from `begin` to `end`."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def frontier(sweep: Mapping[int, Sequence[Result]], *, agent: str, dashed: Collection[str] = ()) -> Plot:
    """Top-1 against GMACs a video on a logarithmic axis, a line a selector.

    Args:
        sweep: as of `sweep_budgets`.
        agent: drawn first, in the first colour.
        dashed: names of lines that are dashed.

    Raises:
        ValueError: there is no result.
    """
    found = [result for results in sweep.values() for result in results]
    if not found:
        raise ValueError("there is no result to draw")
    powers = [_power(result) for result in found]
    margin = 0.05 if max(powers) - min(powers) > 0.1 else 0.5
    across = _Axis(min(powers) - margin, max(powers) + margin, LEFT, WIDTH - RIGHT)
    accuracies = [100 * result.top1 for result in found]
    bottom = 10 * math.floor(min(accuracies) / 10)
    top = max(10 * math.ceil(max(accuracies) / 10), bottom + 10)
    up = _Axis(bottom, top, HEIGHT - BOTTOM, TOP)
    names = sorted(dict.fromkeys(result.selector for result in found), key=lambda name: name != agent)
    lines = []
    for place, name in enumerate(names):
        own = sorted((result for result in found if result.selector == name), key=_power)
        points = tuple(Point(across.at(_power(each)), up.at(100 * each.top1), _says(each)) for each in own)
        lines.append(Line(name, COLOURS[place % len(COLOURS)], name in dashed, points))
    return Plot(
        tuple(lines),
        tuple((across.at(math.log10(value)), f"{value:g}") for value in _ticks(across.low, across.high)),
        tuple((up.at(value), f"{value:g}") for value in range(bottom, top + 1, 10)),
    )


def _power(result: Result) -> float:
    """Of ten, that is the result's cost."""
    return math.log10(max(result.gmacs, 1e-9))


def _says(result: Result) -> str:
    return (
        f"{result.selector}: {100 * result.top1:.1f} % at {result.gmacs:.4g} GMACs, "
        f"{result.clips_per_video:.1f} clips a video"
    )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from 10 ** low to 10 ** high; where these are many only the powers."""
    factors = (1, 2, 5) if high - low < 2.5 else (1,)
    values = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in factors]
    return [value for value in values if low <= math.log10(value) <= high]
