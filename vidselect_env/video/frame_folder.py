"""A folder of pictures read as a video: Something-Something V1 and Jester are distributed so.

FFmpeg's image2 demuxer opens such a folder, and everything that reads video files then reads it too: every picture
is a keyframe, and frame i is the i-th picture in the order of their numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from vidselect_env.video.errors import VideoError

# A folder of pictures states no rate. Both datasets were cut into pictures at this one.
FRAMES_PER_SECOND = 12

_PICTURE = re.compile(r"(.*?)(\d+)(\.(?:jpe?g|png))", re.IGNORECASE)


class FramePattern(NamedTuple):
    """Files named `prefix`, a number padded with zeros to `num_digits`, `suffix`: `num_pictures`, from `first` on."""

    prefix: str
    num_digits: int
    suffix: str
    first: int
    num_pictures: int

    def file_name(self, number: int) -> str:
        return f"{self.prefix}{number:0{self.num_digits}d}{self.suffix}"


def input_of(path: str | os.PathLike[str]) -> tuple[str, str | None, Mapping[str, str]]:
    """What FFmpeg opens for a path: address, format (None: as the file tells) and options.

    Raises:
        VideoError: the path is a folder, and not one of numbered pictures.
    """
    # `file:` keeps names such as `a:b.mp4` from being taken for an address on a network.
    address = f"file:{os.fspath(path)}"
    if not os.path.isdir(path):
        return address, None, {}
    pattern = frame_pattern(path)
    folder, prefix, suffix = (text.replace("%", "%%") for text in (address, pattern.prefix, pattern.suffix))
    options = {
        "framerate": str(FRAMES_PER_SECOND),
        "pattern_type": "sequence",
        "start_number": str(pattern.first),
        "start_number_range": "1",
    }
    return f"{folder}/{prefix}%0{pattern.num_digits}d{suffix}", "image2", options


def frame_pattern(folder: str | os.PathLike[str]) -> FramePattern:
    """How the pictures of a folder are numbered; files that are no pictures do not count.

    Example: 00001.jpg to 00036.jpg -> prefix "", 5 digits, ".jpg", first 1, 36 pictures.

    Raises:
        VideoError: the folder cannot be listed or has no picture, one is missing between the first and the last, or
            their names are not alike but for the number.
    """
    try:
        found = {name: match for name in os.listdir(folder) if (match := _PICTURE.fullmatch(name))}
    except OSError as error:
        raise VideoError(folder, f"the folder cannot be listed: {error.strerror}") from error
    if not found:
        raise VideoError(folder, "Is a directory, and not one of numbered pictures (00001.jpg, 00002.jpg ...)")
    first = min(found, key=lambda name: int(found[name][2]))
    prefix, digits, suffix = found[first].groups()
    pattern = FramePattern(prefix, len(digits), suffix, int(digits), len(found))
    for number in range(pattern.first, pattern.first + pattern.num_pictures):
        if pattern.file_name(number) not in found:
            raise VideoError(folder, f"picture {pattern.file_name(number)!r} is missing: it has {len(found)} pictures")
    return pattern
