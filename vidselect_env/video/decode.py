"""Read wanted frames of a video, resized and cropped, as tensors.

A file is read forward once: what lies between the wanted frames is skipped where a keyframe allows it, and
each distinct frame is decoded and converted once, however often it is wanted.
Shapes: K wanted frames, L clips, T frames a clip, h x w pixels of a crop.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

from vidselect_env.video.errors import faults_of
from vidselect_env.video.index import VideoIndex, VideoInfo, index_video
from vidselect_env.video.stream import stream_frames


@dataclass(frozen=True)
class FrameSize:
    """Which pixels of a frame are kept.

    resize: the short side after resizing (the long side is rounded down, as torchvision's `Resize` does), or
        (height, width).
    crop: (height, width) of the centre that is kept (placed as by torchvision's `CenterCrop`).

    Example: a frame of height 240 and width 320, `resize=112` -> 112 x 149.

    Raises:
        ValueError: a side is not positive, or the crop is larger than the resized frame.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if min(height, width, *self.crop) < 1:
            raise ValueError(f"resize ({self.resize}) and crop {self.crop} must be at least 1 pixel a side")
        if self.crop[0] > height or self.crop[1] > width:
            raise ValueError(f"crop {self.crop} must fit into the resized frame ({height}, {width})")

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after resizing a frame of `height` x `width`."""
        if not isinstance(self.resize, int):
            return self.resize
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize


def read_frames(
    path: str | os.PathLike[str],
    frame_indices: Sequence[int] | NDArray[np.integer] | Tensor,
    *,
    sizes: Sequence[FrameSize],
    index: VideoIndex | None = None,
    num_threads: int = 1,
) -> list[Tensor]:
    """Read K frames of a video: for every size (K, 3, h, w) uint8 RGB, upright, in the order asked for.

    Frames are resized in libswscale by area averaging, with the colour matrix and range that they state
    (BT.601, limited range, where they state none); samples of more than 8 bits are brought to 8.

    Args:
        path: the file.
        frame_indices: (K,) in presentation order, 0 being the first; any order, repeats allowed.
        sizes: all are made in the same pass.
        index: of the same file, where the caller has it already (`index_video`).
        num_threads: threads of the decoder. Most of the work is done without the GIL, so reading several
            files in as many Python threads is the better use of several cores.

    Raises:
        ValueError: an index is outside the video, `frame_indices` are not integers, or `num_threads` < 1.
        VideoError: the file cannot be read, or a wanted frame does not decode (it is damaged).
    """
    sets = [(torch.from_numpy(checked_indices(frame_indices)), size) for size in sizes]
    return read_sets(path, sets, index=index, num_threads=num_threads)


def read_clips(
    path: str | os.PathLike[str],
    frame_indices: Tensor,
    *,
    sizes: Sequence[FrameSize],
    index: VideoIndex | None = None,
    num_threads: int = 1,
) -> list[Tensor]:
    """Read L clips of T frames: for every size (L, T, 3, h, w) uint8 RGB.

    Args:
        frame_indices: (L, T) integers, such as `ClipGrid.frame_indices` gives; clips may overlap.

    Other arguments, and errors, as in `read_frames`.
    """
    if frame_indices.ndim != 2:
        raise ValueError(f"frame_indices {tuple(frame_indices.shape)} must be of shape (L, T)")
    sets = [(frame_indices, size) for size in sizes]
    return read_sets(path, sets, index=index, num_threads=num_threads)


class FrameWatcher(Protocol):
    """Told every frame that is decoded, with the codec's motion vectors as side data, in order of presentation.

    wanted: (K,) the frames that have to be decoded for it, sorted and distinct.
    """

    wanted: NDArray[np.int64]

    def see(self, number: int, frame: VideoFrame) -> None:
        """Frame `number` is decoded; after a failed seek numbers begin anew."""


def read_sets(
    path: str | os.PathLike[str],
    sets: Sequence[tuple[Tensor, FrameSize]],
    *,
    index: VideoIndex | None = None,
    num_threads: int = 1,
    watchers: Sequence[FrameWatcher] = (),
) -> list[Tensor]:
    """Read several sets of frames in one pass: for indices of any shape (...), (..., 3, h, w) uint8 RGB each.

    Args:
        sets: frame numbers, and the size that they are wanted at.
        watchers: told what is decoded meanwhile.

    Other arguments, and errors, as in `read_frames`.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads ({num_threads}) must be at least 1")
    index = index_video(path) if index is None else index
    of_size: dict[FrameSize, list[NDArray[np.int64]]] = {}
    for indices, size in sets:
        of_size.setdefault(size, []).append(inside_video(checked_indices(indices.flatten()), index.info))
    with faults_of(path):
        return _read_sets(path, sets, of_size, index=index, num_threads=num_threads, watchers=watchers)


def _read_sets(
    path: str | os.PathLike[str],
    sets: Sequence[tuple[Tensor, FrameSize]],
    of_size: dict[FrameSize, list[NDArray[np.int64]]],
    *,
    index: VideoIndex,
    num_threads: int,
    watchers: Sequence[FrameWatcher],
) -> list[Tensor]:
    """`read_sets`, its arguments checked and its frame numbers sorted by size."""
    taken = (indices.numel() * size.crop[0] * size.crop[1] for indices, size in sets)
    index.limits.check(path, output_bytes=3 * sum(taken))
    for size in of_size:
        index.limits.check(path, frame_pixels=math.prod(size.resized(index.info.height, index.info.width)))
    # One set is written where it is returned; several of a size share their frames.
    asked = {size: parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts)) for size, parts in of_size.items()}
    outputs = {size: FrameOutput(size, index.info, numbers) for size, numbers in asked.items()}
    writes: dict[int, list[tuple[FrameOutput, int]]] = {}
    for output in outputs.values():
        for number, row in zip(output.numbers.tolist(), output.rows.tolist(), strict=True):
            writes.setdefault(number, []).append((output, row))
    wanted = np.unique(np.concatenate([np.array(sorted(writes), np.int64), *(each.wanted for each in watchers)]))
    if len(wanted):
        frames = stream_frames(path, wanted, index=index, num_threads=num_threads, export_vectors=bool(watchers))
        for number, frame in frames:
            for watcher in watchers:
                watcher.see(number, frame)
            for output, row in writes.get(number, ()):
                output.write(row, frame)
    for output in outputs.values():
        output.repeat()
    return [_taken(outputs[size].frames, asked[size], indices) for indices, size in sets]


def _taken(frames: Tensor, numbers: NDArray[np.int64], indices: Tensor) -> Tensor:
    """The frames at `indices` (...), of frames with these numbers, in that order or sorted: (..., 3, h, w)."""
    if not np.array_equal(indices.flatten().numpy(), numbers):
        rows = torch.from_numpy(np.searchsorted(numbers, indices.flatten().numpy()))
        frames = frames.index_select(0, rows)  # copies rows, not single pixels
    return frames.view(*indices.shape, *frames.shape[1:])


def checked_indices(frame_indices: Sequence[int] | NDArray[np.integer] | Tensor) -> NDArray[np.int64]:
    indices = np.asarray(frame_indices)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise ValueError(f"frame_indices ({indices.dtype}, {indices.shape}) must be integers of shape (K,)")
    return indices.astype(np.int64)


def inside_video(indices: NDArray[np.int64], info: VideoInfo) -> NDArray[np.int64]:
    outside = indices[(indices < 0) | (indices >= info.num_frames)]
    if outside.size:
        raise ValueError(f"frame {outside[0]} must be one of the {info.num_frames} frames of {info.path!r}")
    return indices


class FrameOutput:
    """The frames of one size, filled row by row.

    A frame that is wanted several times is written to the first row that wants it; `repeat` copies it to the others.

    numbers, rows: the different frames that are wanted, sorted, and the first row of each.
    frames: (K, 3, h, w) uint8, in the order of `wanted` (K,).
    """

    def __init__(self, size: FrameSize, info: VideoInfo, wanted: NDArray[np.int64]) -> None:
        height, width = size.resized(info.height, info.width)
        top, left = (round((height - size.crop[0]) / 2), round((width - size.crop[1]) / 2))
        self.window = (slice(top, top + size.crop[0]), slice(left, left + size.crop[1]))
        # Frames are turned when they are small: height and width here are those of the stored picture.
        self.quarter_turns = -info.rotation // 90  # np.rot90 turns anticlockwise
        self.height, self.width = (width, height) if self.quarter_turns % 2 else (height, width)
        self.reformatter = VideoReformatter()  # one a size: it keeps its filters from frame to frame
        self.packer = VideoReformatter()
        self.numbers, self.rows, self._place_of_row = np.unique(wanted, return_index=True, return_inverse=True)
        self.frames = torch.empty((len(wanted), 3, *size.crop), dtype=torch.uint8)
        self.array = self.frames.numpy()

    def repeat(self) -> None:
        """Fill the other rows of frames that are wanted several times, when all are written."""
        first = self.rows[self._place_of_row]
        for row in np.flatnonzero(first != np.arange(len(first))).tolist():
            self.array[row] = self.array[first[row]]

    def write(self, row: int, frame: VideoFrame) -> None:
        if (frame.width, frame.height) == (self.width, self.height):
            # At their own size, libswscale brings frames of some widths to planar RGB without their last columns.
            frame = self.packer.reformat(frame, format="rgb24", threads=1)
        # Planar RGB has the layout of the tensor, and libswscale makes it up to 2.5 times as fast as rgb24.
        small = self.reformatter.reformat(
            frame,
            width=self.width,
            height=self.height,
            format="gbrp",
            interpolation=Interpolation.AREA,
            threads=1,
        )
        for plane, channel in zip(small.planes, (1, 2, 0), strict=True):  # planes are green, blue, red
            if self.quarter_turns:
                whole = np.ndarray((self.height, self.width), np.uint8, memoryview(plane), strides=(plane.line_size, 1))
                self.array[row, channel] = np.rot90(whole, self.quarter_turns)[self.window]
            else:
                start = self.window[0].start * plane.line_size + self.window[1].start
                pixels = np.ndarray(self.array.shape[2:], np.uint8, memoryview(plane), start, (plane.line_size, 1))
                self.array[row, channel] = pixels
