"""Class indices as tensors: one for most videos, several for multi-label ones.

Shapes: V videos, C classes.
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
