"""The most that one file may ask for: what it says of itself is checked before it takes memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from vidselect_env.video.errors import VideoError


@dataclass(frozen=True, kw_only=True)
class VideoLimits:
    """What a file may ask for. One that asks for more is refused with a `VideoError`, others go on.

    Args:
        frames: of a video; the default is 37 hours at 30 frames/s.
        frame_pixels: height times width of a frame; the default is twice 8K. Decoders hold up to 17 frames.
        output_bytes: what one call gives back of frames, at the sizes that are wanted.
        sound_s: seconds of sound held at once; an hour takes 230 MB at 16 kHz.
        window_s: seconds of one window of sound: its transform takes 32 bytes a sample.

    Raises:
        ValueError: a limit is not positive.
    """

    frames: int = 4_000_000
    frame_pixels: int = 2**26
    output_bytes: int = 2**34
    sound_s: float = 12 * 3600.0
    window_s: float = 600.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) > 0:
                raise ValueError(f"limit {limit.name} ({getattr(self, limit.name)}) must be positive")

    def check(self, path: str | os.PathLike[str], **asked: float) -> None:
        """Compare what a file asks for with the limits of the same names.

        Raises:
            VideoError: it asks for more.
        """
        for name, value in asked.items():
            limit = getattr(self, name)
            if not value <= limit:  # nan is refused too
                raise VideoError(path, f"it asks for {name} {value:,}: must be at most {limit:,} (VideoLimits)")


DEFAULT_LIMITS = VideoLimits()
