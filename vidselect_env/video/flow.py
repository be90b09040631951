"""Optical flow of a video, computed once and kept as a video of its own.

Whatever reads videos then reads flow: every frame t of a video has one in its flow video, at the same time, that shows
where each pixel goes until frame t + 1: red is the displacement to the right, green that downwards, quantised to 8 bits
(`quantised`), and blue is 128. The last frame, after which there is none, repeats the field before it. Nothing is lost
by the codec (H.264, lossless RGB).

Shapes: H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidselect_env.files import write_aside
from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.stream import stream_frames

BOUND = 20.0  # pixels a frame: TSN's and DSN's; larger displacements are cut to it
NO_MOTION, LEVELS = 128, 127
KEYFRAME_EVERY = 12
Field = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FlowSpec:
    """How flow is computed.

    method: farneback (DSN), tvl1 (AS, TSN; slow), or dis (fast).
    short_side: frames are first made so small, by area; displacements are of the small pixels. None for as they are.

    Raises:
        ValueError: an unknown method, or a side below 16 pixels.
    """

    method: str
    short_side: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"flow method {self.method!r} must be one of {', '.join(METHODS)}")
        if self.short_side is not None and self.short_side < 16:
            raise ValueError(f"short_side ({self.short_side}) of flow must be at least 16 pixels")

    def __str__(self) -> str:
        return self.method if self.short_side is None else f"{self.method}@{self.short_side}"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Of the fields of a video of `height` x `width`; never larger than the video.

        Example: 240 x 320, `short_side=64` -> 64 x 85.
        """
        if self.short_side is None or self.short_side >= min(height, width):
            return height, width
        scale = self.short_side / min(height, width)
        return round(height * scale), round(width * scale)


def _farneback() -> Field:
    cv2 = _opencv()

    def field(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        return cv2.calcOpticalFlowFarneback(
            first, second, None, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
        )

    return field


def _tvl1() -> Field:
    cv2 = _opencv()
    if not hasattr(cv2, "optflow"):
        raise ImportError("tvl1 is in OpenCV's contributed modules: pip install 'vidselect-env[flow]'")
    computer = cv2.optflow.DualTVL1OpticalFlow_create()
    return lambda first, second: computer.calc(first, second, None)


def _dis() -> Field:
    cv2 = _opencv()
    computer = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return lambda first, second: computer.calc(first, second, None)


METHODS: dict[str, Callable[[], Field]] = {"farneback": _farneback, "tvl1": _tvl1, "dis": _dis}


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ImportError("optical flow takes OpenCV: pip install 'vidselect-env[flow]'") from error
    return cv2


def flow_field(method: str) -> Field:
    """What computes the flow from one grey picture (H, W) uint8 to the next: (H, W, 2) float32, right and down.

    One a thread: it keeps memory between calls.

    Raises:
        ValueError: there is no such method.
        ImportError: OpenCV, or its contributed modules, are not installed.
    """
    return METHODS[FlowSpec(method=method).method]()


def quantised(field: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Displacements (..., 2) in pixels as 8 bits each: 128 is none, 1 and 255 are -20 and 20 pixels and beyond.

    Example: 0 -> 128, 10 -> 192 (191.5), -20 -> 1, 100 -> 255.
    """
    return np.floor(NO_MOTION + LEVELS * np.clip(field / BOUND, -1, 1) + 0.5).astype(np.uint8)


def displacement(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Displacements in pixels of what `quantised` gave, to 0.08 of a pixel."""
    return (picture.astype(np.float32) - NO_MOTION) * (BOUND / LEVELS)


def write_flow(path: str | os.PathLike[str], out: Path, spec: FlowSpec) -> None:
    """Compute the flow of a video file, and write it as the video `out` (.mp4), whole or not at all.

    Raises:
        VideoError: the file cannot be read, or a frame of it is damaged.
        ImportError: OpenCV is not installed.
    """
    computer = flow_field(spec.method)
    index = index_video(path, keep_packets=True)
    size = spec.size(index.info.height, index.info.width)
    fields = _fields(_grey_frames(path, index, size), computer)
    write_aside(out, lambda aside: _encode(aside, path, fields, index=index, size=size))


def source_of(path: str | os.PathLike[str]) -> str | None:
    """The video that a file is the flow of; None where it is none."""
    if not os.path.isfile(path):
        return None
    with faults_of(path, doing="open"), av.open(f"file:{os.fspath(path)}") as container:
        comment = container.metadata.get("comment", "")
    return comment.removeprefix(_MARK) if comment.startswith(_MARK) else None


_MARK = "optical flow of "


def _grey_frames(path: str | os.PathLike[str], index: VideoIndex, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Every frame, upright: (H, W) uint8, in order."""
    turns = -index.info.rotation // 90
    height, width = size[::-1] if turns % 2 else size
    reformatter = VideoReformatter()
    frames = stream_frames(path, np.arange(index.info.num_frames), index=index)
    for expected, (number, frame) in enumerate(frames):
        if number != expected:
            raise VideoError(path, f"frame {number} comes where frame {expected} should: flow needs them in order")
        grey = reformatter.reformat(
            frame, width=width, height=height, format="gray", interpolation=Interpolation.AREA, threads=1
        )
        yield np.ascontiguousarray(np.rot90(grey.to_ndarray(), turns))


def _fields(frames: Iterator[NDArray[np.uint8]], computer: Field) -> Iterator[NDArray[np.uint8]]:
    """A quantised field (H, W, 2) for each frame, the last repeated; of a single frame none moves."""
    before, last = next(frames), None
    for frame in frames:
        last = quantised(computer(before, frame))
        yield last
        before = frame
    yield np.full((*before.shape, 2), NO_MOTION, np.uint8) if last is None else last


def _encode(
    out: Path,
    source: str | os.PathLike[str],
    fields: Iterator[NDArray[np.uint8]],
    *,
    index: VideoIndex,
    size: tuple[int, int],
) -> None:
    rate = Fraction(index.info.fps).limit_denominator(100_000)
    duration = max(round(1 / (rate * index.time_base)), 1)
    pts = (index.pts - index.pts[0]).tolist()
    with av.open(str(out), "w", format="mp4") as container:
        container.metadata["comment"] = f"{_MARK}{os.fspath(source)}"
        stream: Any = container.add_stream("libx264rgb", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "rgb24", index.time_base, index.time_base
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = KEYFRAME_EVERY, 0
        stream.codec_context.thread_count = 1
        for packet in _packets(stream, fields, pts, index.time_base):
            packet.duration = duration
            container.mux(packet)


def _packets(stream: Any, fields: Iterator[NDArray[np.uint8]], pts: list[int], time_base: Fraction) -> Iterator[Any]:
    for place, field in enumerate(fields):
        picture = np.full((*field.shape[:2], 3), NO_MOTION, np.uint8)
        picture[..., :2] = field
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts[place], time_base
        yield from stream.encode(frame)
    yield from stream.encode(None)
