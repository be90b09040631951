"""How much moves in every frame of a video: image and feature differences (MGSampler, section 3.2), or SSIM's.

No training, and little beyond decoding: `motion_curve` compares small grey frames while they are decoded.
Shapes: T frames of C channels (3: RGB, or 1: grey), h x w pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from vidselect_env.files import check_regular
from vidselect_env.video.decode import FrameSize
from vidselect_env.video.errors import faults_of
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.ssim import LUMA_WEIGHTS, ssim_differences
from vidselect_env.video.stream import stream_frames

FILTER_SHAPE = (8, 3, 7, 7)
FILTER_SIGMA = 1.0  # pixels, of the Gaussian: a filter of 7 pixels then ends at three standard deviations
# Short sides at which a curve is cheap beside decoding: the convolution costs ten times a plain difference.
SHORT_SIDE = {"image": 64, "feature": 32, "ssim": 64}
CHUNK_FRAMES = 32


def image_differences(frames: Tensor) -> Tensor:
    """How much each frame differs from the one before (MGSampler, Eq. 1): (..., T) float32.

    The mean over pixels and channels of the absolute difference; 0 for the first frame. The paper sums
    over pixels: a constant factor, which the normalisation of the curve removes.

    Args:
        frames: (..., T, C, h, w) uint8, at least one.

    Example: two frames of 2 pixels, (10, 10, 10), (0, 0, 0) then (40, 10, 10), (0, 0, 0) -> [0, 30 / 6].

    Raises:
        ValueError: the frames are not such a tensor.
    """
    earlier, later = _pairs(frames)
    change = torch.maximum(earlier, later) - torch.minimum(earlier, later)  # |later - earlier|, still in bytes
    return functional.pad(change.float().mean(dim=(-3, -2, -1)), (1, 0))


def feature_differences(frames: Tensor, filters: Tensor | None = None) -> Tensor:
    """How much each frame's features differ from those of the one before (MGSampler, Eqs. 2-3): (..., T) float32.

    Features are the 8 maps of one convolution (stride 1, padding 3). The mean over pixels, for the paper's
    sum, of the root of the summed squares of the 8 differences; 0 for the first frame. A difference of
    convolutions is the convolution of the difference, so each pair of frames takes one.

    Args:
        frames: (..., T, C, h, w) uint8, at least one.
        filters: (8, 3, 7, 7) float; by default `derivative_filters`. A grey frame is taken for an RGB one of
            three equal channels.

    Raises:
        ValueError: the frames or filters are not such tensors.
    """
    earlier, later = _pairs(frames)
    bank = derivative_filters() if filters is None else filters
    if bank.shape != FILTER_SHAPE:
        raise ValueError(f"filters {tuple(bank.shape)} must be of shape {FILTER_SHAPE}")
    if frames.shape[-3] == 1:
        bank = bank.sum(dim=1, keepdim=True)
    change = later.float() - earlier.float()
    maps = functional.conv2d(change.flatten(0, -4), bank.to(change), padding=3)
    lengths = maps.square_().sum(dim=1).sqrt_().mean(dim=(-2, -1))
    return functional.pad(lengths.view(change.shape[:-3]), (1, 0))


def derivative_filters() -> Tensor:
    """The fixed filters of the feature difference: (8, 3, 7, 7) float32, of zero mean and unit norm.

    First and second derivatives of a Gaussian, which answer to edges and to lines, at 0, 45, 90 and 135
    degrees, on the luma of RGB. The paper's convolution is that of PAN and its weights are not published
    with it; any `load_filters` reads can be put in their place.
    """
    steps = torch.arange(7, dtype=torch.float64) - 3
    gaussian = torch.exp(-(steps[:, None] ** 2 + steps**2) / (2 * FILTER_SIGMA**2))
    angles = torch.arange(4, dtype=torch.float64)[:, None, None] * math.pi / 4
    across = (torch.cos(angles) * steps + torch.sin(angles) * steps[:, None]) / FILTER_SIGMA
    patterns = torch.cat([-across * gaussian, (across**2 - 1) * gaussian])
    patterns = patterns - patterns.mean(dim=(1, 2), keepdim=True)  # a cut Gaussian's derivative is not quite even
    filters = patterns[:, None] * torch.tensor(LUMA_WEIGHTS, dtype=torch.float64)[:, None, None]
    return (filters / filters.flatten(1).norm(dim=1)[:, None, None, None]).float()


def load_filters(path: str | os.PathLike[str]) -> Tensor:
    """Filters for the feature difference from a safetensors file of one tensor: (8, 3, 7, 7) float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, or holds anything but one such tensor.
    """
    check_regular(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"filters {os.fspath(path)!r} must be a safetensors file: {error}") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if list(shapes.values()) != [FILTER_SHAPE]:
        raise ValueError(f"filters {os.fspath(path)!r} ({shapes}) must hold one tensor of shape {FILTER_SHAPE}")
    return next(iter(tensors.values())).float()


def motion_curve(
    path: str | os.PathLike[str],
    *,
    kind: str = "image",
    size: FrameSize | None = None,
    filters: Tensor | None = None,
    index: VideoIndex | None = None,
    progress: bool = False,
) -> Tensor:
    """S_t of every frame of a video (MGSampler, section 3.2): (num_frames,) float32, 0 for the first.

    The video is decoded once, in constant memory. Frames are made small by taking their nearest pixels,
    which is fastest and keeps closest to the difference of whole frames (averaging hides small motions),
    and grey, which costs a third of RGB; with `filters`, which may tell colours apart, RGB.

    Args:
        kind: `image` (Eq. 1), `feature` (Eqs. 2-3), or `ssim` (`ssim_differences`, the authors' code).
        size: by default the whole frame with a short side of 64 pixels, for features 32.
        filters: as in `feature_differences`.
        index: of the same file, where the caller has it already (`index_video`).
        progress: show a progress bar.

    Raises:
        ValueError: an unknown kind, or filters that are of the wrong shape or not used.
        VideoError: the file cannot be read, or a frame does not decode (it is damaged).
    """
    if kind not in SHORT_SIDE:
        raise ValueError(f"kind ({kind!r}) must be one of {', '.join(SHORT_SIDE)}")
    if kind != "feature" and filters is not None:
        raise ValueError(f"filters must be None for kind {kind!r}: only feature differences have any")
    index = index_video(path) if index is None else index
    if size is None:
        size = _whole_frame(index, SHORT_SIDE[kind])
    bank = derivative_filters() if filters is None else filters  # once, not for every piece
    differences: dict[str, Callable[[Tensor], Tensor]] = {
        "image": image_differences,
        "feature": partial(feature_differences, filters=bank),
        "ssim": ssim_differences,
    }
    curve = torch.zeros(index.info.num_frames)
    index.limits.check(path, frame_pixels=math.prod(size.resized(index.info.height, index.info.width)))
    with faults_of(path):
        for numbers, frames in _chunks(path, index, size, colour=filters is not None, progress=progress):
            curve[numbers] = differences[kind](frames)[1:]
    return curve


def _pairs(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Each frame but the last, and each but the first: (..., T - 1, C, h, w)."""
    if frames.dtype != torch.uint8 or frames.ndim < 4 or frames.shape[-3] not in (1, 3) or frames.shape[-4] < 1:
        raise ValueError(f"frames ({frames.dtype}, {tuple(frames.shape)}) must be uint8 of shape (..., T, 3, h, w)")
    return frames[..., :-1, :, :, :], frames[..., 1:, :, :, :]


def _whole_frame(index: VideoIndex, short_side: int) -> FrameSize:
    height, width = index.info.height, index.info.width
    whole = FrameSize(short_side, (short_side, short_side)).resized(height, width)
    return FrameSize(whole, whole)


def _chunks(
    path: str | os.PathLike[str], index: VideoIndex, size: FrameSize, *, colour: bool, progress: bool
) -> Iterator[tuple[list[int], Tensor]]:
    """The whole video in pieces: the numbers of K frames, and those frames after the one before them.

    Frames are (K + 1, C, h, w) uint8, overwritten by the next piece. What precedes the first frame is itself.
    """
    height, width = size.resized(index.info.height, index.info.width)
    top, left = round((height - size.crop[0]) / 2), round((width - size.crop[1]) / 2)
    quarter_turns = -index.info.rotation // 90  # as in `decode`: small frames are turned, anticlockwise
    if quarter_turns % 2:
        height, width = width, height
    reformatter = VideoReformatter()
    # Planes of gbrp are green, blue, red.
    pixel_format, channels = ("gbrp", (1, 2, 0)) if colour else ("gray8", (0,))
    pieces = np.empty((CHUNK_FRAMES + 1, len(channels), *size.crop), dtype=np.uint8)
    numbers: list[int] = []
    everything = stream_frames(path, np.arange(index.info.num_frames), index=index)
    bar = tqdm(everything, total=index.info.num_frames, desc="motion", unit="frame", disable=not progress)
    for number, frame in bar:
        if not 0 <= number < index.info.num_frames:  # on the way to a segment
            continue
        if number == 0:
            numbers = []
        small = reformatter.reformat(
            frame, width=width, height=height, format=pixel_format, interpolation=Interpolation.POINT, threads=1
        )
        for channel, plane in zip(channels, small.planes, strict=True):
            padded = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
            pixels = padded[:, :width]
            if quarter_turns:
                pixels = np.rot90(pixels, quarter_turns)
            pieces[len(numbers) + 1, channel] = pixels[top : top + size.crop[0], left : left + size.crop[1]]
        if number == 0:
            pieces[0] = pieces[1]
        numbers.append(number)
        if len(numbers) == CHUNK_FRAMES:
            yield numbers, torch.from_numpy(pieces)
            pieces[0] = pieces[-1]
            numbers = []
    if numbers:
        yield numbers, torch.from_numpy(pieces[: len(numbers) + 1])
