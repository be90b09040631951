"""Frames and sound of one video of the first synthetic sets, drawn from a generator of random numbers.

A textured blob on a textured, drifting background performs one of eight motions in bursts and rests in
between. Pure arrays: nothing here opens a file. What a blob or a background looks like, where it lies and
how fast things go is drawn without looking at the class.

Shapes: T frames of H x W pixels, P x P pixels of the patch that holds the object, S sound samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidselect_env.datasets.synthetic.drawing import SPRITE_SIZE, add_noise, smooth_noise, sprite_texels
from vidselect_env.datasets.synthetic.motions import MOTIONS, MotionSpan, Poses, object_poses
from vidselect_env.datasets.synthetic.sound import SAMPLE_RATE

BACKGROUND_OVERSAMPLING = 2  # texels a pixel, so that the background drifts in half pixels
REST_SWAY = 0.15  # of the sway in motion
TREMBLE = 0.2  # pixels, standard deviation of the object's place from frame to frame
PALE_SHARE = 0.3  # of objects have colours much like their background's
NOISE_LEVEL = 4  # of 255: the largest amount by which camera noise changes a pixel
DARKEST, BRIGHTEST = 16, 239  # of textures: noise then neither over- nor underflows a byte


def render_frames(
    spans: Sequence[MotionSpan],
    *,
    num_frames: int,
    height: int,
    width: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Frames of one video: (T, H, W, 3) uint8 RGB.

    Raises:
        ValueError: height or width is below 64 pixels.
    """
    if min(height, width) < 64:
        raise ValueError(f"height ({height}) and width ({width}) must be at least 64 pixels")
    size, travel = rng.uniform((0.36, 0.30), (0.54, 0.45)) * height
    turn = math.radians(rng.uniform(110, 200))
    poses = _with_sway(object_poses(spans, num_frames, travel=travel, turn=turn), spans, size, rng)
    background, texture = _draw_textures(height, width, rng)
    frames = _drift(background, num_frames, height, width, rng)
    _paste(frames, texture, poses, size, rng)
    add_noise(frames, rng, level=NOISE_LEVEL)
    return frames


def render_sound(
    spans: Sequence[MotionSpan], *, num_frames: int, fps: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sound of one video: (S,) float32 in [-1, 1], mono, at `SAMPLE_RATE`.

    A tone in the spans, its pitch given by the motion (four semitones from one motion to the next), hum
    and hiss elsewhere.
    """
    times = np.arange(num_frames * SAMPLE_RATE // fps) / SAMPLE_RATE
    # Mains hum repeats 50 times a second: one period of it is enough.
    period = times[: SAMPLE_RATE // 50]
    hum = sum(np.sin(2 * np.pi * 50 * k * period + rng.uniform(0, 2 * np.pi)) / k for k in (1, 2, 3))
    sound = 0.08 * np.resize(hum, len(times)) + rng.normal(0, 0.03, len(times))
    for span in spans:
        pitch = 220 * 2 ** ((4 * MOTIONS.index(span.motion) + rng.uniform(-0.5, 0.5)) / 12)
        samples = slice(*(frame * SAMPLE_RATE // fps for frame in (span.first_frame, span.last_frame + 1)))
        tone = np.sin(2 * np.pi * pitch * times[samples]) + 0.3 * np.sin(4 * np.pi * pitch * times[samples])
        sound[samples] = 0.3 * tone + rng.normal(0, 0.06, len(tone))
    return sound.clip(-1, 1).astype(np.float32)


def _with_sway(poses: Poses, spans: Sequence[MotionSpan], size: float, rng: np.random.Generator) -> Poses:
    """The same poses with a sway in all that can move: a little at rest, more in the middle of a span."""
    strengths = {"x": 0.25 * size, "y": 0.25 * size, "angle": 0.7, "scale": 0.25}
    swayed = {}
    for name, strength in strengths.items():
        values = getattr(poses, name)
        share = np.full(len(values), REST_SWAY)
        for span in spans:
            times = (np.arange(span.num_frames) + 0.5) / span.num_frames
            share[span.first_frame : span.last_frame + 1] += rng.random() * np.sin(np.pi * times)
        cycles = np.arange(len(values)) / rng.uniform(12, 35) + rng.random()
        swayed[name] = (values + strength * share * np.sin(2 * np.pi * cycles)).astype(np.float32)
    return Poses(**swayed)


def _draw_textures(height: int, width: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A background larger than the frame, (.., .., 3), and an object's texture, (SPRITE_SIZE, SPRITE_SIZE, 3)."""
    rows, columns = (BACKGROUND_OVERSAMPLING * length * 10 // 9 for length in (height, width))
    cells = int(rng.integers(5, 10))
    ground_colour = rng.uniform(95, 160, 3)
    ground = ground_colour + rng.uniform(10, 25) * (
        smooth_noise(rows, columns, cells, rng) + 0.6 * smooth_noise(rows, columns, 4 * cells, rng)
    )
    noise = smooth_noise(SPRITE_SIZE, SPRITE_SIZE, int(rng.integers(3, 6)), rng)
    texture = rng.uniform(70, 185, 3) + rng.uniform(60, 90) * noise
    if rng.random() < PALE_SHARE:
        texture = ground_colour + rng.uniform(0.45, 0.7) * (texture - ground_colour)
    ground, texture = (values.clip(DARKEST, BRIGHTEST) for values in (ground, texture))
    return ground.astype(np.uint8), texture.astype(np.float32)


def _blob(rng: np.random.Generator) -> NDArray[np.float32]:
    """Opacity of an uneven star-shaped blob with soft edges, (SPRITE_SIZE, SPRITE_SIZE) in [0, 1]."""
    axis = (np.arange(SPRITE_SIZE) + 0.5) * (2 / SPRITE_SIZE) - 1
    radius, direction = np.hypot(axis[:, None], axis), np.arctan2(axis[:, None], axis)
    outline = 0.68 + sum(  # at most 0.98: the sprite's edge stays clear
        rng.uniform(0.03, 0.10) * np.cos(k * direction + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)
    )
    return ((outline - radius) * (SPRITE_SIZE / 6)).clip(0, 1)


def _drift(
    texels: NDArray[np.uint8], num_frames: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Windows (T, H, W, 3) that sway slowly over a background's texels."""
    step = BACKGROUND_OVERSAMPLING
    corners = []
    for length, extent in zip((height, width), texels.shape[:2], strict=True):
        room = extent - step * length
        sway = np.sin(2 * np.pi * (np.arange(num_frames) / rng.uniform(60, 150) + rng.random()))
        corners.append((room / 2 * (1 + 0.9 * sway)).astype(int))
    # Every step-th texel of every start: windows of these are copied far faster than strided ones.
    pixels = [[texels[row::step, column::step].copy() for column in range(step)] for row in range(step)]
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for frame, y, x in zip(frames, *corners, strict=True):
        frame[:] = pixels[y % step][x % step][y // step :, x // step :][:height, :width]
    return frames


def _paste(
    frames: NDArray[np.uint8],
    texture: NDArray[np.float32],
    poses: Poses,
    size: float,
    rng: np.random.Generator,
) -> None:
    """Draw the object into every frame, trembling a little around a place of rest near the middle."""
    num_frames, height, width, _ = frames.shape
    patch = min(math.ceil(size * poses.scale.max()) + 2, height, width)
    corners, offsets = [], []
    for length, moved in ((height, poses.y), (width, poses.x)):
        centre = rng.uniform(0.42, 0.58) * length + moved + rng.normal(0, TREMBLE, num_frames)
        corner = (centre - patch / 2).round().astype(int).clip(0, length - patch)
        offsets.append((np.arange(patch) + 0.5 + (corner - centre)[:, None]).astype(np.float32))
        corners.append(corner)
    angle = poses.angle + np.float32(rng.uniform(0, 2 * np.pi))
    down, right = offsets
    texels = sprite_texels(down, right, angle, size * poses.scale)
    opacity = _blob(rng)[..., None]
    paint = (texture * opacity).reshape(-1, 3)
    backing = (1 - opacity).repeat(3, axis=2).reshape(-1, 3)
    for frame, top, left, texel in zip(frames, *corners, texels, strict=True):
        area = frame[top : top + patch, left : left + patch]
        behind, painted = (table.take(texel, axis=0, mode="clip") for table in (backing, paint))
        area[:] = area * behind + painted
