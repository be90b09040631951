"""Recognising a long video window by window: a decision each, and what they say together.

Seconds are of the file. C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec
from vidselect_env.envs.contract import Selector
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.recognise import Costs, Recognition, recognise_indexed
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, segment_of


@dataclass(frozen=True)
class Decision:
    """What was found in one window [start_s, end_s); `reason`, where it could not be recognised."""

    start_s: float
    end_s: float
    found: Recognition | None
    reason: str = ""

    @property
    def label(self) -> int | None:
        """The most probable class."""
        return None if self.found is None else int(self.found.probabilities.argmax())

    @property
    def probability(self) -> float:
        """Of the most probable class; nan where nothing was recognised."""
        return math.nan if self.found is None else float(self.found.probabilities.max())


@dataclass(frozen=True)
class Span:
    """Neighbouring decisions for one class (None where nothing was recognised), and their mean probability."""

    label: int | None
    start_s: float
    end_s: float
    probability: float


def window_bounds(duration_s: float, *, window_s: float, every_s: float) -> list[tuple[float, float]]:
    """From where to where each window is, until one reaches the end of the video; the last may be shorter.

    Example: 23 s, windows of 10 s every 5 s -> (0, 10), (5, 15), (10, 20), (15, 23).

    Raises:
        ValueError: a length is not positive, or windows leave out something between them.
    """
    for name, value in (("window_s", window_s), ("every_s", every_s)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} ({value}) must be a positive number of seconds")
    if every_s > window_s:
        raise ValueError(f"every_s ({every_s}) must be at most window_s ({window_s}): nobody would see what is between")
    count = max(math.ceil((duration_s - window_s) / every_s - 1e-9), 0) + 1
    starts = [number * every_s for number in range(count)]
    return [(start_s, min(start_s + window_s, duration_s)) for start_s in starts]


def recognise_windows(
    index: VideoIndex,
    selector: Selector,
    *,
    classifier: ClipClassifier,
    spec: BankSpec,
    problem: ProblemConfig,
    window_s: float,
    every_s: float,
) -> Iterator[Decision]:
    """Recognise every window of an indexed file, one after another: nothing of a window is kept for the next.

    A window that cannot be recognised (damaged, or too short for the problem) gives a decision that says why.

    Args:
        selector, classifier, spec, problem: as in `recognise`.
        window_s, every_s: as in `window_bounds`.
    """
    costs = Costs(selector)
    for start_s, end_s in window_bounds(index.info.duration_s, window_s=window_s, every_s=every_s):
        try:
            is_last = end_s >= index.info.duration_s
            part = segment_of(index, start_s=start_s or None, end_s=None if is_last else end_s)
            found = recognise_indexed(part, selector, classifier=classifier, spec=spec, problem=problem, costs=costs)
        except VideoError as error:
            yield Decision(start_s, end_s, None, error.reason)
        else:
            yield Decision(start_s, end_s, found)


def spans_of(decisions: Sequence[Decision]) -> list[Span]:
    """What is seen when: neighbouring decisions for one class are one span, and spans do not overlap.

    Where windows overlap, a decision stands for its middle: it ends halfway between its end and the next one's start.

    Example: [0, 10) a, [5, 15) a, [10, 20) b -> a from 0 to 12.5, b from 12.5 to 20.
    """
    groups: list[list[Decision]] = []
    for decision in decisions:
        if groups and groups[-1][-1].label == decision.label:
            groups[-1].append(decision)
        else:
            groups.append([decision])
    borders = [(before[-1].end_s + after[0].start_s) / 2 for before, after in pairwise(groups)]
    starts = [*(group[0].start_s for group in groups[:1]), *borders]
    ends = [*borders, *(group[-1].end_s for group in groups[-1:])]
    return [
        Span(group[0].label, start_s, end_s, sum(each.probability for each in group) / len(group))
        for group, start_s, end_s in zip(groups, starts, ends, strict=True)
    ]


def milliseconds_of(decisions: Sequence[Decision]) -> dict[str, float]:
    """What every part of the work took, all windows together."""
    total: dict[str, float] = {}
    for decision in decisions:
        for name, spent in (decision.found.milliseconds if decision.found else {}).items():
            total[name] = total.get(name, 0.0) + spent
    return total
