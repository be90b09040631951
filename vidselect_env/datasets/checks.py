"""What is wrong with a list of videos before any is read: it contradicts itself, or something was left out of it."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import warnings
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

HEAD_BYTES = 1 << 16
ROUNDING_S = 1e-6


@dataclass(frozen=True)
class Listed:
    """A video as a dataset lists it. named: how a message names it. labels, split: names."""

    path: str
    named: str
    labels: frozenset[str]
    split: str
    segment_s: tuple[float | None, float | None] = (None, None)

    @property
    def span_s(self) -> tuple[float, float]:
        start_s, end_s = self.segment_s
        return start_s or 0.0, math.inf if end_s is None else end_s


def warn_left_out(where: str, left_out: Mapping[str, Sequence[str]]) -> None:
    """One warning with what was left out, why, and how many.

    Args:
        left_out: from the reason (`hidden files`) to the names.
    """
    parts = [f"{len(names)} {reason} (such as {names[0]!r})" for reason, names in left_out.items() if names]
    if parts:
        warnings.warn(f"{where!r}: left out {'; '.join(parts)}", stacklevel=2)


def check_apart(where: str, videos: Sequence[Listed]) -> None:
    """Whether no file, or part of one, is in two splits or under two classes. A copy is the same file.

    Parts of one file that do not overlap may be in different splits; that is warned of.

    Raises:
        ValueError: the data contradict themselves; it names the first two videos, and how many more there are.
    """
    by_file: dict[Hashable, list[Listed]] = defaultdict(list)
    for video, identity in zip(videos, _identities([video.path for video in videos]), strict=True):
        by_file[identity].append(video)
    wrong: list[str] = []
    num_shared = 0
    for group in by_file.values():
        clashes = _clashes(group)
        wrong += clashes
        num_shared += not clashes and len({video.split for video in group}) > 1
    if wrong:
        more = f", and {len(wrong) - 1} more such pairs" if len(wrong) > 1 else ""
        raise ValueError(f"{where!r}: {wrong[0]}{more}")
    if num_shared:
        warnings.warn(f"{where!r}: {num_shared} files have parts in several splits", stacklevel=2)


def _clashes(group: Sequence[Listed]) -> list[str]:
    """Sentences on the videos of one file that contradict each other."""
    found = []
    latest: dict[str, Listed] = {}  # of each split, the video that ends last of those that began before
    of_part: dict[tuple, Listed] = {}
    for video in sorted(group, key=lambda each: each.span_s):
        first = of_part.setdefault((video.split, video.span_s), video)
        if first.labels != video.labels:
            classes = ", ".join(sorted(first.labels ^ video.labels))
            found.append(f"{first.named} and {video.named} are one file under different classes ({classes})")
        for split, other in latest.items():
            if split != video.split and video.span_s[0] < other.span_s[1] - ROUNDING_S:
                found.append(f"{other.named} and {video.named} are one file in both {split} and {video.split}")
        if video.split not in latest or latest[video.split].span_s[1] < video.span_s[1]:
            latest[video.split] = video
    return found


def _identities(paths: Sequence[str]) -> list[Hashable]:
    """Equal of paths that lead to one file or to files of equal content; of a file that is not there, its path."""
    own: list[Hashable] = []
    of_size: dict[int, dict[Hashable, str]] = defaultdict(dict)
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            own.append(os.path.normpath(path))
            continue
        own.append((status.st_dev, status.st_ino))
        if stat.S_ISREG(status.st_mode) and status.st_size:
            of_size[status.st_size][own[-1]] = path
    same: dict[Hashable, Hashable] = {}
    for size, files in of_size.items():
        if len(files) > 1:
            same |= _same_content(files, size)
    return [same.get(identity, identity) for identity in own]


def _same_content(files: Mapping[Hashable, str], size: int) -> dict[Hashable, Hashable]:
    """The hash of each of several files of one size, where their heads do not tell them apart."""
    of_head: dict[Hashable, list[Hashable]] = defaultdict(list)
    for identity, path in files.items():
        of_head[_content(path, size, HEAD_BYTES)].append(identity)
    return {
        identity: _content(files[identity], size, size)
        for identities in of_head.values()
        if len(identities) > 1
        for identity in identities
    }


@lru_cache(maxsize=1 << 16)
def _content(path: str, size: int, num_bytes: int) -> Hashable:
    """A hash of a file's first bytes; its path where it cannot be read. `size` tells a changed file from the former."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while num_bytes > 0 and (block := stream.read(min(num_bytes, 1 << 20))):
                digest.update(block)
                num_bytes -= len(block)
    except OSError:
        return path
    return digest.digest()
