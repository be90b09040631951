"""Ways to combine the saliency of picture and sound (SCSampler, section 3.3.3).

All give scores whose K largest are the selection. Shapes: B contexts, K candidates; -inf marks a candidate
that nobody may choose.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(scores: Tensor) -> Tensor:
    """Place of each candidate in the list sorted by score, 0 the largest: (B, K) int64. Ties keep their order.

    Example: [0.2, 0.9, 0.5] -> [2, 0, 1].
    """
    return scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)


def convex_score(visual: Tensor, audio: Tensor, *, alpha: float) -> Tensor:
    """AV-convex-score: alpha of the visual score and the rest of the audio score."""
    return _kept_out(alpha * visual + (1 - alpha) * audio, visual)


def convex_list(visual: Tensor, audio: Tensor, *, alpha: float) -> Tensor:
    """AV-convex-list: the same of their places in the two lists; the smallest are best.

    Example: places 0 and 2, alpha 0.8 -> 0.4, which beats places 1 and 0 (0.8).
    """
    return _kept_out(-(alpha * ranks(visual) + (1 - alpha) * ranks(audio)), visual)


def union_list(visual: Tensor, audio: Tensor, *, num_visual: int | Tensor) -> Tensor:
    """AV-union-list: the K' best of the visual list, then the best of the audio list that are not among them.

    Args:
        num_visual: K', one for all or (B, 1).
    """
    by_sight = ranks(visual)
    num_candidates = visual.shape[-1]
    # All of the first K' come before all others, whose order is the sound's.
    places = torch.where(by_sight < num_visual, by_sight, num_candidates + ranks(audio))
    return _kept_out(-places.to(visual.dtype), visual)


def intersect_list(visual: Tensor, audio: Tensor) -> Tensor:
    """AV-intersect-list: what is among the first m of both lists, for the smallest m that gives K candidates.

    A candidate joins at the larger of its two places. Where two join at once and one is too many, the one that
    is higher in the visual list is taken; the paper does not say.
    """
    by_sight = ranks(visual)
    joins = torch.maximum(by_sight, ranks(audio))
    num_candidates = visual.shape[-1]
    return _kept_out(-(joins * num_candidates + by_sight).to(visual.dtype), visual)


def _kept_out(scores: Tensor, visual: Tensor) -> Tensor:
    return scores.masked_fill(visual == -torch.inf, -torch.inf)
