"""Motion vectors as FFmpeg exports them, and what an H.264 file says of how its frames are coded.

Shapes: H x W pixels of a picture, gh x gw cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vidselect_env.video.h264 import IDR_SLICE, SLICE, nal_length_size, nal_units
from vidselect_env.video.opening import open_video

# A frame shown before its reference is at most so many frames earlier: what H.264 can hold, and encoders offer.
MAX_B_FRAMES = 16
BLOCK, CELL = 8, 16  # pixels of the smallest block that FFmpeg tells, and of a macroblock


class Coded(NamedTuple):
    """place: in the order of decoding. is_reference: whether other frames may refer to the frame."""

    place: int
    is_reference: bool


def read_coding(path: str) -> dict[int, Coded]:
    """How every frame of an H.264 file is coded, by its timestamp; from its packets, decoding nothing."""
    with open_video(path) as (container, stream):
        length_size = nal_length_size(stream.codec_context.extradata or b"")
        return {
            packet.pts: Coded(place, _is_reference(bytes(packet), length_size))
            for place, packet in enumerate(container.demux(stream))
            if packet.pts is not None
        }


def _is_reference(packet: bytes, length_size: int) -> bool:
    """Whether the first slice of an H.264 access unit says so: nal_ref_idc (ITU-T H.264, section 7.4.1)."""
    heads = (packet[start] for start, _ in nal_units(packet, length_size))
    return next((head >> 5 & 3 > 0 for head in heads if SLICE <= head & 31 <= IDR_SLICE), False)


class Vectors(NamedTuple):
    """Where the blocks of a picture come from, in the past and in the future.

    motion: (2, H / 8, W / 8, 2) float32 pixels, x and y, from a block to its origin in the reference.
    present: (2, H / 8, W / 8) bool.
    """

    motion: NDArray[np.float32]
    present: NDArray[np.bool_]


def no_vectors(stored: tuple[int, int]) -> Vectors:
    height, width = (-(-side // CELL) * CELL // BLOCK for side in stored)
    return Vectors(np.zeros((2, height, width, 2), np.float32), np.zeros((2, height, width), np.bool_))


def read_vectors(frame: VideoFrame, stored: tuple[int, int]) -> Vectors:
    """The vectors that a decoder exported with a frame, laid out on the picture."""
    motion, present = vectors = no_vectors(stored)
    side_data = frame.side_data.get("MOTION_VECTORS")
    if side_data is None:  # all of the frame is intra-coded
        return vectors
    exported = side_data.to_ndarray()
    high, wide = present.shape[1:]
    # The picture as it is coded may be larger than what is shown of it.
    exported = exported[(exported["dst_x"] < wide * BLOCK) & (exported["dst_y"] < high * BLOCK)]
    pixels = np.stack([exported["motion_x"], exported["motion_y"]], axis=1) / exported["motion_scale"][:, None]
    height, width = exported["h"], exported["w"]
    top, left = (exported["dst_y"] - height // 2) // BLOCK, (exported["dst_x"] - width // 2) // BLOCK
    is_future = exported["source"] > 0
    first = (is_future.astype(np.intp) * high + top) * wide + left
    for down in range(CELL // BLOCK):
        for right in range(CELL // BLOCK):
            covers = (height > down * BLOCK) & (width > right * BLOCK)
            at = first[covers] + (down * wide + right)
            motion.reshape(-1, 2)[at], present.reshape(-1)[at] = pixels[covers], True
    if is_future.any():
        # Of a divided macroblock FFmpeg exports vectors in both directions for each part as soon as one part
        # has both: zero is then what stands where there is none.
        parts = exported[(height < CELL) | (width < CELL)]
        divided = np.zeros((high * BLOCK // CELL, wide * BLOCK // CELL), np.bool_)
        divided[parts["dst_y"] // CELL, parts["dst_x"] // CELL] = True
        in_divided = divided.repeat(CELL // BLOCK, axis=0).repeat(CELL // BLOCK, axis=1)
        is_zero = (motion[..., 0] == 0) & (motion[..., 1] == 0)
        present &= ~(in_divided & present[::-1] & is_zero & ~is_zero[::-1])
    return vectors


def direct(anchor: Vectors, share: float) -> Vectors:
    """Vectors of an MPEG-4 B-frame, for which FFmpeg exports zeros: those of the standard's direct mode.

    The blocks of the P-frame `anchor` that follows move evenly; `share` of the way lies before the B-frame.
    """
    past = anchor.motion[0] * np.float32(share)
    return Vectors(np.stack([past, past - anchor.motion[0]]), np.stack([anchor.present[0]] * 2))


def block_displacement(vectors: Vectors, steps: Sequence[int]) -> NDArray[np.float32]:
    """(2, gh, gw) in pixels a frame of the stored picture; what came from the past has moved the other way.

    Args:
        steps: frames to the earlier reference (negative) and to the later one.
    """
    speed = np.zeros_like(vectors.motion[0])
    for motion, present, step in zip(*vectors, steps, strict=True):
        speed += motion * (present / np.float32(step or 1))[..., None]
    speed /= np.where(vectors.present[0] & vectors.present[1], np.float32(2), np.float32(1))[..., None]
    pairs = speed[0::2] + speed[1::2]
    return ((pairs[:, 0::2] + pairs[:, 1::2]) / 4).transpose(2, 0, 1)


def upright(displacement: NDArray[np.float32], quarter_turns: int) -> NDArray[np.float32]:
    """Turn a field (2, gh, gw) anticlockwise, its arrows with it: what went right goes up."""
    for _ in range(quarter_turns):
        x, y = np.rot90(displacement, axes=(1, 2))
        displacement = np.stack([y, -x])
    return displacement


def frames_to_decode(wanted: NDArray[np.int64], num_frames: int, is_key: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The `wanted` frames, and those after each up to the next keyframe, or `MAX_B_FRAMES` where that is far.

    Example: keyframes 0, 12, 24 and wanted 10, 12 -> 10, 11, 12.
    """
    keys = np.append(np.flatnonzero(is_key), num_frames - 1).astype(np.int64)
    ends = np.minimum(wanted + MAX_B_FRAMES, keys[np.searchsorted(keys[:-1], wanted)])
    spans = [np.arange(start, end + 1) for start, end in zip(wanted.tolist(), ends.tolist(), strict=True)]
    return np.unique(np.concatenate([wanted, *spans]))
