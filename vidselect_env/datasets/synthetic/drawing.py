"""Textures, outlines and camera noise: pure arrays, drawn without looking at a class.

Shapes: T frames of H x W pixels, P x P pixels of the patch that holds a thing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

SPRITE_SIZE = 128  # texels across a thing; drawn at 20 to 100 pixels, so that nearest texels look smooth


def smooth_noise(rows: int, columns: int, cells: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Colour noise in about [-1, 1], (rows, columns, 3), `cells` bumps down its height."""
    coarse = rng.uniform(-1, 1, (1, 3, cells, max(cells * columns // rows, 2))).astype(np.float32)
    fine = functional.interpolate(torch.from_numpy(coarse), size=(rows, columns), mode="bicubic")
    return fine[0].permute(1, 2, 0).numpy()


def add_noise(frames: NDArray[np.uint8], rng: np.random.Generator, *, level: int) -> None:
    """Camera noise of at most `level`, in place: one drawn tile, shifted anew in every frame.

    Frames (T, H, W, 3) must be from `level` to 255 - `level`: bytes wrap.
    """
    num_frames, height, width, _ = frames.shape
    grey = rng.integers(-level, level + 1, (height * 3 // 2, width * 3 // 2, 1), np.int8)
    tile = grey.view(np.uint8).repeat(3, axis=2)
    tops, lefts = (rng.integers(0, length // 2, num_frames) for length in (height, width))
    for frame, top, left in zip(frames, tops, lefts, strict=True):
        frame += tile[top : top + height, left : left + width]  # bytes wrap: adding 255 subtracts 1


def sprite_texels(
    down: NDArray[np.float32],
    right: NDArray[np.float32],
    angle: NDArray[np.float32],
    size: NDArray[np.float32],
) -> NDArray[np.int32]:
    """Which texel of the sprite, counted row by row, shows at every pixel of every patch: (T, P, P).

    `down` and `right`, (T, P), are pixels from the thing's centre. Off the sprite, its empty edge.
    """
    texels = SPRITE_SIZE / size
    cosine, sine = (np.cos(angle) * texels)[:, None], (np.sin(angle) * texels)[:, None]
    middle = SPRITE_SIZE / 2
    rows = (down * cosine)[:, :, None] + (middle - right * sine)[:, None, :]
    columns = (down * sine)[:, :, None] + (middle + right * cosine)[:, None, :]
    row, column = (at.clip(0, SPRITE_SIZE - 1).astype(np.int32) for at in (rows, columns))
    return row * SPRITE_SIZE + column
