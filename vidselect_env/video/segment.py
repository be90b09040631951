"""Which frames of a file belong to a part of it: arithmetic on timestamps; nothing here opens a file.

Seconds are of the file: 0 is the time of its first frame.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# Seconds that are sums or quotients of others are a little off; a time base is never so fine.
ROUNDING_S = Fraction(1, 1_000_000)


def check_segment(start_s: float | None, end_s: float | None, *, name: str = "") -> None:
    """Whether [start_s, end_s) can be a part of some file; None stands for the file's own start or end.

    Args:
        name: put before `start_s` and `end_s` in messages.

    Raises:
        ValueError: it begins before the file, or does not end after its start.
    """
    for which, value in (("start_s", start_s), ("end_s", end_s)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}{which} ({value:g}) must be a number of seconds, at least 0")
    if end_s is not None and end_s <= (start_s or 0):
        raise ValueError(f"{name}end_s ({end_s:g}) must be after {name}start_s ({start_s or 0:g})")


def frames_shown(pts: NDArray[np.int64], *, time_base: Fraction, start_s: float | None, end_s: float | None) -> slice:
    """Numbers of the frames that are shown in [start_s, end_s): the first, and the one after the last.

    A microsecond is forgiven: 0.30000000000000004 s includes the frame at 0.3 s.

    Args:
        pts: (num_frames,) of the file, sorted, in units of `time_base` seconds.

    Example: 25 frames/s, [0.08, 0.2) -> the frames at 0.08, 0.12 and 0.16 s, slice(2, 5).
    """

    def first_at(second: float) -> int:
        units = math.ceil((Fraction(second) - ROUNDING_S) / time_base)
        return int(np.searchsorted(pts - pts[0], units))

    return slice(0 if start_s is None else first_at(start_s), len(pts) if end_s is None else first_at(end_s))
