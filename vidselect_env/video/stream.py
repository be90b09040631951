"""Going forward through a video's frames, jumping where a keyframe allows it.

Shapes: K wanted frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, dropwhile
from typing import NamedTuple

import numpy as np
from av.codec.context import Flags2
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.index import VideoIndex
from vidselect_env.video.opening import open_video
from vidselect_env.video.strict import Decoder

# A seek costs the decoder about as much as this many frames: it starts empty, and runs a few frames ahead.
SEEK_COST_FRAMES = 2
# A seek by the time of decoding ends up to as many frames late as a codec reorders (16); damaged files, for ever.
MAX_SEEKS = 32
PREDICTED = (PictureType.P, PictureType.B, PictureType.S, PictureType.SP, PictureType.BI)


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

    A damaged frame, or one that may have been made from one, is an error; where the index allows corrupt frames, they
    come as they are, and for one that does not decode at all the frame before it.

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
    with _opened(path, index, num_threads, export_vectors) as (stream, packets_from):
        for key, start, stop in runs:
            needed = None if export_vectors else frozenset(index.pts[wanted[start:stop]].tolist())
            decoder = Decoder(stream, index, key, needed=needed)
            frames = decoder.decode(packets_from(key))
            numbered = _numbered(path, frames, index, key)
            if index.allow_corrupt:
                yield from _filled(path, numbered, wanted[start:stop])
                continue
            missing = set(wanted[start:stop].tolist())
            for number, frame in numbered:
                yield number, frame
                missing.discard(number)
                if not missing:
                    break
            if missing:
                decoder.check()
                raise VideoError(
                    path, f"frame {min(missing)} of {index.info.num_frames} does not decode: the file is damaged"
                )
            decoder.finish(wanted[start:stop])


@contextmanager
def _opened(
    path: str | os.PathLike[str], index: VideoIndex, num_threads: int, export_vectors: bool
) -> Iterator[tuple[VideoStream, Callable[[int], Iterator[Packet[VideoStream]]]]]:
    """The stream, and what gives its packets from a key on: those that the index kept, or the file's."""
    with ExitStack() as file:
        if index.kept is not None and num_threads == 1 and not export_vectors:
            kept = file.enter_context(index.kept.taken())
            if kept is not None:
                file.enter_context(faults_of(path))
                packets, stream = kept
                yield stream, partial(_kept_packets, packets, stream, index)
                return
        opened = open_video(path, num_threads=num_threads, allow_corrupt=index.allow_corrupt, limits=index.limits)
        container, stream = file.enter_context(opened)
        if export_vectors:
            stream.codec_context.flags2 |= Flags2.export_mvs
        yield stream, partial(_packets, container, stream, index)


def _numbered(
    path: str | os.PathLike[str],
    frames: Iterator[VideoFrame],
    index: VideoIndex,
    key: int,
) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of a run that are in the index, with their numbers."""
    reached = 0
    for place, frame in enumerate(frames):
        number = index.number_of.get(frame.pts if index.has_timestamps else place)  # type: ignore[arg-type]
        if number is None:
            continue
        if number >= key > reached:
            _check_start(path, number, frame, key)
            reached = number
        yield number, frame


def _filled(
    path: str | os.PathLike[str], numbered: Iterator[tuple[int, VideoFrame]], wanted: NDArray[np.int64]
) -> Iterator[tuple[int, VideoFrame]]:
    """Up to the last wanted frame; for one that does not come the frame before it, which a player goes on showing.

    Before the first that comes, that one.
    """
    todo, last = wanted.tolist()[::-1], None
    for number, frame in numbered:
        while todo and todo[-1] < number:
            yield todo.pop(), last or frame
        yield number, frame
        last = frame
        if todo and todo[-1] == number:
            todo.pop()
        if not todo:
            return
    if last is None:
        raise VideoError(path, f"no frame before frame {todo[-1]} decodes: the file is damaged")
    while todo:
        yield todo.pop(), last


def _check_start(path: str | os.PathLike[str], number: int, frame: VideoFrame, key: int) -> None:
    """After a seek, the first frame must be the keyframe sought, and stand on its own.

    Damage can make a frame pass for a keyframe that is none, and where pictures are refreshed bit by bit (intra
    refresh) there is none: a decoder that starts there lacks what damaged frames refer to, and shows other pixels
    than one that comes from the start of the file.

    Raises:
        VideoError: it is another frame, or made from others.
    """
    if number != key or frame.pict_type in PREDICTED:
        raise VideoError(path, f"decoding cannot start at frame {key}: it begins with frame {number}")


def _kept_packets(
    packets: Sequence[Packet[VideoStream]], stream: VideoStream, index: VideoIndex, key: int
) -> Iterator[Packet[VideoStream]]:
    """As `_packets`, of packets in memory: the decoder has seen some of them, and begins anew."""
    stream.codec_context.flush_buffers()
    is_start = (packet.is_keyframe and (key == 0 or packet.pts == index.pts[key]) for packet in packets)
    start = next((number for number, found in enumerate(is_start) if found), None)
    if start is None:
        raise VideoError(index.info.path, f"no keyframe at frame {key} can be reached")
    return iter(packets[start:])


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
    for earlier in np.flatnonzero(index.is_key[: key + 1])[::-1][:MAX_SEEKS]:
        container.seek(int(index.pts[earlier]), stream=stream)
        packets = from_keyframe()
        first = next(packets, None)
        if first is not None and first.pts is not None and first.pts <= index.pts[key]:
            return chain([first], packets)
    raise VideoError(index.info.path, f"no keyframe at or before frame {key} can be reached")
