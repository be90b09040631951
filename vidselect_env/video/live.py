"""A stream that cannot be read twice: its windows, one after another, as they come. Seconds are of the stream."""

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
from av.video.stream import VideoStream

from vidselect_env.video.cutting import Cutter, Piece
from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.opening import container_options

STANDARD_INPUT = "-"
AT_ONCE_S = 0.1


def is_stream(address: str) -> bool:
    """Whether an address is read as it comes: `-`, a URL such as `rtsp://...`, or a device such as `/dev/video0`."""
    return address == STANDARD_INPUT or "://" in address or Path(address).is_char_device()


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
        opening_s = time.monotonic()
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
                self._began_s = opened_s = time.monotonic()
                for packet in container.demux(kept):
                    for piece in cutter.add(packet):
                        self._put(piece)
                    now_s = time.monotonic()
                    if now_s - opened_s < AT_ONCE_S:  # opening read it, and it had come before
                        self._began_s = max(opening_s, min(self._began_s, now_s - cutter.reached_s))
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
