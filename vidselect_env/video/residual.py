"""Frames minus what a codec's vectors make of their references.

Shapes: K wanted frames, H x W pixels of a picture, h x w of a residual.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidselect_env.video.decode import FrameOutput, FrameSize
from vidselect_env.video.index import VideoInfo
from vidselect_env.video.vectors import BLOCK, CELL, Vectors


def _predict(references: Sequence[NDArray[np.uint32]], vectors: Vectors) -> NDArray[np.uint32]:
    """What the vectors make of the references: (H, W) pixels, sides rounded up to whole cells.

    Args:
        references: bordered pictures of one size (`ResidualOutput.bordered`), of the past, the future, or both.
        vectors: `present` only in directions in which there is a reference.
    """
    high, wide = vectors.present.shape[1:]
    stride, size = references[0].shape[1], references[0].size
    whole = np.floor(vectors.motion + 0.5).astype(np.intp) * vectors.present[..., None]
    # A block that lies wholly in the border shows the edge, however far out it is.
    y = np.clip(whole[..., 1] + np.arange(0, high * BLOCK, BLOCK)[:, None], -BLOCK, high * BLOCK) + BLOCK
    x = np.clip(whole[..., 0] + np.arange(0, wide * BLOCK, BLOCK), -BLOCK, wide * BLOCK) + BLOCK
    corners = y * stride + x
    corners[1] += size * (len(references) - 1)
    in_past, in_future = vectors.present
    # Without a vector the same place is taken, of the first reference that there is.
    first = np.where(in_past | ~in_future, corners[0], corners[1])
    pool = references[0].ravel() if len(references) == 1 else np.concatenate([r.ravel() for r in references])
    predicted = _gather(pool, first, stride)
    if (in_past & in_future).any():
        # The mean of every byte, rounded up, as codecs do; of a pixel and itself that is the pixel.
        other = _gather(pool, np.where(in_future, corners[1], first), stride)
        predicted = (predicted | other) - ((predicted ^ other) >> 1 & np.uint32(0x7F7F7F7F))
    return predicted


def _gather(pool: NDArray[np.uint32], corners: NDArray[np.intp], stride: int) -> NDArray[np.uint32]:
    """Blocks of `pool` whose first pixels are the `corners`, put side by side."""
    columns = np.repeat(corners, BLOCK, axis=1) + np.tile(np.arange(BLOCK), corners.shape[1])
    pixels = columns[:, None, :] + np.arange(BLOCK)[:, None] * stride
    return np.take(pool, pixels.reshape(-1, columns.shape[1]))


class ResidualOutput:
    """The residuals of one size, filled row by row. `values`: (K, 3, h, w) int16."""

    # 4:4:4 pictures of 16 bits: libswscale averages each plane by itself, whatever it means.
    PACKED, PLANAR, SCALE, OFFSET = "xv48le", "yuv444p16le", 128, 255

    def __init__(self, size: FrameSize, info: VideoInfo, stored: tuple[int, int], num_frames: int) -> None:
        self.height, self.width = stored
        self.geometry = FrameOutput(size, info, np.zeros(0, np.int64))
        self.values = torch.zeros((num_frames, 3, *size.crop), dtype=torch.int16)
        self.to_rgb, self.to_rgba, self.to_small = VideoReformatter(), VideoReformatter(), VideoReformatter()
        self.carrier = VideoFrame(self.width, self.height, self.PACKED)
        self.recent: list[tuple[VideoFrame, NDArray[np.uint32]]] = []

    def write(self, row: int, frame: VideoFrame, references: Sequence[VideoFrame], vectors: Vectors) -> None:
        pictures = [self.bordered(reference) for reference in references]
        predicted = _predict(pictures, vectors)[: self.height, : self.width, None].view(np.uint8)
        inside = slice(BLOCK, BLOCK + self.height), slice(BLOCK, BLOCK + self.width), None
        pixels = self.bordered(frame)[inside].view(np.uint8)
        samples = np.frombuffer(memoryview(self.carrier.planes[0]), np.uint16).reshape(self.height, -1, 4)
        samples = samples[:, : self.width]
        # Differences wrap around as unsigned numbers, and come back when the offset is added.
        np.subtract(pixels, predicted, out=samples, dtype=np.uint16)
        samples *= self.SCALE
        samples += self.OFFSET * self.SCALE
        self.values[row] = torch.from_numpy(self.resized())

    def resized(self) -> NDArray[np.int16]:
        """The carrier's differences, resized, turned and cropped as `FrameOutput` does frames: (3, h, w)."""
        out = self.geometry
        small = self.to_small.reformat(
            self.carrier,
            width=out.width,
            height=out.height,
            format=self.PLANAR,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        green, red, blue = small.planes  # xv48le packs Cb, Y, Cr, so that is where red, green, blue were put
        planes = [np.frombuffer(memoryview(p), np.uint16).reshape(out.height, -1) for p in (red, green, blue)]
        turned = np.rot90(np.stack(planes)[..., : out.width], out.quarter_turns, axes=(1, 2))
        rows, columns = out.window
        samples = turned[:, rows, columns].astype(np.int32)
        return ((samples + self.SCALE // 2) // self.SCALE - self.OFFSET).astype(np.int16)

    def bordered(self, frame: VideoFrame) -> NDArray[np.uint32]:
        """Pixels of a frame, its edges drawn out to whole cells and one block more; the last few are kept."""
        recent = [known for known in self.recent if known[0] is frame]
        if not recent:
            bottom, right = -self.height % CELL + BLOCK, -self.width % CELL + BLOCK
            recent = [(frame, np.pad(self.pixels(frame), ((BLOCK, bottom), (BLOCK, right)), mode="edge"))]
        self.recent = [known for known in self.recent if known[0] is not frame][-2:] + recent
        return recent[0][1]

    def pixels(self, frame: VideoFrame) -> NDArray[np.uint32]:
        """(H, W) pixels of four bytes, red first."""
        # In two steps: at their own size, libswscale brings frames of some widths to planar RGB or to four bytes
        # without their last columns.
        rgb = self.to_rgb.reformat(
            frame, width=self.width, height=self.height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
        rgba = self.to_rgba.reformat(rgb, format="rgba", threads=1)
        return np.frombuffer(memoryview(rgba.planes[0]), np.uint32).reshape(self.height, -1)[:, : self.width]
