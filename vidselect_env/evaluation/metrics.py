"""Accuracy of fused predictions, and intervals over seeds.

Shapes: V videos, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision


def top_k_accuracy(probabilities: Tensor, targets: Tensor, *, k: int) -> float:
    """Share of videos with a label among their k most probable classes.

    A video may have several labels, of which torchmetrics' own `top_k` knows one alone.

    torchmetrics counts that for one label a video (`multiclass_accuracy(top_k=)`), and for several only one video at a
    time (`retrieval_hit_rate`); a test compares this with both.

    Args:
        probabilities: (V, C) float. targets: (V, C) bool.
        k: at most C.
    """
    best = probabilities.topk(k, dim=-1).indices
    return targets.gather(-1, best).any(-1).float().mean().item()


def mean_average_precision(probabilities: Tensor, targets: Tensor) -> float:
    """Mean over the classes that occur of the average precision of ranking videos by their probability."""
    probabilities = probabilities.clamp(0, 1)  # rounded above 1, torchmetrics would take them for logits
    occurring = targets.any(0).nonzero().flatten().tolist()
    each = [binary_average_precision(probabilities[:, label], targets[:, label].int()) for label in occurring]
    return torch.stack(each).mean().item()


def paired_bootstrap(
    ours: Tensor, theirs: Tensor, *, num_draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean difference of two selectors on the same videos, and its 95 % interval by drawing videos again.

    Args:
        ours, theirs: (V,) float, the share of seeds that is right about each video.
    """
    differences = ours - theirs
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(differences), (num_draws, len(differences)), generator=generator)
    low, high = differences[drawn].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return differences.mean().item(), low, high


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and the half-width of its 95 % confidence interval by Student's t (nan for one value)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    return mean, float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
