"""Losses that teach which candidates of a video are the worthier, by pairs or by all at once.

Shapes: B contexts, K candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor


def saliency_ranking_loss(scores: Tensor, truth: Tensor, *, margin: float, valid: Tensor | None = None) -> Tensor:
    """SAL-RANK (SCSampler, Eqs. 1 and 2), the mean over all ordered pairs of different candidates.

    Over both orders of a pair, one with z = 1 and one with z = -1, the better candidate is asked for a lead of
    `margin`; equal ones have z = -1 in both orders, as Eq. 1 says.

    Args:
        scores: (B, K) s. truth: (B, K), the classifier's probability of the label, f_y. margin: eta.
        valid: (B, K) bool, candidates that count; None for all.

    Example: s = [0.5, 0.4], f_y = [0.9, 0.1], margin 0.2: pair (0, 1) max(-(0.1 + 0.2), 0) = 0, pair (1, 0)
    max(-0.1 + 0.2, 0) = 0.1 -> 0.05.
    """
    lead = scores[:, :, None] - scores[:, None, :]
    sign = torch.where(truth[:, :, None] > truth[:, None, :], 1.0, -1.0)
    return _over_pairs((-sign * (lead + margin)).clamp(min=0), valid)


def weighted_ranking_loss(scores: Tensor, worth: Tensor, *, margin: float, valid: Tensor | None = None) -> Tensor:
    """Pairwise hinge, each pair weighted by how much its candidates differ in worth; the mean over pairs.

    Args:
        scores: (B, K). worth: (B, K). margin: the lead that the worthier is asked for.
        valid: (B, K) bool, candidates that count; None for all.
    """
    lead = scores[:, :, None] - scores[:, None, :]
    more = (worth[:, :, None] - worth[:, None, :]).clamp(min=0)
    return 2 * _over_pairs(more * (margin - lead).clamp(min=0), valid)


def expected_worth_loss(scores: Tensor, worth: Tensor, *, valid: Tensor) -> Tensor:
    """Minus the logarithm of the worth expected of one candidate, drawn by the softmax of the scores; mean over videos.

    With the labels' probability as worth it is their negative log-likelihood under a mixture of the candidates'
    predictions. Its gradient is the exact policy gradient of the worth, larger where little is expected yet.

    Args:
        scores: (B, K). worth: (B, K), not negative. valid: (B, K) bool, candidates that may be drawn.
    """
    drawn = scores.masked_fill(~valid, -torch.inf).softmax(-1)
    return -(drawn * worth).sum(-1).clamp(min=1e-6).log().mean()


def _over_pairs(losses: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of (B, K, K) over the ordered pairs of different candidates that both count."""
    counts = ~torch.eye(losses.shape[-1], dtype=torch.bool, device=losses.device).expand_as(losses)
    if valid is not None:
        counts = counts & valid[:, :, None] & valid[:, None, :]
    return losses[counts].sum() / counts.sum().clamp(min=1)
