"""What happens in a video of the first synthetic sets, and when: drawn from a generator of random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidselect_env.datasets.synthetic.config import SyntheticConfig
from vidselect_env.datasets.synthetic.motions import MOTIONS, MotionSpan, VideoTruth, random_split

ACTION_SHARE = (0.20, 0.35)
NUM_BURSTS = (1, 3)
SHORTEST_BURST = 8
PERIOD_FRAMES = (9.0, 15.0)
SLOW_PERIOD_FRAMES = (36.0, 54.0)
NUM_DISTRACTORS = (2, 4)
DISTRACTOR_FRAMES = (3, 6)
SHORTEST_REST = 3


def draw_truth(config: SyntheticConfig, label: int, rng: np.random.Generator) -> VideoTruth:
    """Draw when an action of class `label` happens, how fast it is, and what distracts from it."""
    name = config.class_names[label]
    period = rng.uniform(*(SLOW_PERIOD_FRAMES if name.startswith("slow") else PERIOD_FRAMES))
    motion = name.split()[-1]
    total = config.num_frames
    if name == "still":
        return VideoTruth(label=label, action=())
    if config.traits.is_trimmed:
        phase = rng.random()
        span = MotionSpan(
            motion=motion, first_frame=0, last_frame=total - 1, num_periods=total / period, start_phase=phase
        )
        return VideoTruth(label=label, action=(span,))
    shortest, longest = int(np.ceil(ACTION_SHARE[0] * total)), int(ACTION_SHARE[1] * total)
    num_action_frames = int(rng.integers(shortest, longest + 1))
    num_bursts = min(int(rng.integers(NUM_BURSTS[0], NUM_BURSTS[1] + 1)), num_action_frames // SHORTEST_BURST)
    lengths = SHORTEST_BURST + random_split(num_action_frames - num_bursts * SHORTEST_BURST, num_bursts, rng)
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
    rests = SHORTEST_REST + random_split(idle, num_rests, rng)
    spans, first = [], 0
    for (motion, length), rest in zip(pieces, rests, strict=False):
        first += int(rest)
        periods = max(round(length / period), 1) if motion == action else length / period
        spans.append(MotionSpan(motion=motion, first_frame=first, last_frame=first + length - 1, num_periods=periods))
        first += length
    return spans
