"""What is there, said before hours are spent on it: videos, classes, clips, bytes, and what cannot be learned."""

from __future__ import annotations

import os

import torch

from vidselect_env.datasets import VideoDataset
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.sources.base import Source

MOST_CLASSES = 10  # that are listed by name


def describe_dataset(dataset: VideoDataset, *, num_clips: int | None) -> list[str]:
    """A line of what a split holds, and a warning of what makes learning pointless.

    Args:
        num_clips: candidates of each video; None where that depends on its length.

    Example: `train: 8 videos of 2 classes (left 4, right 4), 0.3 MB, 6 clips each, 48 in all`.
    """
    counts = [0] * len(dataset.class_names)
    for video in dataset.videos:
        for label in video.labels:
            counts[label] += 1
    names = [f"{name} {count}" for name, count in zip(dataset.class_names, counts, strict=True)]
    listed = ", ".join([*names[:MOST_CLASSES], *(["..."] if len(names) > MOST_CLASSES else [])])
    files = {video.path for video in dataset.videos}
    megabytes = sum(os.path.getsize(path) for path in files if os.path.exists(path)) / 1e6
    clips = "" if num_clips is None else f", {num_clips} clips each, {num_clips * len(dataset)} in all"
    lines = [f"{dataset.split}: {len(dataset)} videos of {len(names)} classes ({listed}), {megabytes:.1f} MB{clips}"]
    if len(counts) == 1:
        lines.append(f"warning: {dataset.split} has one class only: every answer is right, and nothing can be learned")
    elif empty := [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]:
        lines.append(f"warning: {dataset.split} has no video of {', '.join(empty[:MOST_CLASSES])}")
    return lines


def describe_answers(source: Source, *, split: str) -> list[str]:
    """A line of how often the classifier is right about a split's clips, and a warning where choice changes nothing."""
    counts = [_right_of(source, video) for video in range(len(source.video_paths))]
    of_clips = sum(right for right, _ in counts) / sum(count for _, count in counts)
    open_videos = sum(0 < right < count for right, count in counts) / len(counts)
    lines = [
        f"{split}: the classifier is right about {100 * of_clips:.1f} % of the clips; "
        f"in {100 * open_videos:.1f} % of the videos it depends on the clip"
    ]
    if of_clips in (0, 1):
        said = "right" if of_clips else "wrong"
        lines.append(f"warning: the classifier is {said} about every clip of {split}: whatever is chosen is {said}")
    return lines


def describe_problem(problem: SelectionProblem) -> list[str]:
    """A warning where sections offer candidates more than once."""
    repeats = problem.repeats() if isinstance(problem, ClipSelectProblem) else None
    return [] if repeats is None else [f"warning: {repeats}"]


def _right_of(source: Source, video: int) -> tuple[int, int]:
    """How many clips of a video the classifier is right about, and how many there are."""
    count = int(source.num_candidates[video])
    candidates = torch.arange(count, device=source.device)[None]
    best = source.probabilities(torch.tensor([video], device=source.device), candidates)[0].argmax(-1)
    return int(source.targets[video][best].sum()), count
