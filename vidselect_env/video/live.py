"""A stream that cannot be read twice, cut as it comes into windows that are files of their own.

Packets are copied, not decoded, so that a window is looked at, chosen from and classified like any file:

    packets   K . . . K . . . K . . . K . . .      K: a keyframe
    window            [ . . . . . )                from start_s to end_s
    piece             K . . . K . .                a file, from the last keyframe at or before the start

Seconds are of the stream: 0 is the time of its first keyframe.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.opening import container_options

MOST_BYTES = 2**30  # of packets held while there is no keyframe
STANDARD_INPUT = "-"


def is_stream(address: str) -> bool:
    """Whether an address is read as it comes: `-`, a URL such as `rtsp://...`, or a device such as `/dev/video0`."""
    return address == STANDARD_INPUT or "://" in address or Path(address).is_char_device()


@dataclass(frozen=True)
class Piece:
    """A window [start_s, end_s) of a stream in a file of its own, whose first frame is shown at `begin_s`."""

    start_s: float
    end_s: float
    begin_s: float
    path: Path

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Lost:
    """A window that was dropped: when it was whole, an older one was still waiting, and the stream does not wait."""

    start_s: float
    end_s: float


@contextmanager
def open_stream(address: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A stream and its best video; `-` is standard input, `pipe:7` the open file of that number.

    What comes through a pipe keeps to itself, as a file must: a playlist is refused.

    Raises:
        VideoError: it cannot be opened, or has no video.
    """
    kind, options = None, {}
    if address == STANDARD_INPUT or address.startswith("pipe:"):
        options = container_options() | {"protocol_whitelist": "pipe"}
        address = "pipe:0" if address == STANDARD_INPUT else address
    elif "://" not in address:
        kind = "v4l2"
    elif address.startswith("rtsp://"):
        options = {"rtsp_transport": "tcp"}  # over UDP packets get lost
    with faults_of(address, doing="open"):
        container = av.open(address, mode="r", format=kind, metadata_errors="replace", options=options)
    with faults_of(address), closing(container):
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise VideoError(address, "it has no video that can be decoded")
        yield container, stream


@dataclass(frozen=True)
class _Held:
    packet: Packet
    shown_s: float
    decoded_s: float


class Cutter:
    """Cuts packets into windows, each as soon as it is whole.

    Args:
        stream: the video. sound: kept beside it, if there is any.
        folder: where pieces are written.
        window_s, every_s: seconds of a window, and from one's start to the next one's.
    """

    def __init__(
        self, stream: VideoStream, folder: Path, *, window_s: float, every_s: float, sound: AudioStream | None = None
    ) -> None:
        self.stream, self.sound, self.folder, self.window_s, self.every_s = stream, sound, folder, window_s, every_s
        self._held: list[_Held] = []
        self._held_bytes, self._count, self._reached_s = 0, 0, 0.0
        self._zero: float | None = None

    def add(self, packet: Packet) -> Iterator[Piece]:
        """The windows that this packet, the next of the stream, makes whole.

        Raises:
            VideoError: no keyframe comes for so long that packets take too much memory.
        """
        if packet.pts is None or packet.time_base is None:
            return
        is_video = packet.stream is self.stream
        if self._zero is None:
            if not (is_video and packet.is_keyframe):
                return
            self._zero = float(packet.pts * packet.time_base)
        shown_s = float(packet.pts * packet.time_base) - self._zero
        decoded_s = shown_s if packet.dts is None else float(packet.dts * packet.time_base) - self._zero
        if is_video:
            while decoded_s >= self._end_s - 1e-6:
                yield self._cut(self._end_s)
            self._reached_s = max(self._reached_s, shown_s)
        self._held.append(_Held(packet, shown_s, decoded_s))
        self._held_bytes += packet.size
        if self._held_bytes > MOST_BYTES:
            raise VideoError(self.stream.container.name, f"{MOST_BYTES:,} bytes came without a keyframe")

    def end(self) -> Iterator[Piece]:
        """The window that the end of the stream cuts short, if frames of it came that no other window has."""
        fps = float(self.stream.average_rate or self.stream.guessed_rate or 25)
        end_s = self._reached_s + 1 / fps
        while self._held and (self._count == 0 or end_s > self._start_s - self.every_s + self.window_s + 1e-6):
            is_last = self._end_s >= end_s - 1e-6
            yield self._cut(min(self._end_s, end_s))
            if is_last:
                return

    @property
    def _start_s(self) -> float:
        return self._count * self.every_s

    @property
    def _end_s(self) -> float:
        return self._start_s + self.window_s

    def _cut(self, end_s: float) -> Piece:
        """Write the window that is whole, and forget what no later one needs."""
        first = self._first_for(self._start_s)
        begin_s = self._held[first].shown_s
        suffix = "nut" if self.stream.codec_context.name == "rawvideo" else "mkv"
        piece = Piece(self._start_s, end_s, begin_s, self.folder / f"{self._count}.{suffix}")
        self._write(piece.path, [held for held in self._held[first:] if held.decoded_s < end_s - 1e-6])
        self._count += 1
        self._held = self._held[self._first_for(self._start_s) :]
        self._held_bytes = sum(held.packet.size for held in self._held)
        return piece

    def _first_for(self, start_s: float) -> int:
        """Place of the last keyframe that is shown at or before a second; of the first where there is none."""
        keys = [
            place
            for place, held in enumerate(self._held)
            if held.packet.stream is self.stream and held.packet.is_keyframe
        ]
        earlier = [place for place in keys if self._held[place].shown_s <= start_s + 1e-6]
        return earlier[-1] if earlier else keys[0] if keys else 0

    def _write(self, path: Path, held: list[_Held]) -> None:
        streams = [each for each in (self.stream, self.sound) if each is not None]
        with av.open(path, "w") as made:
            outputs = {each.index: made.add_stream_from_template(each) for each in streams}
            for each in held:
                copy = Packet(bytes(each.packet))  # muxing changes a packet, and the next window may need it
                for name in ("pts", "dts", "time_base", "duration", "is_keyframe"):
                    setattr(copy, name, getattr(each.packet, name))
                copy.stream = outputs[each.packet.stream.index]
                made.mux(copy)


class LiveWindows:
    """The windows of a stream, one after another, read by a thread while the one before is worked on.

    One window may wait. When the next is whole and, by the clock, due, the one that waits is dropped: whoever works
    never falls behind by more than a window. A stream that comes faster than real time, a file through a pipe, waits
    as long as the clock allows; without `drop` it always waits.

    Args:
        address: as in `open_stream`.
        with_sound: keep the sound in the pieces.
        drop: windows rather than fall behind.

    Raises:
        VideoError: from iterating, when the stream cannot be opened, or breaks off; what came before comes first.
    """

    def __init__(
        self, address: str, *, window_s: float, every_s: float, with_sound: bool = False, drop: bool = True
    ) -> None:
        for name, value in (("window_s", window_s), ("every_s", every_s)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} ({value}) must be a positive number of seconds")
        if every_s > window_s:
            raise ValueError(f"every_s ({every_s}) must be at most window_s ({window_s})")
        self.address, self.window_s, self.every_s = address, window_s, every_s
        self.with_sound, self.drop = with_sound, drop
        self._changed = threading.Condition()
        self._waiting: Piece | None = None
        self._lost: list[Lost] = []
        self._fault: Exception | None = None
        self._is_over = self._is_closed = False
        self._began_s = 0.0  # of the clock, when second 0 of the stream came

    def __iter__(self) -> Iterator[Piece | Lost]:
        """Pieces, whose file is deleted when the next is asked for; and windows that were dropped, in order."""
        with tempfile.TemporaryDirectory(prefix="vidselect-") as folder:
            reader = threading.Thread(target=self._read, args=(Path(folder),), daemon=True)
            reader.start()
            try:
                while (found := self._take()) is not None:
                    lost, piece = found
                    yield from lost
                    if piece is not None:
                        yield piece
                        piece.discard()
                if self._fault is not None:
                    raise self._fault
            finally:
                with self._changed:
                    self._is_closed = True
                    self._changed.notify_all()
                reader.join(timeout=1)  # one that waits for packets ends with the process

    def lag_s(self, piece: Piece) -> float:
        """How long ago the window's end came, by the clock."""
        return time.monotonic() - self._began_s - piece.end_s

    def _take(self) -> tuple[list[Lost], Piece | None] | None:
        with self._changed:
            while self._waiting is None and not self._lost and not self._is_over:
                self._changed.wait()
            if self._waiting is None and not self._lost:
                return None
            found, self._waiting, self._lost = (self._lost, self._waiting), None, []
            self._changed.notify_all()
            return found

    def _read(self, folder: Path) -> None:
        try:
            with open_stream(self.address) as (container, stream):
                sound = container.streams.best("audio") if self.with_sound else None
                kept = [each for each in (stream, sound) if each is not None]
                cutter = Cutter(
                    stream,
                    folder,
                    window_s=self.window_s,
                    every_s=self.every_s,
                    sound=sound if isinstance(sound, AudioStream) else None,
                )
                self._began_s = time.monotonic()
                for packet in container.demux(kept):
                    for piece in cutter.add(packet):
                        self._put(piece)
                for piece in cutter.end():
                    self._put(piece)
        except Exception as error:  # it is raised where the windows are taken
            self._fault = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _put(self, piece: Piece) -> None:
        with self._changed:
            while self._waiting is not None and not self._is_closed:
                left_s = self._began_s + piece.end_s - time.monotonic()
                if self.drop and left_s <= 0:
                    self._lost.append(Lost(self._waiting.start_s, self._waiting.end_s))
                    self._waiting.discard()
                    break
                self._changed.wait(left_s if self.drop else None)
            if self._is_closed:
                raise InterruptedError(f"{os.fspath(self.address)!r} is not read to its end")
            self._waiting = piece
            self._changed.notify_all()
