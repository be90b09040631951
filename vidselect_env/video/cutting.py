"""Cutting a stream's packets into windows that are files of their own.

Packets are copied, not decoded (but for the raw pictures of cameras), so that a window is looked at, chosen from and
classified like any file:

    packets   K . . . K . . . K . . . K . . .      K: a keyframe
    window            [ . . . . . )                from start_s to end_s
    piece             K . . . K . .                a file, from the last keyframe at or before the start

Seconds are of the stream: 0 is the time of its first keyframe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from vidselect_env.video.errors import VideoError

MOST_BYTES = 2**30  # of packets held while there is no keyframe


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
        self._held_bytes, self._count = 0, 0
        self.reached_s = 0.0  # when the latest frame that came is shown
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
            self.reached_s = max(self.reached_s, shown_s)
        self._held.append(_Held(packet, shown_s, decoded_s))
        self._held_bytes += packet.size
        if self._held_bytes > MOST_BYTES:
            raise VideoError(self.stream.container.name, f"{MOST_BYTES:,} bytes came without a keyframe")

    def end(self) -> Iterator[Piece]:
        """The window that the end of the stream cuts short, if frames of it came that no other window has."""
        fps = float(self.stream.average_rate or self.stream.guessed_rate or 25)
        end_s = self.reached_s + 1 / fps
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
        piece = Piece(self._start_s, end_s, begin_s, self.folder / f"{self._count}.mkv")
        write = self._encode if self.stream.codec_context.name == "rawvideo" else self._copy
        write(piece.path, [held for held in self._held[first:] if held.decoded_s < end_s - 1e-6])
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

    def _encode(self, path: Path, held: list[_Held]) -> None:
        """Pictures of a camera, which few containers take as they are."""
        with av.open(path, "w") as made:
            output: VideoStream | None = None
            for each in held:
                frames = each.packet.decode() if each.packet.stream is self.stream else []
                for frame in frames:
                    if output is None:
                        options = {"crf": "12", "preset": "ultrafast", "tune": "zerolatency", "g": "25"}
                        output = made.add_stream("libx264", rate=self.stream.average_rate or 25, options=options)
                        output.width, output.height = frame.width // 2 * 2, frame.height // 2 * 2
                        output.pix_fmt = "yuv420p"
                        output.codec_context.time_base = each.packet.time_base
                    even = frame.reformat(output.width, output.height, "yuv420p")
                    even.pts, even.time_base = each.packet.pts, each.packet.time_base
                    made.mux(output.encode(even))
            if output is not None:
                made.mux(output.encode())

    def _copy(self, path: Path, held: list[_Held]) -> None:
        streams = [each for each in (self.stream, self.sound) if each is not None]
        with av.open(path, "w") as made:
            outputs = {each.index: made.add_stream_from_template(each) for each in streams}
            for each in held:
                copy = Packet(bytes(each.packet))  # muxing changes a packet, and the next window may need it
                for name in ("pts", "dts", "time_base", "duration", "is_keyframe"):
                    setattr(copy, name, getattr(each.packet, name))
                copy.stream = outputs[each.packet.stream.index]
                made.mux(copy)
