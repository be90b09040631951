"""Which videos are in a split where the data do not say it: a hash of their names decides, the same on every machine.

Clips that were cut from one video belong together: of names such as `v_Diving_g01_c02`, only `v_Diving_g01` is hashed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

HELD_OUT = ("fit", "val")  # four fifths of `train`, and the fifth that is held out of it
_CLIP_OF_GROUP = re.compile(r"(.*_g\d+)_c\d+(\.\w+)?")


def group_of(name: str) -> str:
    """What is hashed of a name: its group where it names one (as UCF101 does), else all of it.

    Example: `v_Diving_g01_c02.avi` -> `v_Diving_g01`;  `diving_2.mp4` -> `diving_2.mp4`.
    """
    found = _CLIP_OF_GROUP.fullmatch(name)
    return found.group(1) if found else name


def hashed_split(name: str) -> str:
    """`test` for about a third of all names and `train` for the others."""
    return "test" if _digest(name)[0] % 3 == 0 else "train"


def is_held_out(name: str) -> bool:
    """Whether a training video is in `val` where the data have no such split: a fifth of all names."""
    return _digest(name)[1] % 5 == 0


def in_split(split: str, *, own: str, name: str, available: Sequence[str]) -> bool:
    """Whether a video is in the split that was asked for.

    `val` of data without it is a fifth of `train`, and `fit` the other four; `train` stays whole. Where the data have
    a `val`, `fit` is `train`.

    Args:
        own: the split that it is listed in.
        name: is hashed.
        available: the splits that the data have.
    """
    if split == "all":
        return True
    if split in available:
        return own == split
    return own == "train" and ("val" in available or is_held_out(name) == (split == "val"))


def check_split(split: str, *, available: Sequence[str], where: str) -> None:
    """Whether there is such a split.

    Raises:
        ValueError: there is not; it lists those that there are.
    """
    known, rest = [*available, "all"], ""
    if "train" in available:
        known += [name for name in HELD_OUT if name not in available]
        if "val" not in available:
            rest = " (val is a fifth of train, by a hash of the paths, and fit the others)"
    if split not in known:
        raise ValueError(f"unknown split {split!r} of {where!r}: there are {', '.join(known)}{rest}")


def _digest(name: str) -> bytes:
    return hashlib.sha256(group_of(name).encode("utf-8", "surrogateescape")).digest()
