"""What a dataset hands over: the videos of one split, with their labels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledVideo:
    """A video file and its class indices: one for most datasets, several for multi-label ones.

    action_spans_s: where the action is, (start, end) in seconds, where that is known; no agent sees it.
    """

    path: str
    labels: tuple[int, ...]
    action_spans_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class VideoDataset:
    """The videos of one split.

    Raises:
        ValueError: no video, a video without a label, or a label out of range.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]

    def __post_init__(self) -> None:
        if not self.videos:
            raise ValueError(f"dataset {self.name!r} has no video in split {self.split!r}")
        for video in self.videos:
            if not video.labels:
                raise ValueError(f"{video.path!r} has no label: every video needs at least one")
            for label in video.labels:
                if not 0 <= label < len(self.class_names):
                    raise ValueError(
                        f"label {label} of {video.path!r} is out of range: "
                        f"there are {len(self.class_names)} classes, 0 to {len(self.class_names) - 1}"
                    )

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def is_multilabel(self) -> bool:
        return any(len(video.labels) > 1 for video in self.videos)

    def fingerprint(self) -> str:
        """A hash of the split's paths, sizes and labels, in order: which dataset a bank was made of."""
        listing = [[video.path, list(video.labels), _size(video.path)] for video in self.videos]
        text = json.dumps([self.class_names, listing])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _size(path: str) -> int:
    """Bytes of a file, or -1 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def targets_of(labels: Sequence[tuple[int, ...]], num_classes: int) -> Tensor:
    """Multi-hot targets, (V, C) bool, of every video's class indices.

    Raises:
        ValueError: a label is out of range.
    """
    for label in chain.from_iterable(labels):
        if not 0 <= label < num_classes:
            raise ValueError(f"label {label} is out of range: there are {num_classes} classes")
    targets = torch.zeros(len(labels), num_classes, dtype=torch.bool)
    for row, classes in enumerate(labels):
        targets[row, list(classes)] = True
    return targets


def label_shares(targets: Tensor) -> Tensor:
    """Multi-hot targets (..., C) as probabilities: several labels share a clip equally."""
    return targets.float() / targets.sum(-1, keepdim=True)
