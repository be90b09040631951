"""Similarity guided sampling (Fayyaz et al., CVPR 2021): maps that are alike are merged inside the network.

Shapes: B clips, C channels, T maps in time, N bins (the paper's B), L dimensions of the similarity space.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidselect_classifiers.base import ClipClassifier
from vidselect_classifiers.cost import gmacs
from vidselect_classifiers.ragged import RaggedMaps
from vidselect_classifiers.weights import WeightsError

KERNELS = ("linear", "kronecker")
SIMILARITIES = ("magnitude", "angular", "spherical")


class SimilarityGuidedSampling(nn.Module):
    """Merges the T maps of a clip into as many as its similarity bins that are not empty.

    A similarity network (spatial average, two convolutions over time of kernel 1) places every map in a
    similarity space; maps that fall into the same bin there are merged (section 4). As in the authors' code,
    of which the paper says nothing, a ReLU stands between the convolutions and a batch norm after them:
    without it all maps of a clip begin in one bin.

    Args:
        channels: C of the maps.
        num_bins: along each coordinate: of a magnitude one number, None for T; otherwise one for each
            coordinate, the paper's (4, 8) angles or (2, 4, 4) for radius and angles. May be changed after
            training (Table A.4).
        kernel: `linear` (Eq. 6), or `kronecker` (Eq. 5), which gives the similarity network no gradient.
        similarity: bins of the `magnitude` (Eq. 1), of the direction (`angular`), or of both (`spherical`).
        embedding_dim: L; None for 8, or what the coordinates need.

    Raises:
        ValueError: an unknown name, a number of bins that is not positive, or an L that does not fit.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_bins: int | Sequence[int] | None = None,
        kernel: str = "linear",
        similarity: str = "magnitude",
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (("kernel", kernel, KERNELS), ("similarity", similarity, SIMILARITIES)):
            if value not in known:
                raise ValueError(f"{name} ({value!r}) must be one of {', '.join(known)}")
        self.kernel, self.similarity = kernel, similarity
        if similarity != "magnitude" and num_bins is None:
            num_bins = (4, 8) if similarity == "angular" else (2, 4, 4)
        self.num_bins = num_bins if num_bins is None or isinstance(num_bins, int) else tuple(num_bins)
        if any(bins < 1 for bins in self._bins(1)):
            raise ValueError(f"num_bins ({num_bins}) must be at least 1")
        needed = {"magnitude": None, "angular": len(self._bins(1)) + 1, "spherical": len(self._bins(1))}[similarity]
        if needed is None and len(self._bins(1)) != 1:
            raise ValueError(f"num_bins {self.num_bins} of a magnitude must be one number")
        if needed is not None and embedding_dim not in (None, needed):
            raise ValueError(f"embedding_dim ({embedding_dim}) of bins {self.num_bins} must be {needed}")
        self.embedding_dim = embedding_dim or needed or 8
        self.embed = nn.Sequential(
            nn.Conv1d(channels, channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels, self.embedding_dim, 1),
            nn.BatchNorm1d(self.embedding_dim),
        )
        self.counted_bins: int | None = None
        self.stage = -1  # the number of the stage that it stands after

    def _bins(self, num_maps: int) -> tuple[int, ...]:
        if self.num_bins is None:
            return (num_maps,)
        return (self.num_bins,) if isinstance(self.num_bins, int) else self.num_bins

    def get_extra_state(self) -> Tensor:
        """What decides its result beside its parameters: it is saved, and hashed, with them."""
        identity = [self.stage, KERNELS.index(self.kernel), SIMILARITIES.index(self.similarity)]
        bins = [0] if self.num_bins is None else [self.num_bins] if isinstance(self.num_bins, int) else self.num_bins
        return torch.tensor([*identity, *bins])

    def set_extra_state(self, state: Tensor) -> None:
        """Check that parameters are of sampling at the same place; the number of bins may be another.

        Raises:
            WeightsError: they are not.
        """
        stage, kernel, similarity = state[:3].tolist()
        found = (stage, KERNELS[kernel], SIMILARITIES[similarity])
        wanted = (self.stage, self.kernel, self.similarity)
        if found != wanted:
            raise WeightsError(
                f"the weights' sampling (after stage {found[0]}, {found[1]} kernel, {found[2]}) must be the "
                f"network's (after stage {wanted[0]}, {wanted[1]} kernel, {wanted[2]}); stages are counted from 0"
            )

    def most_bins(self, num_maps: int) -> int:
        """The most maps that T of them can give: no bin without a map is kept."""
        return min(math.prod(self._bins(num_maps)), num_maps)

    def embedding(self, maps: Tensor) -> Tensor:
        """Z of section 4.1: maps (B, C, T, H, W) -> (B, T, L)."""
        return self.embed(maps.mean((3, 4))).transpose(1, 2)

    def weights(self, embedding: Tensor) -> Tensor:
        """Weight of every map in every bin, (B, N, T), from Z (B, T, L)."""
        coordinates = {"magnitude": magnitude, "angular": angles, "spherical": spherical}[self.similarity](embedding)
        weights = None
        for coordinate, bins in zip(coordinates.unbind(-1), self._bins(embedding.shape[1]), strict=True):
            own = bin_weights(coordinate, num_bins=bins, kernel=self.kernel)
            weights = own if weights is None else (weights[:, :, None] * own[:, None]).flatten(1, 2)  # Eq. 9
        assert weights is not None
        if self.kernel == "kronecker":
            weights = weights / weights.sum(-1, keepdim=True).clamp(min=1)  # the mean of Eq. 5
        return weights

    def forward(self, maps: Tensor) -> RaggedMaps | Tensor:
        """Maps (B, C, T, H, W) to (C, B', H, W) of each clip, B' being the bins that are not empty.

        A clip all of whose maps have weight 0 gives one map, their mean: where all magnitudes are equal, every
        map lies on the edge of the last bin, where the linear kernel is 0. On the meta device `counted_bins` maps
        are kept, or as many as can be.
        """
        weights = self.weights(self.embedding(maps))
        if maps.is_meta:  # there are no values, only a cost to count
            return merge(maps, weights[:, :1].expand(-1, self.counted_bins or self.most_bins(maps.shape[2]), -1))
        active = (weights != 0).any(-1)
        is_empty = ~active.any(-1)
        mean = torch.zeros_like(weights)
        mean[:, 0] = 1 / maps.shape[2]
        weights = torch.where(is_empty[:, None, None], mean, weights)
        active[:, 0] |= is_empty
        counts = active.sum(-1)
        groups, order = [], []
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero().squeeze(1)
            kept = weights[rows][active[rows]].view(len(rows), count, -1)
            groups.append(merge(maps[rows], kept))
            order.append(rows)
        return RaggedMaps(groups, order=torch.cat(order), lengths=counts)


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


def bin_weights(coordinate: Tensor, *, num_bins: int, kernel: str) -> Tensor:
    """Psi of Eq. 4 for values (B, T) and N bins from 0 to their maximum: (B, N, T).

    Bins have half-width gamma = max / (2 N) and centres (2 b - 1) gamma (Eqs. 2 and 3). The gradient of a value
    that is not the maximum is Eq. 8's; the maximum's is that of moving all bins, as in the authors' code, so that
    the scale of the values gets none. With `kronecker` a weight is 1 or 0, not yet divided by the bin's count, and
    what lies on an edge belongs to the bin above (the maximum to the last).

    Example: values 0.2, 0.9, 1.0 in 2 bins, centres 0.25 and 0.75 -> linear weights [0.8, 0, 0], [0, 0.4, 0].
    """
    peak = coordinate.amax(-1, keepdim=True)
    # In half-widths from 0, by one division: the maximum lies at 2 N exactly.
    place = coordinate / torch.where(peak > 0, peak, 1) * (2 * num_bins)
    if kernel == "kronecker":
        bins = (place / 2).floor().long().clamp(max=num_bins - 1)
        return nn.functional.one_hot(bins, num_bins).to(coordinate.dtype).transpose(1, 2)
    centres = 2 * torch.arange(num_bins, device=coordinate.device, dtype=coordinate.dtype) + 1
    return (1 - (place[:, None] - centres[:, None]).abs()).clamp(min=0)


def merge(maps: Tensor, weights: Tensor) -> Tensor:
    """Eq. 4: maps (B, C, T, H, W) and weights (B, N, T) -> (B, C, N, H, W)."""
    merged = weights[:, None] @ maps.flatten(3)
    return merged.unflatten(-1, maps.shape[3:])


def with_sgs(
    classifier: ClipClassifier,
    *,
    after: str = "layer1",
    num_bins: int | Sequence[int] | None = None,
    kernel: str = "linear",
    similarity: str = "magnitude",
    embedding_dim: int | None = None,
) -> ClipClassifier:
    """A copy of the classifier with similarity guided sampling after one of its stages, under the name `sgs`.

    Its other parameters are the given ones; the similarity network's are new. Train it before you trust it.

    Args:
        after: of `classifier.stages`. Other arguments as of `SimilarityGuidedSampling`.

    Raises:
        ValueError: no such stage, or sampling is there already.
    """
    if "sgs" in classifier.stages:
        raise ValueError(f"classifier {classifier.name!r} has similarity guided sampling already")
    if after not in classifier.stages[:-1]:
        stages = ", ".join(classifier.stages[:-1]) or "none: it is no chain of stages"
        raise ValueError(f"sampling after {after!r} of {classifier.name!r} must be after one of {stages}")
    adaptive = copy.deepcopy(classifier)
    place = adaptive.stages.index(after) + 1
    channels = _maps_before(adaptive, place).shape[1]
    sampling = SimilarityGuidedSampling(
        channels, num_bins=num_bins, kernel=kernel, similarity=similarity, embedding_dim=embedding_dim
    )
    sampling.stage = place - 1
    adaptive.network.add_module("sgs", sampling.to(adaptive.head.weight))
    adaptive.stages = (*adaptive.stages[:place], "sgs", *adaptive.stages[place:])
    return adaptive.train(classifier.training)


def gmacs_by_bins(classifier: ClipClassifier) -> tuple[float, ...]:
    """Multiply-adds of a clip that keeps 1, 2, ... maps, in units of 1e9; empty for a classifier without SGS."""
    if "sgs" not in classifier.stages:
        return ()
    twin = copy.deepcopy(classifier).to("meta").eval()
    sampling = twin.network.get_submodule("sgs")
    assert isinstance(sampling, SimilarityGuidedSampling)
    most = sampling.most_bins(_maps_before(twin, twin.stages.index("sgs")).shape[2])
    costs = []
    for bins in range(1, most + 1):
        sampling.counted_bins = bins
        costs.append(gmacs(twin, (1, *twin.input_shape), dtype=torch.uint8))
    return tuple(costs)


@torch.no_grad()
def _maps_before(classifier: ClipClassifier, place: int) -> Tensor:
    """What the stages before number `place` give for one clip: a tensor without values."""
    twin = copy.deepcopy(classifier).to("meta").eval()
    maps = twin.preprocess(torch.empty((1, *twin.input_shape), dtype=torch.uint8, device="meta"))
    for stage in twin.stages[:place]:
        maps = twin.network.get_submodule(stage)(maps)
    return maps
