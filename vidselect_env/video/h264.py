"""What the headers of H.264 say, read without decoding: enough to tell that a picture is missing.

Section numbers are those of ITU-T H.264.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

SLICE, IDR_SLICE, SPS, PPS = 1, 5, 7, 8  # nal_unit_type, table 7-1; 2 to 4 are parts of slices
# What is read of a unit ends well before: whatever a hostile one says, it is little work.
SLICE_BYTES, PARAMETER_BYTES = 48, 1024
MAX_UNITS = 64  # before the first slice of a packet
MAX_NUMBER_BITS = 16  # of a frame's number (7.4.2.1.1)
# profile_idc of those whose parameter sets tell about chroma and scaling (7.3.2.1.1).
PROFILES_WITH_CHROMA = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
CHROMA_444 = 3


def nal_length_size(extradata: bytes) -> int:
    """Bytes that tell the length of each NAL unit, as the header of MP4 and Matroska (avcC) says; 0: start codes."""
    return (extradata[4] & 3) + 1 if len(extradata) > 4 and extradata[0] == 1 else 0


def nal_units(packet: bytes, length_size: int) -> Iterator[tuple[int, int]]:
    """Start and end of every NAL unit of an access unit; with start codes the end is that of the packet."""
    start = 0
    while True:
        if length_size:
            size = int.from_bytes(packet[start : start + length_size], "big")
            start += length_size
        else:
            code, size = packet.find(b"\0\0\1", start), 0
            start = code + 3 if code >= 0 else len(packet)
        if start >= len(packet):
            return
        yield start, start + size if length_size else len(packet)
        start += size


class _Bits:
    """Numbers out of a NAL unit, bit by bit (7.2, 9.1). Past its end there are zeros."""

    def __init__(self, unit: bytes) -> None:
        payload = unit[1:].replace(b"\0\0\3", b"\0\0")  # bytes that only keep start codes from appearing (7.4.1)
        self._value, self._left = int.from_bytes(payload, "big"), 8 * len(payload)

    def number(self, num_bits: int) -> int:
        self._left -= num_bits
        value = self._value >> self._left if self._left >= 0 else 0
        return value & ((1 << num_bits) - 1)

    def exp_golomb(self) -> int:
        """ue(v): n zeros, a one, n bits."""
        rest = self._value & ((1 << self._left) - 1) if self._left > 0 else 0
        zeros = self._left - rest.bit_length() if rest else 32
        if zeros >= 32:
            self._left -= 32
            return (1 << 32) - 1 + self.number(32)
        self._left -= zeros + 1
        return (1 << zeros) - 1 + self.number(zeros) if zeros else 0

    def signed(self) -> int:
        """se(v): 0, 1, -1, 2, -2 ..."""
        code = self.exp_golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class _Sequence(NamedTuple):
    """Of a sequence parameter set: how frames are numbered."""

    num_bits: int
    gaps_allowed: bool
    has_colour_planes: bool
    only_frames: bool


def _read_sequence(unit: bytes) -> tuple[int, _Sequence | None]:
    """The number of a sequence parameter set, and what it says (7.3.2.1.1); None where that cannot be."""
    bits = _Bits(unit)
    profile, _, number = bits.number(8), bits.number(16), bits.exp_golomb()
    has_colour_planes = False
    if profile in PROFILES_WITH_CHROMA:
        chroma = bits.exp_golomb()
        has_colour_planes = chroma == CHROMA_444 and bool(bits.number(1))
        _ = bits.exp_golomb(), bits.exp_golomb(), bits.number(1)  # depths; whether a transform is left out
        if bits.number(1):
            for place in range(12 if chroma == CHROMA_444 else 8):
                if bits.number(1):
                    _skip_scaling(bits, 16 if place < 6 else 64)
    num_bits = bits.exp_golomb() + 4
    is_sound = num_bits <= MAX_NUMBER_BITS
    kind = bits.exp_golomb()  # of the order of pictures
    if kind == 0:
        bits.exp_golomb()
    elif kind == 1:
        _ = bits.number(1), bits.signed(), bits.signed()
        for _ in range(min(bits.exp_golomb(), 255)):
            bits.signed()
    bits.exp_golomb()  # how many frames are references
    gaps_allowed = bool(bits.number(1))
    _ = bits.exp_golomb(), bits.exp_golomb()  # width and height
    only_frames = bool(bits.number(1))
    return number, _Sequence(num_bits, gaps_allowed, has_colour_planes, only_frames) if is_sound else None


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


class FrameNumbers:
    """Follows the numbers that frames carry (7.4.3), packet by packet in the order of decoding.

    The number of a frame is one more than that of the last frame that others may refer to. FFmpeg fills a gap with
    copies of what it has and marks nothing, though all that follows is made from them up to the next IDR picture.

    Args:
        extradata: the parameter sets at the head of the file, of which packets may hold more.
    """

    def __init__(self, extradata: bytes) -> None:
        self._length_size = nal_length_size(extradata)
        self._sequences: dict[int, _Sequence | None] = {}
        self._sequence_of: dict[int, int] = {}
        self._last: int | None = None
        self._is_known = True
        self.is_reference = True
        if self._length_size:
            self._read_avcc(extradata)
        else:
            self._find_slice(extradata)

    def misses_one(self, packet: Packet[VideoStream]) -> bool:
        """Whether a frame is missing, or one too many, before this packet's.

        Afterwards `is_reference` tells whether others may be made from this packet's frame.
        """
        self.is_reference = True
        if packet.has_sidedata("new_extradata"):
            self._is_known = False  # a file put together from several: its numbers are not followed further
        if not self._is_known:
            return False
        content = bytes(packet)
        found = self._find_slice(content)
        if found is None:
            return False
        head = content[found : found + SLICE_BYTES]
        self.is_reference = bool(head[0] >> 5 & 3)  # nal_ref_idc, the same in all slices of a picture
        bits = _Bits(head)
        _ = bits.exp_golomb(), bits.exp_golomb()  # its place in the picture, and kind
        sequence = self._sequences.get(self._sequence_of.get(bits.exp_golomb(), -1))
        if sequence is None or sequence.gaps_allowed:
            self._last = None
            return False
        if sequence.has_colour_planes:
            bits.number(2)
        number = bits.number(sequence.num_bits)
        is_field = not sequence.only_frames and bool(bits.number(1))
        is_idr = head[0] & 31 == IDR_SLICE
        last, self._last = self._last, number if head[0] >> 5 & 3 else self._last
        if last is None or is_idr:
            return False
        return number != (last + 1) % (1 << sequence.num_bits) and not (is_field and number == last)

    def _find_slice(self, content: bytes) -> int | None:
        """Where the first slice begins; parameter sets before it are read."""
        size = self._length_size
        if size and len(content) > size and SLICE <= content[size] & 31 <= IDR_SLICE:  # as most packets begin
            return size
        for start, end in islice(nal_units(content, size), MAX_UNITS):
            kind = content[start] & 31
            if SLICE <= kind <= IDR_SLICE:
                return start
            self._read_parameters(content[start : min(end, start + PARAMETER_BYTES)])
        return None

    def _read_parameters(self, unit: bytes) -> None:
        kind = unit[0] & 31 if unit else 0
        if kind == SPS:
            number, sequence = _read_sequence(unit)
            self._sequences[number] = sequence
        elif kind == PPS:
            bits = _Bits(unit)
            number = bits.exp_golomb()
            self._sequence_of[number] = bits.exp_golomb()

    def _read_avcc(self, extradata: bytes) -> None:
        """Parameter sets of an MP4 header: five bytes, then twice a count of units with two bytes of length each."""
        place = 5
        for mask in (31, 255):
            count, place = (extradata[place] & mask if place < len(extradata) else 0), place + 1
            for _ in range(count):
                size = int.from_bytes(extradata[place : place + 2], "big")
                unit, place = extradata[place + 2 : place + 2 + size], place + 2 + size
                self._read_parameters(unit[:PARAMETER_BYTES])
