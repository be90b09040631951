"""What is known of videos, as tensors: their classes, and where their action is.

Shapes: V videos, C classes, A spans of action (padded with nan).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor


def targets_of(labels: Sequence[tuple[int, ...]], num_classes: int) -> Tensor:
    """Multi-hot targets, (V, C) bool, of every video's class indices.

    Raises:
        ValueError: a label is out of range.
    """
    flat = list(chain.from_iterable(labels))
    for label in flat:
        if not 0 <= label < num_classes:
            raise ValueError(f"label {label} is out of range: there are {num_classes} classes")
    targets = torch.zeros(len(labels), num_classes, dtype=torch.bool)
    rows = torch.arange(len(labels)).repeat_interleave(torch.tensor([len(each) for each in labels], dtype=torch.int64))
    targets[rows, torch.tensor(flat, dtype=torch.int64)] = True
    return targets


def label_shares(targets: Tensor) -> Tensor:
    """Multi-hot targets (..., C) as probabilities: several labels share a clip equally."""
    return targets.float() / targets.sum(-1, keepdim=True)


def padded_spans(spans_s: Sequence[Sequence[tuple[float, float]]]) -> Tensor:
    """The action spans of V videos as one tensor: (V, A, 2) float64, padded with nan; A is at least 1.

    Example: [((1, 2),), ()] -> [[[1, 2]], [[nan, nan]]].
    """
    most = max((len(spans) for spans in spans_s), default=0)
    padded = torch.full((len(spans_s), max(most, 1), 2), torch.nan, dtype=torch.float64)
    for row, spans in zip(padded, spans_s, strict=True):
        if spans:
            row[: len(spans)] = torch.tensor(spans, dtype=torch.float64)
    return padded
