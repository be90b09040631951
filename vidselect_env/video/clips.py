"""Index arithmetic: which frames make a clip, where a grid lays clips, which clips a section offers.

Pure functions on integers and tensors; nothing here opens a file.
Shapes: L candidate clips of a grid, M sections, N clips a section, T frames a clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ClipGrid:
    """Candidate clips laid on a video.

    Args:
        num_clips: how many, evenly spaced so that the first starts with the video and the last ends with
            it (they overlap in a short video); None lays clips end to end, as many as fit (at least one).
        num_frames: frames a clip, T.
        frame_stride: frames from one frame of a clip to its next.

    With `num_frames=3, frame_stride=2` a clip spans 5 frames; three clips on a video of 11 frames::

        frame      0 1 2 3 4 5 6 7 8 9 10
        clip 0     x . x . x
        clip 1           x . x . x
        clip 2                 x . x . x

    Raises:
        ValueError: a count is not positive.
    """

    num_clips: int | None
    num_frames: int
    frame_stride: int = 1

    def __post_init__(self) -> None:
        for name in ("num_clips", "num_frames", "frame_stride"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")

    @property
    def span(self) -> int:
        """Frames from the first to the last of a clip, both counted."""
        return (self.num_frames - 1) * self.frame_stride + 1

    def starts(self, num_video_frames: int) -> Tensor:
        """First frame of every candidate, (L,) int64, sorted.

        A video shorter than a clip has all its clips start at frame 0.

        Example: span 5, `num_clips=3`, 11 frames -> [0, 3, 6].
        """
        if num_video_frames < 1:
            raise ValueError(f"num_video_frames ({num_video_frames}) must be at least 1")
        last = max(num_video_frames - self.span, 0)
        if self.num_clips is None:
            return torch.arange(0, last + 1, self.span)
        if self.num_clips == 1:
            return torch.tensor([last // 2])
        return torch.arange(self.num_clips) * last // (self.num_clips - 1)

    def first_alike(self, num_video_frames: int) -> Tensor:
        """The first candidate that has the same frames as each: (L,) int64.

        Example: 4 clips of span 5 on a video of 7 frames start at [0, 0, 1, 2] -> [0, 0, 2, 3].
        """
        starts = self.starts(num_video_frames)
        return torch.searchsorted(starts, starts)

    def frame_indices(self, num_video_frames: int) -> Tensor:
        """Frames of every candidate, (L, T) int64; past the end, the last frame repeats.

        Example: `num_frames=3, frame_stride=2`, a clip that starts at 10 -> [10, 12, 14].
        """
        steps = torch.arange(self.num_frames) * self.frame_stride
        frames = self.starts(num_video_frames)[:, None] + steps
        return frames.clamp(max=num_video_frames - 1)


def section_candidates(num_candidates: int, num_sections: int, num_clips: int) -> Tensor:
    """Candidates that each section offers: (M, N) int64 into a grid of `num_candidates`.

    The video is cut into M parts of equal duration and N candidates are taken evenly from each (DSN,
    section III-A): from the middle of N equal parts of the section. A section with fewer candidates than
    N offers some of them more than once.

    Example: 30 candidates, M=3, N=2 -> [[2, 7], [12, 17], [22, 27]].

    Raises:
        ValueError: a count is not positive.
    """
    for name, value in (
        ("num_candidates", num_candidates),
        ("num_sections", num_sections),
        ("num_clips", num_clips),
    ):
        if value < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")
    slots = num_sections * num_clips
    # Slot k covers [k, k+1) * num_candidates / slots of the grid's axis; its middle is at (2k+1)/(2 slots).
    middles = (2 * torch.arange(slots) + 1) * num_candidates // (2 * slots)
    return middles.view(num_sections, num_clips)


def section_parts(num_candidates: int, num_sections: int, num_clips: int) -> Tensor:
    """From which candidates each clip of a section may be drawn: (M, N, 2) int64, the first and one past the last.

    A section's N equal parts are cut on the grid's axis, and a candidate belongs to the part that its middle lies in:
    every candidate to one, and the one that `section_candidates` takes to its own. Where the slots are more than the
    candidates, a part is that one alone.

    Example: 10 candidates, M=2, N=2 -> [[[0, 2], [2, 5]], [[5, 7], [7, 10]]], whose middles are 1, 3, 6 and 8.
    """
    middles = section_candidates(num_candidates, num_sections, num_clips)
    slots = num_sections * num_clips
    if num_candidates < slots:
        return torch.stack([middles, middles + 1], dim=-1)
    # Candidate j has its middle at j + 1/2: the first one at or past the edge k * num_candidates / slots.
    edges = (2 * num_candidates * torch.arange(slots + 1) - slots + 2 * slots - 1) // (2 * slots)
    return torch.stack([edges[:-1], edges[1:]], dim=-1).view(num_sections, num_clips, 2)


def even_frames(num_frames: int, length: int) -> Tensor:
    """Positions of `length` frames spread evenly over a clip of `num_frames`: (length,) int64.

    Example: 8 frames, length 4 -> [1, 3, 5, 7];  2 frames, length 4 -> [0, 0, 1, 1].
    """
    return section_candidates(num_frames, length, 1).squeeze(1)


def middle_frames(num_frames: int, length: int) -> Tensor:
    """Positions of the `length` middle frames of a clip of `num_frames`: (length,) int64.

    A clip shorter than that gives its frames evenly repeated, in order.

    Example: 32 frames, length 8 -> 12 ... 19;  4 frames, length 8 -> [0, 0, 1, 1, 2, 2, 3, 3].
    """
    if length < 1 or num_frames < 1:
        raise ValueError(f"length ({length}) and num_frames ({num_frames}) must be at least 1")
    if num_frames >= length:
        return torch.arange(length) + (num_frames - length) // 2
    return torch.arange(length) * num_frames // length
