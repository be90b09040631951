"""Opening a file, so that a damaged or hostile one neither hangs, nor leads elsewhere, nor asks for too much."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, overload

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.format import ContainerFormat, formats_available
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidselect_env.stores import local_copy
from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.frame_folder import input_of
from vidselect_env.video.limits import DEFAULT_LIMITS, VideoLimits

# FFmpeg draws text files (.txt, .nfo, .bin ...) as pictures of a terminal.
TEXT_CODECS = ("ansi", "bintext", "idf", "xbin")

# Formats of FFmpeg that name other files, addresses or devices to read: a playlist called `a.mp4` is not a video.
LEADING_ELSEWHERE = frozenset(
    (
        *("concat", "concatf", "dash", "hls", "image2", "imf", "mlv", "webm_dash_manifest"),
        *("rtp", "rtsp", "sap", "sdp"),
        *("alsa", "fbdev", "jack", "kmsgrab", "lavfi", "oss", "pulse", "v4l2", "video4linux2", "x11grab", "xcbgrab"),
    )
)
# Decoders that conceal what they cannot decode are made to give it up. Not that of H.264: it marks what it conceals,
# and would give up whole videos that begin with an I-frame that is no IDR picture (cut broadcasts), since the next
# frame tells it to forget frames that are not there.
ERROR_DETECTION = "crccheck+bitstream+buffer+explode"
MARKING_DECODERS = frozenset(("h264",))
KINDS = {
    stat.S_ISFIFO: "a pipe (FIFO)",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


@contextmanager
def open_video(
    path: str | os.PathLike[str],
    *,
    num_threads: int = 1,
    allow_corrupt: bool = False,
    limits: VideoLimits = DEFAULT_LIMITS,
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened file and its best video stream; packets of other streams are left out. Of a URL it is a local copy.

    Args:
        num_threads: threads of the decoder.
        allow_corrupt: False makes the decoder give up at the first error.
        limits: the frame size is checked here.

    Raises:
        VideoError: the file cannot be opened, has no video or too large a picture, or anything fails while it is open.
        StoreError: a store fails.
    """
    with faults_of(path, doing="open"):
        local = local_copy(path)
        check_file(local)
        address, kind, options = input_of(local)
        allowed = container_options() | ({} if kind is None else {"format_whitelist": kind})
        container = av.open(address, mode="r", format=kind, metadata_errors="replace", options={**allowed, **options})
    with faults_of(path), container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise VideoError(path, "it has no video stream")
        if stream.codec_context is None:
            raise VideoError(path, "there is no decoder for its video stream")
        if stream.codec_context.name in TEXT_CODECS:
            raise VideoError(path, "it is text, not video")
        limits.check(path, frame_pixels=stream.codec_context.width * stream.codec_context.height)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        stream.codec_context.thread_count = num_threads
        stream.codec_context.thread_type = "AUTO"
        set_up_decoder(stream.codec_context, allow_corrupt=allow_corrupt, limits=limits)
        yield container, stream


KEPT_BYTES = 2**23  # of the packets of one video; a longer one is read again, where most of it can be skipped


class KeptPackets:
    """The packets of a file that was indexed, and its decoder: whoever reads the file next need not open it again.

    Of a file whose packets take more than `KEPT_BYTES`, none are kept.
    """

    def __init__(self) -> None:
        self._packets: list[Packet[VideoStream]] | None = []
        self._num_bytes = 0
        self._file: ExitStack | None = None
        self._stream: VideoStream | None = None

    def add(self, packet: Packet[VideoStream]) -> None:
        if self._packets is not None:
            self._packets.append(packet)
            self._num_bytes += packet.size
            if self._num_bytes > KEPT_BYTES:
                self._packets = None

    def keep_open(self, file: ExitStack, stream: VideoStream) -> None:
        """The file stays open until it was read, or nobody has the packets any more."""
        if self._packets is not None:
            self._file, self._stream = file.pop_all(), stream

    @contextmanager
    def taken(self) -> Iterator[tuple[list[Packet[VideoStream]], VideoStream] | None]:
        """The packets and their stream, for the first who asks; afterwards the file is closed. None for others."""
        packets, file, stream = self._packets, self._file, self._stream
        self._packets = self._file = self._stream = None
        if packets is None or file is None or stream is None:
            yield None
            return
        with file:
            yield packets, stream


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file: opening a pipe waits for whoever writes to it, for ever.

    Raises:
        VideoError: there is a pipe, socket or device of that name.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # there is none, or it must not be looked at: opening it says so
        return
    for is_kind, kind in KINDS.items():
        if is_kind(mode):
            raise VideoError(path, f"it is {kind}, and must be a file")


@cache
def container_options() -> dict[str, str]:
    """Options for opening a file: any format of this FFmpeg that keeps to the file itself."""
    names = []
    for name in sorted(formats_available):
        try:
            names.append(ContainerFormat(name, "r").name)
        except ValueError:  # written only
            continue
    kept = (name for name in names if LEADING_ELSEWHERE.isdisjoint(name.split(",")))
    return {"format_whitelist": ",".join(kept), "protocol_whitelist": "file"}


def set_up_decoder(codec: CodecContext, *, allow_corrupt: bool, limits: VideoLimits) -> None:
    """Before its first packet: how strict a decoder is, and how large a picture may become."""
    codec.options = {"max_pixels": str(limits.frame_pixels)}
    if not allow_corrupt and codec.name not in MARKING_DECODERS:
        codec.options |= {"err_detect": ERROR_DETECTION}


@overload
def decode_packet(packet: Packet[VideoStream], *, allow_corrupt: bool) -> Sequence[VideoFrame]: ...


@overload
def decode_packet(packet: Packet[AudioStream], *, allow_corrupt: bool) -> Sequence[AudioFrame]: ...


def decode_packet(packet: Any, *, allow_corrupt: bool) -> Sequence[Any]:
    """The frames that come out for a packet; with `allow_corrupt` none for one that does not decode.

    Raises:
        FFmpegError: the packet does not decode.
    """
    try:
        return packet.decode()
    except av.FFmpegError:
        if allow_corrupt:
            return []
        raise
