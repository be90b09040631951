"""What happens in a synthetic video, and when: drawn from a generator of random numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidselect_env.datasets.rendering import MOTIONS, MotionSpan

FORMAT_VERSION = 2  # raise it with every change of what the files show: it is part of the folder's name

ACTION_SHARE = (0.20, 0.35)
NUM_BURSTS = (1, 3)
SHORTEST_BURST = 8
PERIOD_FRAMES = (9.0, 15.0)
SLOW_PERIOD_FRAMES = (36.0, 54.0)
NUM_DISTRACTORS = (2, 4)
DISTRACTOR_FRAMES = (3, 6)
SHORTEST_REST = 3
# Frames that hold the longest action, the most distractors, and a rest before, between and after them.
FEWEST_FRAMES = 80


# Kind of set -> how its name ends, its classes, and frames a video.
KINDS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "untrimmed": ("", MOTIONS, 180),
    "trimmed": ("-trimmed", MOTIONS, 12),
    "speeds": (
        "-speeds",
        ("still", *(f"{speed} {way}" for speed in ("slow", "fast") for way in ("left", "right", "up", "down"))),
        20,
    ),
}


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What the videos of a synthetic set are like; their number is not part of it.

    kind: of `KINDS`. num_frames: 0 for the kind's own.

    Raises:
        ValueError: a value is out of range.
    """

    seed: int = 0
    kind: str = "untrimmed"
    width: int = 160
    height: int = 120
    fps: int = 15
    num_frames: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind ({self.kind!r}) must be one of {', '.join(KINDS)}")
        if not self.num_frames:
            object.__setattr__(self, "num_frames", KINDS[self.kind][2])
        least = {
            "seed": 0,
            "width": 64,
            "height": 64,
            "fps": 1,
            "num_frames": FEWEST_FRAMES if self.kind == "untrimmed" else 2,
        }
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {smallest}")
        if self.width % 2 or self.height % 2:
            raise ValueError(f"width ({self.width}) and height ({self.height}) must be even, for H.264")

    @property
    def name(self) -> str:
        return f"synthetic{KINDS[self.kind][0]}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return KINDS[self.kind][1]

    @property
    def folder_name(self) -> str:
        text = json.dumps([FORMAT_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class VideoTruth:
    """What happens in a video: the bursts of its action, and the distractors, each sorted by frame."""

    label: int
    action: tuple[MotionSpan, ...]
    distractors: tuple[MotionSpan, ...] = ()


def draw_truth(config: SyntheticConfig, label: int, rng: np.random.Generator) -> VideoTruth:
    """Draw when an action of class `label` happens, how fast it is, and what distracts from it."""
    name = config.class_names[label]
    period = rng.uniform(*(SLOW_PERIOD_FRAMES if name.startswith("slow") else PERIOD_FRAMES))
    motion = name.split()[-1]
    total = config.num_frames
    if name == "still":
        return VideoTruth(label=label, action=())
    if config.kind != "untrimmed":
        phase = rng.random()
        span = MotionSpan(
            motion=motion, first_frame=0, last_frame=total - 1, num_periods=total / period, start_phase=phase
        )
        return VideoTruth(label=label, action=(span,))
    shortest, longest = int(np.ceil(ACTION_SHARE[0] * total)), int(ACTION_SHARE[1] * total)
    num_action_frames = int(rng.integers(shortest, longest + 1))
    num_bursts = min(int(rng.integers(NUM_BURSTS[0], NUM_BURSTS[1] + 1)), num_action_frames // SHORTEST_BURST)
    lengths = SHORTEST_BURST + _split(num_action_frames - num_bursts * SHORTEST_BURST, num_bursts, rng)
    pieces = [(motion, int(length)) for length in lengths]
    others = [name for name in MOTIONS if name != motion]
    for _ in range(rng.integers(NUM_DISTRACTORS[0], NUM_DISTRACTORS[1] + 1)):
        length = int(rng.integers(DISTRACTOR_FRAMES[0], DISTRACTOR_FRAMES[1] + 1))
        pieces.append((others[rng.integers(len(others))], length))
    pieces = [pieces[i] for i in rng.permutation(len(pieces))]
    spans = _lay_out(pieces, total, period, motion, rng)
    return VideoTruth(
        label=label,
        action=tuple(span for span in spans if span.motion == motion),
        distractors=tuple(span for span in spans if span.motion != motion),
    )


def _lay_out(
    pieces: Sequence[tuple[str, int]], num_frames: int, period: float, action: str, rng: np.random.Generator
) -> list[MotionSpan]:
    """Spans of (motion, length) pieces in order, with rests of random lengths around them.

    A burst lasts a whole number of periods, so that the object ends where it began.
    """
    num_rests = len(pieces) + 1
    idle = num_frames - sum(length for _, length in pieces) - num_rests * SHORTEST_REST
    rests = SHORTEST_REST + _split(idle, num_rests, rng)
    spans, first = [], 0
    for (motion, length), rest in zip(pieces, rests, strict=False):
        first += int(rest)
        periods = max(round(length / period), 1) if motion == action else length / period
        spans.append(MotionSpan(motion=motion, first_frame=first, last_frame=first + length - 1, num_periods=periods))
        first += length
    return spans


def _split(total: int, num_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Non-negative integers, (num_parts,), that add up to `total`."""
    cuts = np.sort(rng.integers(0, total + 1, num_parts - 1))
    return np.diff(cuts, prepend=0, append=total)
