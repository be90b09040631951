"""Which part of its file each video of a bank is, where its action is, and where its candidates lie.

A shard keeps the first two in its header, of the videos that have them, and the last as a tensor, `spans_s`, beside
the fields of the spec. All seconds are of the file, from its first frame.
Shapes: V videos, R candidates of all videos together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vidselect_env.datasets.base import LabelledVideo

SPANS = "spans_s"
Segment = tuple[float | None, float | None]
Spans = tuple[tuple[float, float], ...]


def part_of(video: LabelledVideo) -> dict[str, Any]:
    """What a shard's header says of a video beside its file: `segment_s` and `action_spans_s`, where there are any."""
    part: dict[str, Any] = {} if video.segment_s == (None, None) else {"segment_s": video.segment_s}
    return part | ({"action_spans_s": video.action_spans_s} if video.action_spans_s else {})


def parts_of(shards: Sequence[tuple[dict[str, Any], dict[str, Tensor]]]) -> dict[str, Any]:
    """The fields of a `ClipBank` of shards, each with its header and tensors: V segments, V actions, (R, 2) spans.

    The spans are None where a shard was written before they were kept.
    """
    videos = [video for info, _ in shards for video in info["videos"]]
    spans_s = [tensors[SPANS] for _, tensors in shards if SPANS in tensors]
    return {
        "segments_s": tuple(tuple(video.get("segment_s", (None, None))) for video in videos),
        "action_spans_s": tuple(tuple(map(tuple, video.get("action_spans_s", ()))) for video in videos),
        "spans_s": torch.cat(spans_s) if len(spans_s) == len(shards) else None,
    }
