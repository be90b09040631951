"""Where maps fall in a similarity space, and how those of one bin are merged (ATFR, sections 4.2 and 4.3).

Shapes: B clips, C channels, T maps in time, N bins (the paper's B), L dimensions of the similarity space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

EPSILON = 1e-7  # what the authors' code adds to the linear kernel


def centred(embedding: Tensor) -> Tensor:
    """Z (B, T, L) less its mean over the T maps of each clip.

    Eq. 1 takes the magnitude of Z_t; the authors' code (`DISTANCE_TYPE: L2`, `distance_functions.py`) that of
    this. What all maps of a clip have in common puts every magnitude of Eq. 1 next to the largest; here it is gone.
    """
    return embedding - embedding.mean(1, keepdim=True)


def magnitude(embedding: Tensor) -> Tensor:
    """Delta of Eq. 1: (B, T, L) -> (B, T, 1). Its gradient where it is 0 is 0."""
    return torch.linalg.vector_norm(embedding, dim=-1, keepdim=True)


def angles(embedding: Tensor) -> Tensor:
    """The L - 1 angular coordinates (B, T, L - 1) of Z (B, T, L): in [0, pi], the last in [0, 2 pi)."""
    polar = [
        _angle(torch.linalg.vector_norm(embedding[..., k + 1 :], dim=-1), embedding[..., k])
        for k in range(embedding.shape[-1] - 2)
    ]
    last = _angle(embedding[..., -1], embedding[..., -2])
    return torch.stack([*polar, torch.where(last < 0, last + 2 * math.pi, last)], dim=-1)


def _angle(y: Tensor, x: Tensor) -> Tensor:
    """atan2 whose value and gradient at the origin are 0."""
    return torch.atan2(y, torch.where((y == 0) & (x == 0), 1, x))


def spherical(embedding: Tensor) -> Tensor:
    """Radius and angles (B, T, L) of Z (B, T, L)."""
    return torch.cat([magnitude(embedding), angles(embedding)], dim=-1)


def bin_weights(coordinate: Tensor, *, num_bins: int, kernel: str, epsilon: float = 0.0) -> Tensor:
    """Psi of Eq. 4 for values (B, T) and N bins from 0 to their maximum: (B, N, T).

    Bins have half-width gamma = max / (2 N) and centres (2 b - 1) gamma (Eqs. 2 and 3). The gradient of a value
    that is not the maximum is Eq. 8's; the maximum's is that of moving all bins, as in the authors' code, so that
    the scale of the values gets none. With `kronecker` a weight is 1 or 0, not yet divided by the bin's count, and
    what lies on an edge belongs to the bin above (the maximum to the last).

    Args:
        coordinate: (B, T), not negative.
        num_bins: N.
        kernel: `linear` or `kronecker`.
        epsilon: added to the linear kernel before its maximum with 0: what lies on an edge, as the largest value
            always does, then has this weight and not 0 (the authors' code; the paper says nothing of it).

    Example: values 0.2, 0.9, 1.0 in 2 bins, centres 0.25 and 0.75 -> linear weights [0.8, 0, 0], [0, 0.4, 0].
    """
    peak = coordinate.amax(-1, keepdim=True)
    # In half-widths from 0, by one division: the maximum lies at 2 N exactly.
    place = coordinate / torch.where(peak > 0, peak, 1) * (2 * num_bins)
    if kernel == "kronecker":
        bins = (place / 2).floor().long().clamp(max=num_bins - 1)
        return nn.functional.one_hot(bins, num_bins).to(coordinate.dtype).transpose(1, 2)
    centres = 2 * torch.arange(num_bins, device=coordinate.device, dtype=coordinate.dtype) + 1
    return (1 + epsilon - (place[:, None] - centres[:, None]).abs()).clamp(min=0)


def merge(maps: Tensor, weights: Tensor) -> Tensor:
    """Eq. 4: maps (B, C, T, H, W) and weights (B, N, T) -> (B, C, N, H, W)."""
    merged = weights[:, None] @ maps.flatten(3)
    return merged.unflatten(-1, maps.shape[3:])
