"""Going forward through a video's frames, jumping where a keyframe allows it.

Shapes: K wanted frames.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain, dropwhile
from typing import NamedTuple

import numpy as np
from av.codec.context import Flags2
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, open_video

# A seek costs the decoder about as much as this many frames: it starts empty, and runs a few frames ahead.
SEEK_COST_FRAMES = 2


def stream_frames(
    path: str | os.PathLike[str],
    wanted: NDArray[np.int64],
    *,
    index: VideoIndex,
    num_threads: int = 1,
    export_vectors: bool = False,
) -> Iterator[tuple[int, VideoFrame]]:
    """Every frame that is decoded on the way through the `wanted` ones: (number, frame), in order of presentation.

    What lies between the wanted frames is skipped where a keyframe allows it; what has to be decoded to reach
    them comes too. A seek may end where the decoder cannot start (keyframes that are none, formats without an
    index): if anything goes wrong in a reading with seeks, the file is read once more from its first frame on,
    and frames that came before come again.

    Args:
        wanted: (K,) frame numbers, sorted and distinct.
        index: of the file, or of a segment of it; what is decoded on the way to a segment has negative numbers, and
            frames after its end can be wanted too.
        num_threads: threads of the decoder.
        export_vectors: frames carry the codec's motion vectors, where it has any, as side data.

    Raises:
        VideoError: the file cannot be read, or a wanted frame does not decode (it is damaged).
    """
    frames = _file_frames(path, wanted + index.first, index.file, num_threads, export_vectors)
    return ((number - index.first, frame) for number, frame in frames)


def _file_frames(
    path: str | os.PathLike[str], wanted: NDArray[np.int64], index: VideoIndex, num_threads: int, export_vectors: bool
) -> Iterator[tuple[int, VideoFrame]]:
    """As `stream_frames`, of a whole file."""
    runs = _plan(index, wanted)
    if runs != [(0, 0, len(wanted))]:
        try:
            yield from _run_frames(path, index, wanted, runs, num_threads, export_vectors)
            return
        except VideoError:
            pass
    yield from _run_frames(path, index, wanted, [_Run(0, 0, len(wanted))], num_threads, export_vectors)


class _Run(NamedTuple):
    """Wanted frames `start` up to `stop`, decoded in one go from the frame `key`."""

    key: int
    start: int
    stop: int


def _plan(index: VideoIndex, wanted: NDArray[np.int64]) -> list[_Run]:
    """Cut the sorted wanted frames into runs, where jumping to a keyframe beats decoding on.

    Example: keyframes 0, 10, 20, 30 and wanted 2, 8, 12, 31 -> from 0 (2, 8, 12), from 30 (31).
    """
    if not index.has_timestamps:
        return [_Run(0, 0, len(wanted))]
    keys = np.union1d([0], np.flatnonzero(index.is_key))  # the first frame can always be reached
    key_of = keys[np.searchsorted(keys, wanted, side="right") - 1]
    reached = np.concatenate([[0], wanted[:-1] + 1])
    jumps = key_of - reached > SEEK_COST_FRAMES
    starts = np.union1d([0], np.flatnonzero(jumps))
    stops = np.append(starts[1:], len(wanted))
    first_key = int(key_of[0]) if jumps[0] else 0
    run_keys = [first_key, *key_of[starts[1:]].tolist()]
    return [_Run(*run) for run in zip(run_keys, starts.tolist(), stops.tolist(), strict=True)]


def _run_frames(
    path: str | os.PathLike[str],
    index: VideoIndex,
    wanted: NDArray[np.int64],
    runs: Sequence[_Run],
    num_threads: int,
    export_vectors: bool,
) -> Iterator[tuple[int, VideoFrame]]:
    number_of = {int(pts): number for number, pts in enumerate(index.pts)}
    with open_video(path, num_threads=num_threads) as (container, stream):
        if export_vectors:
            stream.codec_context.flags2 |= Flags2.export_mvs
        for key, start, stop in runs:
            missing = set(wanted[start:stop].tolist())
            packets = _packets(container, stream, index, key)
            frames = (frame for packet in packets for frame in packet.decode())
            for place, frame in enumerate(frames):
                number = number_of.get(frame.pts if index.has_timestamps else place)  # type: ignore[arg-type]
                if number is None:
                    continue
                yield number, frame
                missing.discard(number)
                if not missing:
                    break
            if missing:
                raise VideoError(
                    path, f"frame {min(missing)} of {index.info.num_frames} does not decode: the file is damaged"
                )


def _packets(
    container: InputContainer, stream: VideoStream, index: VideoIndex, key: int
) -> Iterator[Packet[VideoStream]]:
    """Packets from a keyframe at or before frame `key` on; `key` 0 stands for the start of the file."""

    def from_keyframe() -> Iterator[Packet[VideoStream]]:
        return dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream))

    if not index.has_timestamps:
        return container.demux(stream)
    if key == 0:
        return from_keyframe()
    # Most formats seek by decoding time, which is earlier than the time of presentation: the seek may end at
    # a later keyframe if keyframes are dense. Then an earlier one is tried.
    for earlier in np.flatnonzero(index.is_key[: key + 1])[::-1]:
        container.seek(int(index.pts[earlier]), stream=stream)
        packets = from_keyframe()
        first = next(packets, None)
        if first is not None and first.pts is not None and first.pts <= index.pts[key]:
            return chain([first], packets)
    raise VideoError(index.info.path, f"no keyframe at or before frame {key} can be reached")
