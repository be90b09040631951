"""Gradient steps of a classifier's training: which optimizer, which parameters decay, how the learning rate goes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


def make_optimizer(
    module: nn.Module, *, kind: str, learning_rate: float, weight_decay: float, decay_norms: bool = True
) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, or Adam with decoupled weight decay (AdamW).

    Args:
        decay_norms: whether biases and the scales of normalisation, parameters of at most one dimension, decay too.
    """
    groups = [{"params": list(module.parameters())}]
    if not decay_norms:
        matrices = [value for value in module.parameters() if value.ndim > 1]
        others = [value for value in module.parameters() if value.ndim <= 1]
        groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]  # type: ignore[dict-item]
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, weight_decay=weight_decay)


def warmup_cosine(step: int, *, warmup: float, total: int) -> float:
    """Share of the largest learning rate at a step: linear from 0 to 1, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


def warmup_steps(step: int, *, warmup: float, milestones: Sequence[float], factor: float) -> float:
    """Share of the largest learning rate at a step: linear from 0 to 1, then `factor` as much from each milestone on.

    Example: `milestones=[20, 30], factor=0.1` -> 1 at step 19, 0.1 at 20, 0.01 at 30.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return factor ** sum(step >= milestone for milestone in milestones)
