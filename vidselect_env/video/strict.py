"""Decoding that tells damaged frames from good ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidselect_env.video.errors import VideoError
from vidselect_env.video.h264 import FrameNumbers
from vidselect_env.video.index import VideoIndex

MARKED = "its decoder marks it as damaged"


class Decoder:
    """Decodes the packets of one run, from a keyframe on; unless the index allows corrupt frames, up to a damaged one.

    What was decoded before a frame, from the keyframe on, is what it may have been made from: an error there is one of
    the frame. So is one in the frames that are shown after it, but decoded before. Frames that are shown before the
    keyframe, but stored after it, are none of the run: some of what they are made from was skipped.

    Args:
        stream: opened as the index says.
        key: number of the keyframe sought; 0 stands for the start of the file.
        needed: timestamps of the frames that are wanted, in the index's units. A frame of H.264 that is none of them,
            and that no other is made from, is not decoded. None decodes all.
    """

    def __init__(
        self, stream: VideoStream, index: VideoIndex, key: int, *, needed: frozenset[int] | None = None
    ) -> None:
        self._index, self._codec = index, stream.codec_context
        self._start = int(index.pts[key]) if key else None
        self._is_strict = not index.allow_corrupt
        is_h264 = index.info.codec == "h264"
        self._numbers = FrameNumbers(self._codec.extradata or b"") if self._is_strict and is_h264 else None
        self._needed = needed if index.has_timestamps else None
        self._sent: dict[int | None, int] = {}  # timestamp: place in the order of decoding
        self._out: deque[VideoFrame] = deque()  # of the packet that was decoded last
        self._fault: VideoError | None = None  # the first, of the packet at place `_fault_place`
        self._fault_place = 0

    def decode(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        """The frames that come out for packets.

        Raises:
            VideoError: a frame is marked as damaged, or is decoded from a packet with a fault, or after one: it does
                not decode, is marked as damaged, or a frame is missing before it.
        """
        for packet in packets:
            self._send(packet)
            while self._out:
                frame = self._out.popleft()
                if self._is_strict and not self._is_before(frame.pts):
                    self._check_frame(frame)
                yield frame

    def _send(self, packet: Packet[VideoStream]) -> None:
        place = self._sent[packet.pts] = len(self._sent)
        if reason := self._fault_of(packet):
            self._note(place, packet.pts, reason)
        elif self._can_skip(packet):
            return
        try:
            self._out.extend(packet.decode())
        except av.FFmpegError as error:
            # Of several threads the one that fails is heard when its turn comes.
            place -= self._codec.thread_count
            self._note(place, packet.pts, f"it does not decode: {error.strerror}", cause=error)

    def _check_frame(self, frame: VideoFrame) -> None:
        if frame.is_corrupt:
            raise self._damaged(frame.pts, MARKED)
        if self._fault is not None and self._sent.get(frame.pts, len(self._sent)) >= self._fault_place:
            raise self._fault

    def check(self) -> None:
        """Raise the fault of a packet, if there was one."""
        if self._fault is not None:
            raise self._fault

    def finish(self, wanted: NDArray[np.int64]) -> None:
        """After the last wanted frame: check those that are shown later, but from which it may have been made.

        They are decoded already, and wait in the decoder for their turn. It must not be used again before a seek.

        Raises:
            VideoError: one of them is marked as damaged.
        """
        if not self._is_strict:
            return
        last = len(self._sent)
        if self._index.has_timestamps:
            last = max(self._sent.get(pts, 0) for pts in self._index.pts[wanted].tolist())
        with suppress(av.FFmpegError):  # of a packet after all that was wanted, or the file is at its end
            self._out.extend(self._codec.decode(None))
        for frame in self._out:
            if frame.is_corrupt and not self._is_before(frame.pts) and self._sent.get(frame.pts, 0) < last:
                raise self._damaged(frame.pts, MARKED)

    def _fault_of(self, packet: Packet[VideoStream]) -> str | None:
        if not self._is_strict or not packet.size:
            return None
        if packet.is_corrupt:
            return "its packet is marked as damaged"
        if self._numbers is not None and self._numbers.misses_one(packet):
            return "a frame that it is made from is missing, or comes twice"
        return None

    def _can_skip(self, packet: Packet[VideoStream]) -> bool:
        """Whether nobody wants what is in a packet, nor is anything made from it."""
        if self._needed is None or self._numbers is None or not packet.size:
            return False
        return not self._numbers.is_reference and packet.pts not in self._needed

    def _note(self, place: int, pts: int | None, reason: str, *, cause: Exception | None = None) -> None:
        if self._fault is None and self._is_strict and not self._is_before(pts):
            self._fault, self._fault_place = self._damaged(pts, reason), place
            self._fault.__cause__ = cause

    def _is_before(self, pts: int | None) -> bool:
        """Whether a frame is shown before the keyframe sought."""
        return self._start is not None and pts is not None and pts < self._start

    def _damaged(self, pts: int | None, reason: str) -> VideoError:
        info, frame = self._index.info, "a frame"
        if pts is not None and self._index.has_timestamps:
            number = min(int(np.searchsorted(self._index.pts, pts)), info.num_frames - 1)
            frame = f"frame {number} of {info.num_frames}"
        return VideoError(info.path, f"{frame} is damaged: {reason}")
