"""Ways to damage a video file, each fixed by a seed. Run in the trials' own process: see `video_trial.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import av
from av.packet import Packet

BLOCK_BYTES = (16, 188, 1500)
EXTENSIONS = (".avi", ".mkv", ".ts", ".txt", ".jpg", ".m3u8", ".h264", ".wav", "")
LARGE_NUMBERS = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x00",
)


def mutate(original: Path, target: Path, *, mutation: str, seed: int) -> Path:
    """Write a damaged copy; gives its path, `target` with the extension that belongs to it."""
    rng = Random(f"{original.name} {mutation} {seed}")
    if mutation == "wrong extension":
        damaged = target.with_suffix(rng.choice([each for each in EXTENSIONS if each != original.suffix]))
        shutil.copyfile(original, damaged)
    elif mutation in PACKET_MUTATIONS:
        damaged = target.with_suffix(original.suffix)
        _remux(original, damaged, PACKET_MUTATIONS[mutation], rng)
    else:
        damaged = target.with_suffix(original.suffix)
        damaged.write_bytes(BYTE_MUTATIONS[mutation](bytearray(original.read_bytes()), rng))
    return damaged


def _header_and_media(data: bytearray) -> tuple[range, range]:
    """Where a file tells about itself and where the media lie: boxes of MP4, else the first 600 bytes and the rest."""
    if data[4:8] != b"ftyp":
        return range(min(600, len(data))), range(min(600, len(data) - 1), len(data))
    boxes: dict[bytes, range] = {}
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big") or len(data) - place
        boxes[bytes(data[place + 4 : place + 8])] = range(place, place + size)
        place += max(size, 8)
    return boxes.get(b"moov", range(600)), boxes.get(b"mdat", range(600, len(data)))


def _flip(data: bytearray, where: range, rng: Random, count: int) -> bytes:
    for _ in range(count):
        data[rng.choice(where)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _block(data: bytearray, rng: Random, *, in_header: bool = False) -> slice:
    where = _header_and_media(data)[not in_header]
    size = min(rng.choice(BLOCK_BYTES), len(where) // 4)
    start = rng.randrange(where.start, where.stop - size)
    return slice(start, start + size)


def _truncate(data: bytearray, rng: Random) -> bytes:
    return bytes(data[: int(len(data) * rng.uniform(0.02, 0.99))])


def _overwrite(data: bytearray, block: slice, content: bytes) -> bytes:
    data[block] = content
    return bytes(data)


def _swap_blocks(data: bytearray, rng: Random) -> bytes:
    first = _block(data, rng)
    size = first.stop - first.start
    start = rng.choice(_header_and_media(data)[1][:-size])
    second = slice(start, start + size)
    data[first], data[second] = data[second], data[first]
    return bytes(data)


def _zero_block(data: bytearray, rng: Random) -> bytes:
    block = _block(data, rng)
    return _overwrite(data, block, bytes(block.stop - block.start))


def _zero_header(data: bytearray, rng: Random) -> bytes:
    block = _block(data, rng, in_header=True)
    return _overwrite(data, block, bytes(block.stop - block.start))


def _noise_block(data: bytearray, rng: Random) -> bytes:
    block = _block(data, rng)
    return _overwrite(data, block, rng.randbytes(block.stop - block.start))


def _delete_block(data: bytearray, rng: Random) -> bytes:
    return _overwrite(data, _block(data, rng), b"")


def _repeat_block(data: bytearray, rng: Random) -> bytes:
    block = _block(data, rng)
    return _overwrite(data, block, bytes(data[block]) * 2)


def _insert_noise(data: bytearray, rng: Random) -> bytes:
    start = rng.randrange(len(data))
    return _overwrite(data, slice(start, start), rng.randbytes(rng.choice(BLOCK_BYTES)))


def _large_number(data: bytearray, rng: Random) -> bytes:
    start = rng.choice(_header_and_media(data)[0][:-4])
    return _overwrite(data, slice(start, start + 4), rng.choice(LARGE_NUMBERS))


BYTE_MUTATIONS: dict[str, Callable[[bytearray, Random], bytes]] = {
    "truncated": _truncate,
    "one bit of the media": lambda data, rng: _flip(data, _header_and_media(data)[1], rng, 1),
    "many bits of the media": lambda data, rng: _flip(data, _header_and_media(data)[1], rng, 20),
    "one bit of the header": lambda data, rng: _flip(data, _header_and_media(data)[0], rng, 1),
    "many bits of the header": lambda data, rng: _flip(data, _header_and_media(data)[0], rng, 8),
    "first bytes": lambda data, rng: _flip(data, range(48), rng, 4),
    "zeroed block": _zero_block,
    "zeroed header": _zero_header,
    "noise block": _noise_block,
    "swapped blocks": _swap_blocks,
    "deleted block": _delete_block,
    "repeated block": _repeat_block,
    "inserted noise": _insert_noise,
    "large number": _large_number,
    "written twice": lambda data, rng: bytes(data) * 2,
    "noise before": lambda data, rng: rng.randbytes(rng.choice(BLOCK_BYTES)) + bytes(data),
}


def _remux(
    original: Path, target: Path, change: Callable[[list[Packet], Random], Sequence[tuple[Packet, bytes]]], rng: Random
) -> None:
    """Write the video's packets after a change into a whole, new file of the same format."""
    with av.open(str(original)) as source, av.open(str(target), "w") as sink:
        stream = source.streams.best("video")
        out = sink.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        last_dts = None
        for packet, content in change(packets, rng):
            copy = Packet(content)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.duration = packet.is_keyframe, packet.duration
            if last_dts is not None and copy.dts <= last_dts:  # no muxer takes times of decoding that do not ascend
                copy.dts = last_dts + 1
                copy.pts = max(copy.pts, copy.dts)
            last_dts = copy.dts
            copy.stream = out
            sink.mux(copy)


def _whole(packets: list[Packet]) -> list[tuple[Packet, bytes]]:
    return [(packet, bytes(packet)) for packet in packets]


def _drop_packets(packets: list[Packet], rng: Random) -> list[tuple[Packet, bytes]]:
    dropped = set(rng.sample(range(1, len(packets)), 2))
    return [each for number, each in enumerate(_whole(packets)) if number not in dropped]


def _repeat_packets(packets: list[Packet], rng: Random) -> list[tuple[Packet, bytes]]:
    at = rng.randrange(1, len(packets))
    whole = _whole(packets)
    return [*whole[:at], whole[at - 1], *whole[at:]]


def _swap_packets(packets: list[Packet], rng: Random) -> list[tuple[Packet, bytes]]:
    """Two packets change their contents and keep their times."""
    first, second = rng.sample(range(len(packets)), 2)
    whole = _whole(packets)
    contents = [content for _, content in whole]
    contents[first], contents[second] = contents[second], contents[first]
    return list(zip(packets, contents, strict=True))


def _halve_packet(packets: list[Packet], rng: Random) -> list[tuple[Packet, bytes]]:
    at = rng.randrange(len(packets))
    return [(p, c[: len(c) // 2] if number == at else c) for number, (p, c) in enumerate(_whole(packets))]


def _flip_in_packets(packets: list[Packet], rng: Random) -> list[tuple[Packet, bytes]]:
    at = rng.randrange(len(packets))
    whole = _whole(packets)
    content = bytearray(whole[at][1])
    whole[at] = (whole[at][0], _flip(content, range(len(content)), rng, 3))
    return whole


PACKET_MUTATIONS: dict[str, Callable[[list[Packet], Random], Sequence[tuple[Packet, bytes]]]] = {
    "lost packets": _drop_packets,
    "repeated packet": _repeat_packets,
    "swapped packets": _swap_packets,
    "halved packet": _halve_packet,
    "bits of a packet": _flip_in_packets,
}
