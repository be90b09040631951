"""What a video file holds: its size, rate and length, and the timestamp of every frame.

Frames are numbered in presentation order, from 0: frame i is the i-th that a player shows.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidselect_env.video.errors import VideoError
from vidselect_env.video.limits import DEFAULT_LIMITS, VideoLimits
from vidselect_env.video.mp4 import header_entries
from vidselect_env.video.opening import KEPT_BYTES, KeptPackets, decode_packet, open_video
from vidselect_env.video.segment import check_segment, frames_shown


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video is. Height and width are upright: those of the picture after its rotation.

    Of a segment, `num_frames` and `duration_s` are its own and the others those of its file.

    fps: frames a second (frames/s), as the file states its average.
    duration_s: seconds from the first frame to the end of the last.
    rotation: degrees clockwise that the stored picture is turned to stand upright: 0, 90, 180 or 270.
    codec: FFmpeg's name of the codec (`h264`, `av1`).
    """

    path: str
    num_frames: int
    fps: float
    duration_s: float
    width: int
    height: int
    rotation: int
    codec: str
    has_audio: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """Every frame of a video, or of a segment of it, in presentation order.

    Whoever reads a segment numbers its frames from 0, and what has to be decoded before its first frame, or
    after its last, has numbers outside of it, as far as the file goes. With `first=30` and 20 frames::

        number in the file     28 29 30 31 ... 49 50
        number in the segment  -2 -1  0  1 ... 19 20

    pts: (num_frames,) int64, sorted, in units of `time_base` seconds.
    is_key: (num_frames,) bool, whether decoding can start at the frame.
    has_timestamps: False where the file does not tell when its frames are shown; they were then counted by
        decoding, `pts` is 0, 1, 2 ..., and reading cannot skip any of them.
    allow_corrupt, limits: as the index was made with; whoever reads by the index keeps to them.
    whole_file: of a segment, the index of its file; None where this is it.
    first: number in the file of frame 0.
    kept: what indexing read, for whoever reads the file next.
    """

    info: VideoInfo
    pts: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    time_base: Fraction
    has_timestamps: bool = True
    allow_corrupt: bool = False
    limits: VideoLimits = DEFAULT_LIMITS
    whole_file: VideoIndex | None = None
    first: int = 0
    kept: KeptPackets | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("pts", "is_key"):
            if getattr(self, name).shape != (self.info.num_frames,):
                raise ValueError(
                    f"{name} {getattr(self, name).shape} must have one value a frame ({self.info.num_frames})"
                )

    @property
    def file(self) -> VideoIndex:
        """The index of the whole file."""
        return self if self.whole_file is None else self.whole_file

    @cached_property
    def number_of(self) -> dict[int, int]:
        """The number of the frame with a timestamp."""
        return {pts: number for number, pts in enumerate(self.pts.tolist())}

    @property
    def shown_s(self) -> NDArray[np.float64]:
        """When each frame is shown, (num_frames,) seconds from the first frame of the file."""
        return (self.pts - self.file.pts[0]) * float(self.time_base)


def index_video(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    allow_corrupt: bool = False,
    limits: VideoLimits = DEFAULT_LIMITS,
    keep_packets: bool = False,
) -> VideoIndex:
    """List the frames of a video from its packets, decoding only as far as the first frame (its rotation).

    With `start_s` or `end_s` it lists those of the segment: the frames that are shown in [start_s, end_s)
    seconds, counted from the first frame of the file; None stands for the file's own start or end. Reading a
    segment begins at the last keyframe before it.

    Frames that an edit list hides are left out, and so are frames that come before the first keyframe,
    which cannot be decoded. A video whose packets do not tell the order of its frames (no timestamps, or
    some twice, as of elementary streams; MPEG program streams; AVI with B-frames; no keyframe) is decoded
    whole to count them, which takes as long as reading it.

    Args:
        allow_corrupt: take damaged frames as the decoder gives them, and for one that does not decode the frame
            before it, in whatever is read by the index; by default a frame that is damaged, or may have been made
            from one that is, is a `VideoError` when it is read.
        limits: what the file may ask for, here and in whatever is read by the index.
        keep_packets: the file is about to be read, once: a short one is then not opened again.

    Raises:
        ValueError: `start_s` is negative, or `end_s` not after it.
        VideoError: the file is missing, damaged, cut short (MP4; of other formats what is there counts), has
            no video, or asks for more than the limits; no frame of it is in the segment, or the segment ends more
            than one frame after it.
    """
    check_segment(start_s, end_s)
    with ExitStack() as file:
        container, stream = file.enter_context(open_video(path, allow_corrupt=allow_corrupt, limits=limits))
        kept = KeptPackets() if keep_packets and container.size <= KEPT_BYTES else None
        index = _index_packets(path, container, stream, allow_corrupt=allow_corrupt, limits=limits, kept=kept)
        if index is not None and kept is not None:  # else the file is read once more
            kept.keep_open(file, stream)
    if index is None:
        with open_video(path, allow_corrupt=allow_corrupt, limits=limits) as (container, stream):
            index = _index_frames(path, container, stream, allow_corrupt=allow_corrupt, limits=limits)
    index = replace(index, allow_corrupt=allow_corrupt, limits=limits, kept=kept)
    return segment_of(index, start_s=start_s, end_s=end_s)


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """What a video is; as `index_video`, whose number of frames is exact where headers only estimate.

    Raises:
        VideoError: as `index_video`.
    """
    return index_video(path).info


def segment_of(index: VideoIndex, *, start_s: float | None, end_s: float | None) -> VideoIndex:
    """The frames of a file that are shown in [start_s, end_s), out of its index; arguments and errors as there."""
    check_segment(start_s, end_s)
    if start_s is None and end_s is None:
        return index
    info = index.info
    part = frames_shown(index.pts, time_base=index.time_base, start_s=start_s, end_s=end_s)
    named = f"segment [{start_s or 0:g}, {info.duration_s if end_s is None else end_s:g}) s"
    # How long the last frame is shown is not told: that is the average, and other tools' durations differ a little.
    if (start_s or 0) >= info.duration_s or (end_s or 0) > info.duration_s + 1 / info.fps:
        raise VideoError(info.path, f"{named} is outside the file, which lasts {info.duration_s:.3f} s")
    pts = index.pts[part]
    if not len(pts):
        raise VideoError(info.path, f"{named} has no frame: at {info.fps:g} frames/s it lies between two")
    duration_s = float((int(pts[-1]) - int(pts[0])) * index.time_base) + 1 / info.fps
    return replace(
        index,
        info=replace(info, num_frames=len(pts), duration_s=duration_s),
        pts=pts,
        is_key=index.is_key[part],
        whole_file=index,
        first=part.start,
    )


def _index_packets(
    path: str | os.PathLike[str],
    container: InputContainer,
    stream: VideoStream,
    *,
    allow_corrupt: bool,
    limits: VideoLimits,
    kept: KeptPackets | None,
) -> VideoIndex | None:
    """Index from packets, or from a header that makes it needless to read them; None where they tell no order."""
    num_packets = 0
    entries: list[tuple[int | None, bool]] = []
    first_key_pts: int | None = None
    first_frame: VideoFrame | None = None
    for packet in container.demux(stream):  # a long file has very many
        if kept is not None:
            kept.add(packet)
        if packet.size:  # the empty packet ends a stream and flushes the decoder
            num_packets += 1
            if num_packets > limits.frames:
                limits.check(path, frames=num_packets)
            shown, starts = packet.pts, packet.is_keyframe
            if first_key_pts is None:
                first_key_pts = shown if starts else None
                if first_key_pts is None:
                    continue
            if not packet.is_discard:
                entries.append((shown, starts))
        if first_frame is None and first_key_pts is not None:
            first_frame = next(iter(decode_packet(packet, allow_corrupt=allow_corrupt)), None)
            if first_frame is not None and container.size > KEPT_BYTES and len(entries) == num_packets:
                told = header_entries(container, stream, first=entries, limits=limits)
                if told is not None:
                    entries, num_packets = told, len(told)
                    break
    num_promised = len(stream.index_entries)
    if "mov" in container.format.name and num_packets < num_promised:
        raise VideoError(path, f"it is cut short: it has {num_packets} of {num_promised} frames")

    timestamps = [pts for pts, _ in entries if pts is not None]
    if first_key_pts is None or len(timestamps) < len(entries) or len(set(timestamps)) < len(timestamps):
        return None
    # AVI stores no presentation times. Where FFmpeg could not work them out it numbers the packets as they
    # are stored, which is not the order of the frames where the decoder reorders them.
    if container.format.name == "avi" and stream.codec_context.has_b_frames and timestamps == sorted(timestamps):
        return None
    # Program streams give times to few pictures; what FFmpeg gives the others is not the same after a jump.
    if container.format.name == "mpeg":
        return None
    pts = np.array(timestamps, dtype=np.int64)
    is_key = np.array([key for _, key in entries], dtype=np.bool_)
    order = np.argsort(pts)
    order = order[pts[order] >= first_key_pts]
    if first_frame is None or not len(order):
        raise VideoError(path, "no frame of it can be decoded")
    assert stream.time_base is not None
    return _make_index(path, container, stream, first_frame, pts[order], is_key[order], stream.time_base)


def _index_frames(
    path: str | os.PathLike[str],
    container: InputContainer,
    stream: VideoStream,
    *,
    allow_corrupt: bool,
    limits: VideoLimits,
) -> VideoIndex:
    """Index by decoding all frames: a decoder gives them in the order of presentation."""
    is_key: list[bool] = []
    first_frame: VideoFrame | None = None
    for packet in container.demux(stream):
        for frame in decode_packet(packet, allow_corrupt=allow_corrupt):
            first_frame = first_frame or frame
            is_key.append(frame.key_frame)
        limits.check(path, frames=len(is_key))
    if first_frame is None:
        raise VideoError(path, "no frame of it can be decoded")
    pts = np.arange(len(is_key), dtype=np.int64)
    keys = np.array(is_key, dtype=np.bool_)
    return _make_index(path, container, stream, first_frame, pts, keys, None)


def _make_index(
    path: str | os.PathLike[str],
    container: InputContainer,
    stream: VideoStream,
    first_frame: VideoFrame,
    pts: NDArray[np.int64],
    is_key: NDArray[np.bool_],
    time_base: Fraction | None,
) -> VideoIndex:
    """Put an index together; without a time base, frames are 1 / fps apart."""
    # A file without timestamps has no average rate: FFmpeg's is a default there, its guess is the codec's.
    rate = (time_base and stream.average_rate) or stream.guessed_rate
    if not rate:
        raise VideoError(path, "it states no frame rate")
    # FFmpeg's angle is anticlockwise, in [-180, 180].
    rotation = round(-first_frame.rotation / 90) * 90 % 360
    height, width = first_frame.height, first_frame.width
    if rotation in (90, 270):
        height, width = width, height
    unit = time_base or 1 / rate
    info = VideoInfo(
        path=os.fspath(path),
        num_frames=len(pts),
        fps=float(rate),
        duration_s=float((int(pts[-1]) - int(pts[0])) * unit + 1 / rate),
        width=width,
        height=height,
        rotation=rotation,
        codec=stream.codec_context.codec.canonical_name,
        has_audio=bool(container.streams.audio),
    )
    return VideoIndex(info=info, pts=pts, is_key=is_key, time_base=unit, has_timestamps=time_base is not None)
