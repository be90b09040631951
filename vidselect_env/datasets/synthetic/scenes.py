"""What happens in a video of the default problem, and when: drawn from a generator of random numbers.

Nothing here looks at the class but the actor's own motion, and the pitch of the tone that goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidselect_env.datasets.synthetic.motions import MOTIONS, MotionSpan, VideoTruth, random_split

UNTRIMMED_FRAMES = 150  # of the time line that disturbances are drawn on
ACTION_SHARE = (0.16, 0.26)
NUM_BURSTS = (2, 3)
SHORTEST_BURST = 12
PERIOD_FRAMES = (9.0, 15.0)
SHORTEST_REST = 3
NUM_AWAY_SHOTS = (1, 3)
AWAY_SHARE = (0.25, 0.40)  # of the video shows another place, without the actor
SHORTEST_AWAY_SHOT = 10

BYSTANDER_AT_HOME = 0.6  # chance of one where the actor is; there is always one in the other place
BYSTANDER_FRAMES = (8, 24)  # of a motion of the bystander
BYSTANDER_PAUSE_FRAMES = (2, 10)
BYSTANDER_PERIOD_FRAMES = (7.0, 11.0)

# Kind of disturbance -> the fewest and most of them in a video, and their frames.
DISTURBANCES = {"pan": ((1, 3), (12, 24)), "shake": ((1, 2), (8, 20)), "flicker": ((1, 2), (8, 20))}

# How sound and action go together, and in what share of the videos.
SOUNDS = {"silent": 0.3, "action": 0.45, "elsewhere": 0.25}
NUM_BANGS = (1, 3)
BANG_FRAMES = (5, 14)


@dataclass(frozen=True, kw_only=True)
class Span:
    """From the first to the last frame, both counted: a shot of another place, a disturbance or a bang.

    kind: of `DISTURBANCES`, `away` or `bang`.
    """

    kind: str
    first_frame: int
    last_frame: int

    @property
    def num_frames(self) -> int:
        return self.last_frame - self.first_frame + 1


@dataclass(frozen=True, kw_only=True)
class Scene(VideoTruth):
    """What happens in a video, each list sorted by frame.

    action: the bursts of the actor's motion.
    distractors: motions of the bystander in the actor's place; none where nobody is there.
    elsewhere: motions of the bystander in the other place.
    away: the shots that show the other place.
    disturbances: of the picture, which may overlap.
    tones: motions whose tones sound: the action's, or another's at other times; None in a silent video.
    bangs: loud noises.
    """

    elsewhere: tuple[MotionSpan, ...] = ()
    away: tuple[Span, ...] = ()
    disturbances: tuple[Span, ...] = ()
    tones: tuple[MotionSpan, ...] | None = None
    bangs: tuple[Span, ...] = ()

    def is_away(self, num_frames: int) -> NDArray[np.bool_]:
        """Whether each frame shows the other place, (num_frames,)."""
        away = np.zeros(num_frames, bool)
        for span in self.away:
            away[span.first_frame : span.last_frame + 1] = True
        return away


def draw_scene(label: int, num_frames: int, rng: np.random.Generator) -> Scene:
    """What happens in an untrimmed video of class `label`."""
    motion = MOTIONS[label]
    period = rng.uniform(*PERIOD_FRAMES)
    lengths = _lengths(num_frames, ACTION_SHARE, NUM_BURSTS, SHORTEST_BURST, rng)
    pieces = [(motion, length) for length in lengths]
    pieces += [("away", n) for n in _lengths(num_frames, AWAY_SHARE, NUM_AWAY_SHOTS, SHORTEST_AWAY_SHOT, rng)]
    pieces = [pieces[i] for i in rng.permutation(len(pieces))]
    action, away = [], []
    for what, begin, end in _on_a_ring(pieces, num_frames, rng):
        if what == "away":
            away.append(Span(kind="away", first_frame=begin, last_frame=end - 1))
        else:  # a whole number of periods, so that the actor ends where it began
            periods = max(round((end - begin) / period), 1)
            action.append(MotionSpan(motion=motion, first_frame=begin, last_frame=end - 1, num_periods=periods))
    return Scene(
        label=label,
        action=tuple(action),
        distractors=_restless(num_frames, rng) if rng.random() < BYSTANDER_AT_HOME else (),
        elsewhere=_restless(num_frames, rng),
        away=tuple(away),
        disturbances=_disturbances(num_frames, rng),
        tones=_tones(action, num_frames, rng),
        bangs=_spans("bang", NUM_BANGS, BANG_FRAMES, num_frames, rng),
    )


def draw_trimmed_scene(label: int, num_frames: int, rng: np.random.Generator) -> Scene:
    """Nothing but the action, with a part of everything that disturbs it in an untrimmed video, and silent."""
    last = num_frames - 1
    period = rng.uniform(*PERIOD_FRAMES)
    action = MotionSpan(
        motion=MOTIONS[label], first_frame=0, last_frame=last, num_periods=num_frames / period, start_phase=rng.random()
    )
    return Scene(
        label=label,
        action=(action,),
        distractors=_restless(num_frames, rng) if rng.random() < BYSTANDER_AT_HOME else (),
        disturbances=_disturbances(num_frames, rng),
    )


def _lengths(
    num_frames: int, share: tuple[float, float], number: tuple[int, int], shortest: int, rng: np.random.Generator
) -> list[int]:
    """Lengths of a random number of pieces that fill a random share of the frames."""
    total = int(rng.integers(int(np.ceil(share[0] * num_frames)), int(share[1] * num_frames) + 1))
    count = min(int(rng.integers(number[0], number[1] + 1)), total // shortest)
    return (shortest + random_split(total - count * shortest, count, rng)).tolist()


def _on_a_ring(
    pieces: Sequence[tuple[str, int]], num_frames: int, rng: np.random.Generator
) -> list[tuple[str, int, int]]:
    """What happens from which frame to before which, sorted, of (what, length) pieces in order.

    The pieces lie on a ring, with rests of random lengths between them, that is cut open anywhere but in a burst:
    so the action's place in time says little. A shot of another place may be cut into a first and a last one.
    """
    lengths = [length for _, length in pieces]
    rests = SHORTEST_REST + random_split(num_frames - sum(lengths) - len(pieces) * SHORTEST_REST, len(pieces), rng)
    ends = np.cumsum(rests + lengths)
    begins = ends - lengths
    open_frames = np.ones(num_frames, bool)  # where the ring may be cut: before this frame
    for (what, _), begin, end in zip(pieces, begins, ends, strict=True):
        open_frames[begin + 1 : end] = what == "away"
    cut = int(rng.choice(np.flatnonzero(open_frames)))
    laid = []
    for (what, length), begin in zip(pieces, (begins - cut) % num_frames, strict=True):
        end = int(begin) + length
        laid.append((what, int(begin), min(end, num_frames)))
        if end > num_frames:
            laid.append((what, 0, end - num_frames))
    return sorted(laid, key=lambda piece: piece[1])


def _restless(num_frames: int, rng: np.random.Generator) -> tuple[MotionSpan, ...]:
    """Motion after motion, with short pauses; a motion may be under way at the first frame."""
    spans, first = [], -int(rng.integers(0, BYSTANDER_FRAMES[1]))
    while first < num_frames:
        length = int(rng.integers(BYSTANDER_FRAMES[0], BYSTANDER_FRAMES[1] + 1))
        motion, period = MOTIONS[rng.integers(len(MOTIONS))], rng.uniform(*BYSTANDER_PERIOD_FRAMES)
        begin, last = max(first, 0), min(first + length, num_frames) - 1
        if last >= begin:
            shown = (last - begin + 1) / period
            span = MotionSpan(
                motion=motion,
                first_frame=begin,
                last_frame=last,
                num_periods=shown,
                start_phase=(begin - first) / period,
            )
            spans.append(span)
        first += length + int(rng.integers(BYSTANDER_PAUSE_FRAMES[0], BYSTANDER_PAUSE_FRAMES[1] + 1))
    return tuple(spans)


def _disturbances(num_frames: int, rng: np.random.Generator) -> tuple[Span, ...]:
    spans = [
        span
        for kind, (number, frames) in DISTURBANCES.items()
        for span in _spans(kind, number, frames, num_frames, rng)
    ]
    return tuple(sorted(spans, key=lambda span: span.first_frame))


def _spans(
    kind: str, number: tuple[int, int], frames: tuple[int, int], num_frames: int, rng: np.random.Generator
) -> tuple[Span, ...]:
    """Drawn on the time line of a whole video, of which a window of `num_frames` is kept."""
    start = int(rng.integers(0, UNTRIMMED_FRAMES - num_frames + 1)) if num_frames < UNTRIMMED_FRAMES else 0
    total = max(num_frames, UNTRIMMED_FRAMES)
    spans = []
    for _ in range(rng.integers(number[0], number[1] + 1)):
        length = int(rng.integers(frames[0], frames[1] + 1))
        first = int(rng.integers(0, total - length + 1)) - start
        begin, last = max(first, 0), min(first + length, num_frames) - 1
        if last >= begin:
            spans.append(Span(kind=kind, first_frame=begin, last_frame=last))
    return tuple(sorted(spans, key=lambda span: span.first_frame))


def _tones(action: Sequence[MotionSpan], num_frames: int, rng: np.random.Generator) -> tuple[MotionSpan, ...] | None:
    """The action's spans, spans elsewhere of another motion's pitch, or None for silence."""
    kind = rng.choice(list(SOUNDS), p=list(SOUNDS.values()))
    if kind == "silent":
        return None
    if kind == "action":
        return tuple(action)
    pitch = MOTIONS[rng.integers(len(MOTIONS))]
    free = np.ones(num_frames, bool)
    for span in action:
        free[span.first_frame : span.last_frame + 1] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(int), [0]])))
    gaps = sorted(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True), key=lambda gap: gap[0] - gap[1])
    spans = []
    for (first, end), burst in zip(gaps, sorted(action, key=lambda span: -span.num_frames), strict=False):
        length = min(burst.num_frames, end - first)
        first += int(rng.integers(0, end - first - length + 1))
        spans.append(MotionSpan(motion=pitch, first_frame=first, last_frame=first + length - 1, num_periods=1))
    return tuple(sorted(spans, key=lambda span: span.first_frame))
