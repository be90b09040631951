"""Gradient steps of training, a classifier's or an agent's: optimizer, what decays, how the learning rate goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def make_optimizer(
    trained: nn.Module | Sequence[dict[str, Any]],
    *,
    kind: str,
    learning_rate: float,
    weight_decay: float,
    decay_norms: bool = True,
) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, Adam, or Adam with decoupled weight decay (AdamW).

    Args:
        trained: a network, or groups of parameters, which may have learning rates of their own.
        decay_norms: whether biases and the scales of normalisation, parameters of at most one dimension, decay too.
    """
    groups = [{"params": list(trained.parameters())}] if isinstance(trained, nn.Module) else list(trained)
    if not decay_norms:
        groups = [part for group in groups for part in _without_norms(group)]
    if kind == "adam":
        return torch.optim.Adam(groups, lr=learning_rate, weight_decay=weight_decay)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, weight_decay=weight_decay)


def _without_norms(group: dict[str, Any]) -> list[dict[str, Any]]:
    """A group's matrices, and its parameters of at most one dimension, which do not decay; no group that is empty."""
    values = list(group["params"])
    parts = [
        {**group, "params": [value for value in values if value.ndim > 1]},
        {**group, "params": [value for value in values if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return [part for part in parts if part["params"]]


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
