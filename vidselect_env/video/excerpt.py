"""A part of a video as a file of its own: copied where a keyframe allows it, encoded again where not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, open_video
from vidselect_env.video.stream import stream_frames


def save_excerpt(path: Path, index: VideoIndex, *, first: int, last: int) -> bool:
    """Write frames `first` to `last` of a file, both included, without sound; whether they were copied.

    They are copied, bit by bit, where the first of them is a keyframe; frames that others are predicted from may
    follow the last then. Otherwise they are encoded again, as H.264.

    Args:
        path: of the file to write, `.mp4` or `.mkv`.
        index: of the whole file.

    Raises:
        ValueError: there are no such frames.
        VideoError: the file cannot be read, or what it holds cannot be written so.
    """
    index = index.file
    if not 0 <= first <= last < index.info.num_frames:
        raise ValueError(f"frames {first} to {last} must be among the {index.info.num_frames} of {index.info.path!r}")
    try:
        if index.has_timestamps and index.is_key[first]:
            _copy(path, index, first, last)
            return True
        _encode(path, index, first, last)
    except av.FFmpegError as error:
        raise VideoError(index.info.path, f"a clip of it cannot be written: {error.strerror}") from error
    return False


def _copy(path: Path, index: VideoIndex, first: int, last: int) -> None:
    begin = int(index.pts[first])
    missing = set(index.pts[first : last + 1].tolist())
    with open_video(index.info.path) as (container, stream), av.open(path, "w") as made:
        output = made.add_stream_from_template(stream)
        container.seek(begin, stream=stream)
        for packet in container.demux(stream):
            if packet.pts is None or packet.dts is None or packet.pts < begin:
                continue
            missing.discard(packet.pts)
            packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
            packet.stream = output
            made.mux(packet)
            if not missing:
                break


def _encode(path: Path, index: VideoIndex, first: int, last: int) -> None:
    wanted = np.arange(first, last + 1)
    rate = Fraction(index.info.fps).limit_denominator(1001 * 240)
    with av.open(path, "w") as made:
        output: VideoStream | None = None
        for number, frame in stream_frames(index.info.path, wanted, index=index):
            if not first <= number <= last:
                continue
            if output is None:
                output = made.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "veryfast"})
                output.width, output.height = frame.width // 2 * 2, frame.height // 2 * 2
                output.pix_fmt = "yuv420p"
                output.codec_context.time_base = index.time_base
            even = frame.reformat(output.width, output.height, "yuv420p")
            even.pts, even.time_base = int(index.pts[number] - index.pts[first]), index.time_base
            made.mux(output.encode(even))
        if output is not None:
            made.mux(output.encode())
