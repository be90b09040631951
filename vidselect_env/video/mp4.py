"""When the frames of a long MP4 are shown, read from its header: its packets need not be gone through.

A header is believed only where it says no more than that: one that leaves anything open (fragments, edits that hide
frames, tables that do not agree with each other or with the first packets, samples outside the file) gives None.
Names of boxes are those of ISO/IEC 14496-12. Shapes: N samples, the packets of a track as they are stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vidselect_env.video.limits import VideoLimits

MAX_BOXES = 1024  # in a box, or in the file, before the one sought
MAX_HEADER_BYTES = 2**28
KEY, DISCARD = 1, 2  # flags of FFmpeg's entries
Entry = tuple[int | None, bool]


def header_entries(
    container: InputContainer, stream: VideoStream, *, first: Sequence[Entry], limits: VideoLimits
) -> list[Entry] | None:
    """Time of presentation, in the stream's units, and whether it is a keyframe, of all N packets as they are stored.

    Args:
        first: the same of the first packets, as they were read. They tell by how much edits and delays shift the times.

    Returns None where the header does not tell, or not for certain.
    """
    promised = stream.index_entries
    if "mov" not in container.format.name or not len(first) <= len(promised) <= limits.frames:
        return None
    found = np.array([(each.timestamp, each.pos, each.size, each.flags) for each in promised], np.int64)
    decoded, places, sizes, flags = found.T
    is_key = (flags & KEY).astype(np.bool_)
    is_sound = sizes.min() > 0 and places.min() >= 0 and (places + sizes).max() <= container.size
    if not is_sound or (flags & DISCARD).any() or is_key.all() or not first or first[0][0] is None:
        return None
    tables = _time_tables(container.name.removeprefix("file:"), track=stream.id, num_samples=len(promised))
    if tables is None or (np.diff(decoded) != tables[0][:-1]).any():
        return None
    shown = decoded + tables[1]
    shown += first[0][0] - shown[0]
    entries: list[Entry] = list(zip(shown.tolist(), is_key.tolist(), strict=True))
    return entries if entries[: len(first)] == list(first) else None


def _time_tables(path: str, *, track: int, num_samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """How long each sample lasts, and how long after its decoding it is shown: (N,) each, in the track's units."""
    try:
        with open(path, "rb") as file:
            movie = _movie_box(file)
    except OSError:
        return None
    for kind, box in _boxes(movie):
        if kind != b"trak":
            continue
        header = _inside(box, b"tkhd")
        place = 20 if header[:1] == b"\1" else 12  # version 1 has longer times before its number
        if int.from_bytes(header[place : place + 4], "big") != track:
            continue
        table = _inside(box, b"mdia", b"minf", b"stbl")
        delays = _inside(table, b"ctts")
        durations = _per_sample(_inside(table, b"stts"), num_samples)
        shown = _per_sample(delays, num_samples) if delays else np.zeros(num_samples, np.int64)
        return None if durations is None or shown is None else (durations, shown)
    return None


def _per_sample(table: memoryview, num_samples: int) -> NDArray[np.int64] | None:
    """The values of a table of (count, value), one a sample: (N,); None where it has not as many.

    Example: counts and values (2, 512), (1, 1024) -> 512, 512, 1024.
    """
    num_runs = int.from_bytes(table[4:8], "big")
    if len(table) < 8 + 8 * num_runs:
        return None
    counts, values = np.frombuffer(table, ">i4", 2 * num_runs, offset=8).reshape(-1, 2).astype(np.int64).T
    if not num_runs or counts.min() < 1 or counts.sum() != num_samples:
        return None
    return np.repeat(values, counts)


def _movie_box(file: BinaryIO) -> memoryview:
    """What is in the file's `moov`; nothing where there is none, or too large a one."""
    place, num_bytes = 0, file.seek(0, os.SEEK_END)
    for _ in range(MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        size, start = _size_of(head, num_bytes - place)
        if size < start:
            break
        if head[4:8] == b"moov" and size <= MAX_HEADER_BYTES:
            file.seek(place + start)
            return memoryview(file.read(size - start))
        place += size
    return memoryview(b"")


def _size_of(head: bytes | memoryview, left: int) -> tuple[int, int]:
    """Bytes of a box by its first ones, and of these before its content; 0 bytes where it does not end in time."""
    size, start = int.from_bytes(head[:4], "big"), 8
    if size == 1:
        size, start = int.from_bytes(head[8:16], "big"), 16
    elif size == 0:  # up to the end
        size = left
    return (size if size <= left else 0), start


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of the boxes in a box."""
    for _ in range(MAX_BOXES):
        size, start = _size_of(content[:16], len(content))
        if size < start:
            return
        yield bytes(content[4:8]), content[start:size]
        content = content[size:]


def _inside(content: memoryview, *kinds: bytes) -> memoryview:
    """What is in the first box of the first kind, and in that of the second, and so on; nothing where there is none."""
    for kind in kinds:
        content = next((box for name, box in _boxes(content) if name == kind), content[:0])
    return content
