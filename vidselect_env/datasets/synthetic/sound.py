"""The sound of a video of the default problem: a hint that helps sometimes.

Shapes: S sound samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidselect_env.datasets.synthetic.motions import MOTIONS, MotionSpan
from vidselect_env.datasets.synthetic.scenes import Scene, Span

SAMPLE_RATE = 16_000


def render_sound(scene: Scene, *, num_frames: int, fps: int, rng: np.random.Generator) -> NDArray[np.float32] | None:
    """Sound of one video: (S,) float32 in [-1, 1], mono, at `SAMPLE_RATE`; None of a silent one.

    Tones whose pitch is given by a motion (four semitones from one motion to the next), bangs, hum and hiss.
    """
    if scene.tones is None:
        return None
    times = np.arange(num_frames * SAMPLE_RATE // fps, dtype=np.float32) / SAMPLE_RATE
    # Mains hum repeats 50 times a second: one period of it is enough.
    period = times[: SAMPLE_RATE // 50]
    hum = sum(np.sin(2 * np.pi * 50 * k * period + rng.uniform(0, 2 * np.pi)) / k for k in (1, 2, 3))
    sound = 0.08 * np.resize(hum, len(times)) + rng.normal(0, 0.03, len(times))

    def samples(span: MotionSpan | Span) -> slice:
        return slice(*(frame * SAMPLE_RATE // fps for frame in (span.first_frame, span.last_frame + 1)))

    for span in scene.tones:
        pitch = 220 * 2 ** ((4 * MOTIONS.index(span.motion) + rng.uniform(-0.5, 0.5)) / 12)
        at = times[samples(span)]
        sound[samples(span)] += 0.25 * np.sin(2 * np.pi * pitch * at) + 0.08 * np.sin(4 * np.pi * pitch * at)
    for bang in scene.bangs:
        part = sound[samples(bang)]
        part += rng.uniform(0.15, 0.3) * rng.standard_normal(len(part), np.float32)
    return sound.clip(-1, 1).astype(np.float32)
