"""Rules that classify one clip after another in a fixed order, until they are sure enough; and what they trade.

Shapes: B searches, K candidates each, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.state import Searcher, SearchView
from vidselect_env.evaluation.evaluate import Result, evaluate

STOPS = ("confidence", "entropy", "patience", "count")


class Order(Protocol):
    """A selector of one step, of which the scores alone are used."""

    needs: Needs

    def scores(self, looks: Looks) -> Tensor:
        """(B, K), the largest first."""

    def cost_gmacs(self, shapes: LookShapes) -> float: ...


class Spread:
    """The middle first, and then always the candidate that lies farthest from all before (as FrameExit's order)."""

    needs = Needs(fields=())

    def scores(self, looks: Looks) -> Tensor:
        scores = torch.full(looks.valid.shape, -torch.inf)
        counts = looks.valid.sum(-1).cpu()
        for count in counts.unique().tolist():
            ranks = torch.empty(count)
            ranks[spread_order(count)] = -torch.arange(count, dtype=torch.float32)
            scores[counts == count, :count] = ranks
        return scores.to(looks.valid.device)

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return 0.0


def spread_order(count: int) -> list[int]:
    """Places 0 to count - 1, the middle first, then always the first of those farthest from all before.

    >>> spread_order(5)
    [2, 0, 4, 1, 3]
    """
    order = [count // 2]
    while len(order) < count:
        left = [place for place in range(count) if place not in order]
        order.append(max(left, key=lambda place: min(abs(place - taken) for taken in order)))
    return order


@dataclass(frozen=True)
class StopRule:
    """Classifies in an order's order, and stops by a threshold.

    Args:
        order: whose scores say which candidate comes next.
        stop: `confidence`: once the fused prediction's largest probability is at least `threshold`; `entropy`: once
            its entropy, in nats, is at most `threshold`; `patience`: once its class has stayed the same for
            `threshold` clips after the first; `count`: after `threshold` clips.
        threshold: chosen on `val`.

    Raises:
        ValueError: there is no such `stop`; in `next`: looks are paid for, and the order looks at all of them.
    """

    order: Order
    stop: str
    threshold: float

    def __post_init__(self) -> None:
        if self.stop not in STOPS:
            raise ValueError(f"stop ({self.stop!r}) must be one of {', '.join(STOPS)}")

    @property
    def needs(self) -> Needs:
        return self.order.needs

    def begin(self, view: SearchView) -> Any:
        """Scores (B, K), the fused class (B,), and for how many clips it has stayed the same (B,)."""
        if view.is_paid and self.needs.fields:
            raise ValueError(
                f"an order that looks at {', '.join(self.needs.fields)} sees all looks: they are paid here"
            )
        scores = self.order.scores(view.looks).to(view.mask.device)
        return scores, torch.full((len(view),), -1, device=scores.device), torch.zeros(len(view), device=scores.device)

    def next(self, view: SearchView, memory: Any) -> tuple[Tensor, Any]:
        scores, label, stayed = memory
        count, now = view.classified.sum(-1), view.fused.argmax(-1)
        stayed = torch.where((now == label) & (count > 0), stayed + 1, 0)
        label = torch.where(count > 0, now, -1)
        enough = {
            "confidence": view.fused.amax(-1) >= self.threshold,
            "entropy": view.entropy <= self.threshold,
            "patience": stayed >= self.threshold,
            "count": count >= self.threshold,
        }[self.stop]
        going = scores.masked_fill(~view.mask[:, :-1], -torch.inf).argmax(-1)
        return torch.where(enough & (count > 0), scores.shape[1], going), (scores, label, stayed)

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return self.order.cost_gmacs(shapes)

    def step_gmacs(self, shapes: LookShapes) -> float:
        return 0.0


@dataclass(frozen=True)
class Point:
    """A place on a frontier: the setting, and how it did."""

    setting: float
    result: Result


def frontier(
    searcher_at: Callable[[float], Searcher], problem: SelectionProblem, settings: Iterable[float], *, name: str
) -> list[Point]:
    """Evaluate a searcher at each setting, such as a threshold; the cheapest first."""
    points = [
        Point(setting, evaluate(searcher_at(setting), problem, name=f"{name} at {setting:.4g}")) for setting in settings
    ]
    return in_order(points)


def price_frontier(searcher: Searcher, problem: SearchProblem, prices: Iterable[float], *, name: str) -> list[Point]:
    """Evaluate one searcher at each price, which it is shown; the cheapest first."""
    points = [
        Point(price, evaluate(searcher, problem.changed(price=price), name=f"{name} at {price:.4g}"))
        for price in prices
    ]
    return in_order(points)


def in_order(points: Iterable[Point]) -> list[Point]:
    """By clips, then Top-1."""
    return sorted(points, key=lambda point: (point.result.clips_per_video, point.result.top1))


def useful(points: Sequence[Point]) -> list[Point]:
    """Those that no mixture of two others beats: the upper concave hull of Top-1 over clips, rising.

    Choose settings by it on `val`, and report them on `test`.
    """
    hull: list[Point] = []
    for point in sorted(points, key=lambda each: (each.result.clips_per_video, -each.result.top1)):
        if hull and point.result.top1 <= hull[-1].result.top1:
            continue
        while len(hull) > 1 and _slope(hull[-2], point) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(point)
    return hull


def top1_at(points: Sequence[Point], clips: float) -> float:
    """Top-1 at a mean number of clips, of videos shared between neighbouring points in `points`.

    nan below the cheapest; above the dearest it is the dearest's.
    """
    ordered = sorted(points, key=lambda point: point.result.clips_per_video)
    costs = [point.result.clips_per_video for point in ordered]
    if clips < costs[0] - 1e-9:
        return float("nan")
    return float(np.interp(clips, costs, [point.result.top1 for point in ordered]))


def clips_for(points: Sequence[Point], top1: float) -> float:
    """The fewest mean clips at which neighbouring points, shared between videos, reach `top1`; nan if none does."""
    ordered = sorted(points, key=lambda point: point.result.clips_per_video)
    if ordered[0].result.top1 >= top1:
        return ordered[0].result.clips_per_video
    for low, high in itertools.pairwise(ordered):
        if low.result.top1 < top1 <= high.result.top1:
            share = (top1 - low.result.top1) / (high.result.top1 - low.result.top1)
            return low.result.clips_per_video + share * (high.result.clips_per_video - low.result.clips_per_video)
    return float("nan")


def _slope(low: Point, high: Point) -> float:
    more = high.result.clips_per_video - low.result.clips_per_video
    return (high.result.top1 - low.result.top1) / more if more else float("inf")
