"""Losses that teach which candidates of a video are the worthier, by pairs or by all at once.

Shapes: B contexts, K candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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


def saliency_class_loss(scores: Tensor, truth: Tensor, *, num_salient: Tensor, valid: Tensor | None = None) -> Tensor:
    """SAL-CL: the cross-entropy of "is among the clips that the oracle takes", the mean over candidates.

    SCSampler's appendix B.2 names the loss and does not define it. Here: its oracle (section 3.1) takes the clips of
    largest f_y, which are the positive ones, and s is the probability of being one.

    Args:
        scores: (B, K) s in [0, 1]. truth: (B, K), the classifier's probability of the label, f_y.
        num_salient: (B,) int64, how many clips the oracle takes of each context.
        valid: (B, K) bool, candidates that count; None for all.

    Example: s = [0.5, 0.25], f_y = [0.9, 0.1], one is taken: (log 2 - log 0.75) / 2 = 0.490.
    """
    valid = torch.ones_like(truth, dtype=torch.bool) if valid is None else valid
    places = truth.masked_fill(~valid, -torch.inf).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    is_salient = (places < num_salient[:, None]).to(scores.dtype)
    return F.binary_cross_entropy(scores[valid], is_salient[valid])


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
