"""Clips in the groups that are computed together: those that keep as many maps (ATFR, section 4.3).

Shapes: B clips, C channels, T maps in time, N bins (the paper's B), K blocks of time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidselect_classifiers.ragged import RaggedMaps
from vidselect_classifiers.sgs_bins import merge


def grouped(maps: Sequence[Tensor], weights: Sequence[Tensor], *, order: str) -> list[RaggedMaps]:
    """The maps that each clip keeps, without its empty bins: of one pathway, or of several side by side.

    Clips of a group keep as many maps in every pathway, so that what joins pathways finds the same clips.

    Args:
        maps: of each pathway, (B, C, T, H, W). weights: of each, (B, N, T).
        order: `bins` or `time`, as of `SimilarityGuidedSampling`.

    Returns:
        Of each pathway its maps; their `lengths` are the maps that a clip keeps in all pathways together.
    """
    active = [(own != 0).any(-1) for own in weights]
    counts = torch.stack([own.sum(-1) for own in active], dim=-1)
    numbers, which = counts.unique(dim=0, return_inverse=True)
    by_group = which.argsort(stable=True)
    sizes = torch.bincount(which, minlength=len(numbers)).tolist()
    found = []
    for pathway, (own_maps, own_weights, own_active) in enumerate(zip(maps, weights, active, strict=True)):
        # Each clip's bins that are kept before the others, in order.
        kept = _places(own_weights, own_active, order=order)[by_group].argsort(dim=1, stable=True)
        groups = []
        for number, rows, places in zip(
            numbers[:, pathway].tolist(), by_group.split(sizes), kept.split(sizes), strict=True
        ):
            chosen = places[:, :number, None].expand(-1, -1, own_weights.shape[2])
            groups.append(merge(own_maps.index_select(0, rows), own_weights[rows].gather(1, chosen)))
        found.append(RaggedMaps(groups, order=by_group, lengths=counts.sum(-1)))
    return found


def _places(weights: Tensor, active: Tensor, *, order: str) -> Tensor:
    """(B, N) what the bins that are kept are ordered by; the others come after them."""
    if order == "time":
        times = torch.arange(weights.shape[2], device=weights.device, dtype=weights.dtype)
        places = (weights.detach() @ times) / weights.detach().sum(-1)
    else:
        places = torch.arange(weights.shape[1], device=weights.device, dtype=weights.dtype).expand(len(weights), -1)
    return places.where(active, torch.inf)


def of_blocks(weights: Tensor, *, num_blocks: int) -> Tensor:
    """Weights of blocks of time as of the whole: (B * K, N, T / K) -> (B, K * N, T), block after block.

    Example: of two blocks [[[1, 2]], [[3, 4]]] -> [[[1, 2, 0, 0], [0, 0, 3, 4]]].
    """
    own = weights.unflatten(0, (-1, num_blocks))
    apart = torch.eye(num_blocks, device=own.device, dtype=own.dtype)
    return (own[:, :, :, None] * apart[:, None, :, None]).flatten(3).flatten(1, 2)
