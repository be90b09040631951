"""Frames of one video of the default problem, drawn from a generator of random numbers.

An actor, a round thing of warm colours, performs its motion in bursts, in one place; a bystander, a box of cold
colours, moves there and in another place that some shots show. The camera pans and shakes, the light flickers.
Pure arrays: nothing here opens a file. What things and places look like, where they are and how fast things go is
drawn without looking at the class.

Shapes: T frames of H x W pixels, P x P pixels of the patch that holds a thing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidselect_env.datasets.synthetic.drawing import SPRITE_SIZE, add_noise, smooth_noise, sprite_texels
from vidselect_env.datasets.synthetic.motions import MotionSpan, Poses, object_poses
from vidselect_env.datasets.synthetic.scenes import Scene, Span

NOISE_LEVEL = 3  # of 255: the largest amount by which camera noise changes a pixel
DARKEST, BRIGHTEST = 12, 243  # of pixels, before noise

ACTOR_COLOUR, BYSTANDER_COLOUR = (190, 115, 70), (70, 115, 190)
COLOUR_SPREAD = 30
ACTOR_SIZE, ACTOR_TRAVEL = (0.42, 0.58), (0.30, 0.45)  # of the frame's height
BYSTANDER_SIZE, BYSTANDER_TRAVEL = (0.40, 0.60), (0.50, 0.80)
TURN_DEGREES = (130, 210)
SWAY = 0.15  # of a thing that rests, and moves a little
TREMBLE = 0.2  # pixels, standard deviation of a thing's place from frame to frame
PAN_PIXELS = (15, 32)
SHAKE_PIXELS = 4
FLICKER = (0.6, 1.25)


def render_frames(
    scene: Scene, *, num_frames: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Frames of one video: (T, H, W, 3) uint8 RGB.

    Raises:
        ValueError: height or width is below 64 pixels.
    """
    if min(height, width) < 64:
        raise ValueError(f"height ({height}) and width ({width}) must be at least 64 pixels")
    away = scene.is_away(num_frames)
    camera = _camera(scene.disturbances, num_frames, rng)
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for shown, spans in ((~away, scene.distractors), (away, scene.elsewhere)):
        where = np.flatnonzero(shown)
        _paste_place(frames, where, camera, rng)
        bystander = _thing(spans, num_frames, height, BYSTANDER_SIZE, BYSTANDER_TRAVEL, rng)
        sprite, centre = _sprite(BYSTANDER_COLOUR, _box(rng), rng), rng.uniform(0.25, 0.75, 2)
        if spans:
            _paste(frames, where, sprite, *bystander, centre, camera, rng)
    actor = _thing(scene.action, num_frames, height, ACTOR_SIZE, ACTOR_TRAVEL, rng)
    sprite, centre = _sprite(ACTOR_COLOUR, _blob(rng), rng), rng.uniform(0.38, 0.62, 2)
    _paste(frames, np.flatnonzero(~away), sprite, *actor, centre, camera, rng)
    _flicker(frames, scene.disturbances, rng)
    add_noise(frames, rng, level=NOISE_LEVEL)
    return frames


def _camera(disturbances: Sequence[Span], num_frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How far the camera has moved down and right in every frame, (T, 2) pixels."""
    times = np.arange(num_frames)
    moved = np.stack([6 * np.sin(2 * np.pi * (times / rng.uniform(60, 150) + rng.random())) for _ in range(2)], 1)
    for span in disturbances:
        frames = slice(span.first_frame, span.last_frame + 1)
        if span.kind == "pan":
            direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*PAN_PIXELS)
            swing = np.sin(2 * np.pi * (np.arange(span.num_frames) + 1) / (span.num_frames + 1))
            moved[frames] += np.outer(swing, distance * np.array([np.sin(direction), np.cos(direction)]))
        elif span.kind == "shake":
            moved[frames] += rng.uniform(-SHAKE_PIXELS, SHAKE_PIXELS, (span.num_frames, 2))
    return moved.round().astype(int)


def _paste_place(
    frames: NDArray[np.uint8], where: NDArray[np.int64], camera: NDArray[np.int64], rng: np.random.Generator
) -> None:
    """Draw a place into frames `where`: a texture that goes on for ever, mirrored at its edges."""
    height, width = frames.shape[1:3]
    rows, columns = height * 3 // 4, width * 3 // 4
    cells = int(rng.integers(4, 8))
    colour = rng.uniform(95, 160) + rng.uniform(-15, 15, 3)
    noise = smooth_noise(rows, columns, cells, rng) + 0.6 * smooth_noise(rows, columns, 4 * cells, rng)
    texels = (colour + rng.uniform(10, 25) * noise).clip(DARKEST, BRIGHTEST).astype(np.uint8)
    texels = np.pad(texels, ((0, rows + height), (0, columns + width), (0, 0)), mode="symmetric")
    start = rng.integers(0, (2 * rows, 2 * columns))
    for frame, (top, left) in zip(where, (start + camera[where]) % (2 * rows, 2 * columns), strict=True):
        frames[frame] = texels[top : top + height, left : left + width]


def _thing(
    spans: Sequence[MotionSpan],
    num_frames: int,
    height: int,
    size_range: tuple[float, float],
    travel_range: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Poses, float]:
    """Poses of a thing, which sways a little in all that can move, and its size in pixels."""
    size, travel = (height * rng.uniform(*each) for each in (size_range, travel_range))
    poses = object_poses(spans, num_frames, travel=travel, turn=math.radians(rng.uniform(*TURN_DEGREES)))
    strengths = {"x": 0.25 * size, "y": 0.25 * size, "angle": 0.7, "scale": 0.25}
    swayed = {}
    for name, strength in strengths.items():
        cycles = np.arange(num_frames) / rng.uniform(12, 35) + rng.random()
        swayed[name] = (getattr(poses, name) + strength * SWAY * np.sin(2 * np.pi * cycles)).astype(np.float32)
    return Poses(**swayed), size


def _sprite(colour: tuple[int, int, int], is_inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.uint32]:
    """A thing's texels, (SPRITE_SIZE ** 2,), red, green, blue and whether it is there, a byte each."""
    noise = smooth_noise(SPRITE_SIZE, SPRITE_SIZE, int(rng.integers(3, 6)), rng)
    light = noise[..., :1] * rng.uniform(60, 90)
    texture = np.array(colour) + rng.uniform(-COLOUR_SPREAD, COLOUR_SPREAD, 3) + light + 30 * noise
    texels = np.empty((SPRITE_SIZE, SPRITE_SIZE, 4), np.uint8)
    texels[..., :3] = texture.clip(DARKEST, BRIGHTEST)
    texels[..., 3] = is_inside
    return texels.view(np.uint32).reshape(-1)


def _blob(rng: np.random.Generator) -> NDArray[np.bool_]:
    """The inside of an uneven star-shaped blob."""
    axis = (np.arange(SPRITE_SIZE) + 0.5) * (2 / SPRITE_SIZE) - 1
    radius, direction = np.hypot(axis[:, None], axis), np.arctan2(axis[:, None], axis)
    outline = 0.62 + sum(  # at most 0.98: the sprite's edge stays clear
        rng.uniform(0.04, 0.12) * np.cos(k * direction + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)
    )
    return radius < outline


def _box(rng: np.random.Generator) -> NDArray[np.bool_]:
    """The inside of a rectangle."""
    axis = np.abs((np.arange(SPRITE_SIZE) + 0.5) * (2 / SPRITE_SIZE) - 1)
    high, wide = rng.uniform(0.5, 0.85, 2)
    return (axis[:, None] < high) & (axis < wide)


def _paste(
    frames: NDArray[np.uint8],
    where: NDArray[np.int64],
    sprite: NDArray[np.uint32],
    poses: Poses,
    size: float,
    centre: NDArray[np.float64],
    camera: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    """Draw a thing into frames `where`, trembling a little around its place of rest."""
    if not len(where):
        return
    height, width = frames.shape[1:3]
    scale = poses.scale[where]
    patch = min(math.ceil(size * scale.max()) + 2, height, width)
    corners, offsets = [], []
    for axis, (length, moved) in enumerate(((height, poses.y), (width, poses.x))):
        middle = centre[axis] * length + moved[where] - camera[where, axis] + rng.normal(0, TREMBLE, len(where))
        corner = (middle - patch / 2).round().astype(int).clip(0, length - patch)
        offsets.append((np.arange(patch) + 0.5 + (corner - middle)[:, None]).astype(np.float32))
        corners.append(corner)
    angle = poses.angle[where] + np.float32(rng.uniform(0, 2 * np.pi))
    down, right = offsets
    texels = sprite_texels(down, right, angle, size * scale)
    for frame, top, left, texel in zip(where, *corners, texels, strict=True):
        area = frames[frame, top : top + patch, left : left + patch]
        painted = sprite.take(texel).view(np.uint8).reshape(patch, patch, 4)
        np.copyto(area, painted[..., :3], where=painted[..., 3:].view(bool))


def _flicker(frames: NDArray[np.uint8], disturbances: Sequence[Span], rng: np.random.Generator) -> None:
    """Another brightness in every frame of a flicker, in place."""
    levels = np.arange(256)
    for span in disturbances:
        if span.kind == "flicker":
            for frame in frames[span.first_frame : span.last_frame + 1]:
                gain = rng.uniform(*FLICKER)
                frame[:] = (levels * gain).clip(DARKEST, BRIGHTEST).astype(np.uint8).take(frame)
