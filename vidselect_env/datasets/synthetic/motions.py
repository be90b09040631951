"""The eight motions, when they happen, and where an object that performs them is.

Shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOTIONS = ("left", "right", "up", "down", "clockwise", "anticlockwise", "grow", "shrink")
SCALE_TRAVEL = 0.8  # grow: 0.6 -> 1.4 of the object's size in a period


@dataclass(frozen=True, kw_only=True)
class MotionSpan:
    """A motion from its first to its last frame, both counted.

    A motion repeats: with `num_periods=2` a left-going object crosses its range twice. `start_phase` 0 is
    the pose at rest, so that a whole number of periods begins and ends at rest.

    Raises:
        ValueError: the motion is unknown, or the span is empty.
    """

    motion: str
    first_frame: int
    last_frame: int
    num_periods: float
    start_phase: float = 0.0

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS:
            raise ValueError(f"motion ({self.motion!r}) must be one of {', '.join(MOTIONS)}")
        if not 0 <= self.first_frame <= self.last_frame:
            raise ValueError(f"first_frame ({self.first_frame}) must be from 0 to last_frame ({self.last_frame})")

    @property
    def num_frames(self) -> int:
        return self.last_frame - self.first_frame + 1


@dataclass(frozen=True, kw_only=True)
class VideoTruth:
    """What happens in a video: the bursts of its action, and the distractors, each sorted by frame."""

    label: int
    action: tuple[MotionSpan, ...]
    distractors: tuple[MotionSpan, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Poses:
    """Where the object is in every frame.

    x, y: (T,) float32, pixels right of and below the place of rest.
    angle: (T,) float32, radians, clockwise as seen on the screen.
    scale: (T,) float32, times the size at rest.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    angle: NDArray[np.float32]
    scale: NDArray[np.float32]


def object_poses(spans: Sequence[MotionSpan], num_frames: int, *, travel: float, turn: float) -> Poses:
    """Poses of an object that moves in the spans and rests elsewhere.

    Args:
        spans: motions, which do not overlap.
        num_frames: T.
        travel: pixels that left, right, up and down cover in a period; the object then snaps back.
        turn: radians that clockwise and anticlockwise turn in a period.

    Example: left, travel 40, one period of 5 frames -> x = 0, -8, -16, 16, 8, and 0 in the next frame.
    """
    x, y, angle = (np.zeros(num_frames, np.float32) for _ in range(3))
    scale = np.ones(num_frames, np.float32)
    for span in spans:
        phase = span.start_phase + np.arange(span.num_frames) * (span.num_periods / span.num_frames)
        saw = (phase + 0.5) % 1 - 0.5
        frames = slice(span.first_frame, span.last_frame + 1)
        if span.motion in ("left", "right"):
            x[frames] = travel * saw * (1 if span.motion == "right" else -1)
        elif span.motion in ("up", "down"):
            y[frames] = travel * saw * (1 if span.motion == "down" else -1)
        elif span.motion in ("clockwise", "anticlockwise"):
            angle[frames] = turn * phase * (1 if span.motion == "clockwise" else -1)
        else:
            scale[frames] = 1 + SCALE_TRAVEL * saw * (1 if span.motion == "grow" else -1)
    return Poses(x=x, y=y, angle=angle, scale=scale)


def random_split(total: int, num_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Non-negative integers, (num_parts,), that add up to `total`."""
    cuts = np.sort(rng.integers(0, total + 1, num_parts - 1))
    return np.diff(cuts, prepend=0, append=total)
