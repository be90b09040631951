"""Late fusion: what several runs say of the same videos, averaged (two streams: RGB and optical flow).

Shapes: V videos, C classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidselect_env.envs.rewards import is_correct
from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.metrics import mean_average_precision, top_k_accuracy


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one run says: its row, and the predictions that it judges.

    videos: V names, the same for the same video in every run.
    probabilities: (V, C) float. targets: (V, C) bool.

    Raises:
        ValueError: the parts are not of as many videos, or a video comes twice.
    """

    result: Result
    videos: tuple[Hashable, ...]
    probabilities: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        for name in ("probabilities", "targets"):
            if len(getattr(self, name)) != len(self.videos):
                raise ValueError(f"{name} ({len(getattr(self, name))}) must be of {len(self.videos)} videos")
        if len(set(self.videos)) != len(self.videos):
            raise ValueError("a stream has a video twice")


def normalised(weights: Sequence[float] | None, num_streams: int) -> list[float]:
    """Weights of sum 1; None weighs all streams alike.

    Example: 1 and 1.5 -> 0.4 and 0.6.

    Raises:
        ValueError: there are not as many as streams, or one is negative, or all are 0.
    """
    weights = [1.0] * num_streams if weights is None else list(weights)
    if len(weights) != num_streams:
        raise ValueError(f"weights ({len(weights)}) must be as many as the runs that are fused ({num_streams})")
    if not all(0 <= weight < float("inf") for weight in weights) or not sum(weights):
        raise ValueError(f"weights {tuple(weights)} must be at least 0, and one above it")
    return [weight / sum(weights) for weight in weights]


def fuse(streams: Sequence[Stream], *, weights: Sequence[float] | None = None, name: str) -> Result:
    """The row of the weighted mean of several streams' probabilities; it costs what all of them cost.

    Videos that one stream lacks are left out of the row.

    Example: (0.7, 0.3) and (0.2, 0.8) with weights 1 and 3 -> (0.325, 0.675).

    Raises:
        ValueError: fewer than two streams, weights as of `normalised`, other classes or labels, or no video in common.
    """
    if len(streams) < 2:
        raise ValueError(f"fusion takes two runs or more, not {len(streams)}")
    shares = normalised(weights, len(streams))
    others = [set(stream.videos) for stream in streams[1:]]
    common = [video for video in streams[0].videos if all(video in other for other in others)]
    if not common:
        raise ValueError("the runs that are fused have no test video in common")
    aligned = [_rows(stream, common) for stream in streams]
    targets = aligned[0][1]
    for probabilities, labels in aligned:
        if probabilities.shape != targets.shape or not torch.equal(labels, targets):
            raise ValueError("the runs that are fused must have the same classes and labels")
    fused = sum(share * probabilities for share, (probabilities, _) in zip(shares, aligned, strict=True))
    assert isinstance(fused, Tensor)
    rows = [stream.result for stream in streams]
    dense_gmacs = sum(row.gmacs / row.relative_cost for row in rows)
    return Result(
        selector=name,
        num_videos=len(common),
        top1=top_k_accuracy(fused, targets, k=1),
        top5=top_k_accuracy(fused, targets, k=5) if targets.shape[1] > 5 else float("nan"),
        mean_average_precision=mean_average_precision(fused, targets),
        clips_per_video=sum(row.clips_per_video for row in rows),
        scorer_gmacs=sum(row.scorer_gmacs for row in rows),
        classifier_gmacs=sum(row.classifier_gmacs for row in rows),
        relative_cost=sum(row.gmacs for row in rows) / dense_gmacs,
        right=tuple(is_correct(fused, targets).tolist()),
    )


def _rows(stream: Stream, videos: Sequence[Hashable]) -> tuple[Tensor, Tensor]:
    place = {video: row for row, video in enumerate(stream.videos)}
    rows = torch.tensor([place[video] for video in videos])
    return stream.probabilities[rows].double(), stream.targets[rows]
