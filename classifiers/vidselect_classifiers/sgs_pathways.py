"""Similarity guided sampling in each pathway of a network that has two (ATFR, appendix A: SlowFast).

Shapes: B clips, C channels, T maps in time of a pathway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vidselect_classifiers.ragged import RaggedMaps
from vidselect_classifiers.sgs_groups import grouped

Pathways = tuple[Tensor, Tensor] | tuple[RaggedMaps, RaggedMaps]  # slow and fast


class PathwaySampling(nn.Module):
    """A sampling of its own for the slow and for the fast pathway.

    Clips that keep as many maps in both are computed together, each as if it were alone. What a clip keeps, and is
    told by `ClipOutput.num_bins`, is the sum over both.

    Args:
        slow, fast: the samplings, whose order of maps is the same.
    """

    def __init__(self, slow: Any, fast: Any) -> None:
        super().__init__()
        self.slow, self.fast = slow, fast

    @property
    def samplings(self) -> tuple[Any, Any]:
        return self.slow, self.fast

    def forward(self, pathways: tuple[Tensor, Tensor]) -> Pathways:
        """Maps (B, C, T, H, W) of both to what of them is kept."""
        if pathways[0].is_meta:
            return self.slow(pathways[0]), self.fast(pathways[1])
        weights = [own.kept_weights(maps) for own, maps in zip(self.samplings, pathways, strict=True)]
        slow, fast = grouped(pathways, weights, order=self.slow.order)
        return slow, fast


def counts_by_total(samplings: Sequence[Any], maps: Sequence[Tensor]) -> list[tuple[int, ...]]:
    """For a clip that keeps 1, 2, ... maps, how many of each pathway are counted.

    Of two pathways it is as many of the first, the slow one, whose maps cost more, as there can be: what a clip of that
    total is charged is the most that it can have cost. A total that is too small to happen counts as the least.

    Example: blocks of 2 of 4 slow maps, blocks of 4 of 8 fast ones, which keep 2 to 4 and 2 to 8: totals 1 to 4 count
    as (2, 2), 5 as (3, 2), 6 as (4, 2), 7 as (4, 3) ... 12 as (4, 8).
    """
    most = [own.most_bins(each.shape[2]) for own, each in zip(samplings, maps, strict=True)]
    least = [own.num_blocks(each.shape[2]) for own, each in zip(samplings, maps, strict=True)]
    found = []
    for total in range(1, sum(most) + 1):
        counts, left = [], max(total, sum(least)) - sum(least)
        for own_least, own_most in zip(least, most, strict=True):
            more = min(left, own_most - own_least)
            counts.append(own_least + more)
            left -= more
        found.append(tuple(counts))
    return found
