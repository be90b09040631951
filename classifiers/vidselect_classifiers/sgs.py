"""Similarity guided sampling (Fayyaz et al., CVPR 2021): maps that are alike are merged inside the network.

Shapes: B clips, C channels, T maps in time, N bins (the paper's B), L dimensions of the similarity space.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_classifiers.base import ClipClassifier
from vidselect_classifiers.cost import gmacs
from vidselect_classifiers.ragged import RaggedMaps
from vidselect_classifiers.sgs_bins import EPSILON, angles, bin_weights, centred, magnitude, merge, spherical
from vidselect_classifiers.sgs_identity import SamplingIdentity
from vidselect_classifiers.weights import WeightsError

NETWORKS = ("paper", "authors")
LINEAR_STD = 0.01  # of the authors' initial weights


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
            training (Table A.4). Where it is None, weights that are loaded say it.
        kernel: `linear` (Eq. 6), or `kronecker` (Eq. 5), which gives the similarity network no gradient.
        similarity: bins of the `magnitude` (Eq. 1), of the direction (`angular`), or of both (`spherical`).
        embedding_dim: L; None for 8, or what the coordinates need.
        distance: what has that magnitude or direction: `magnitude`, Z_t (Eq. 1), or `centred`, Z_t less the mean
            over the clip's maps (the authors' configuration, `DISTANCE_TYPE: L2`).
        epsilon: whether 1e-7 is added to the linear kernel (the authors' code), so that the map of largest
            magnitude is never lost, and a clip whose maps all lie on edges sends a gradient.
        detach: whether Z is of detached maps: what learns from Eq. 8 is then the similarity network alone, and
            not the network before it. It changes training, and no result.
        network: the similarity network: `paper`, C hidden channels (section 4.1) and torch's initial weights; or
            `authors`, C / 2 and N(0, 0.01) without biases.
        order: of the maps that are kept: of their `bins` (Eq. 4), or in `time`, by the weighted mean of what is
            merged. Ours: neither paper nor code has it. The order of bins says nothing of before and after.

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
        distance: str = "magnitude",
        epsilon: bool = False,
        detach: bool = False,
        network: str = "paper",
        order: str = "bins",
    ) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise ValueError(f"network ({network!r}) must be one of {', '.join(NETWORKS)}")
        self.kernel, self.similarity, self.distance, self.order = kernel, similarity, distance, order
        self.epsilon, self.detach = epsilon, detach
        self._takes_saved_bins = num_bins is None
        if similarity != "magnitude" and num_bins is None:
            num_bins = (4, 8) if similarity == "angular" else (2, 4, 4)
        self.num_bins = num_bins if num_bins is None or isinstance(num_bins, int) else tuple(num_bins)
        if any(bins < 1 for bins in self._bins(1)):
            raise ValueError(f"num_bins ({num_bins}) must be at least 1")
        self.embedding_dim = self._needed_dim(embedding_dim)
        self.embed = similarity_network(channels, self.embedding_dim, kind=network)
        self.counted_bins: int | None = None
        self.stage = -1  # the number of the stage that it stands after
        self._identity()  # checks the names

    def _bins(self, num_maps: int) -> tuple[int, ...]:
        if self.num_bins is None:
            return (num_maps,)
        return (self.num_bins,) if isinstance(self.num_bins, int) else self.num_bins

    def _needed_dim(self, wanted: int | None) -> int:
        """L: what the coordinates need, or else what is wanted."""
        num_coordinates = len(self._bins(1))
        if self.similarity == "magnitude":
            if num_coordinates != 1:
                raise ValueError(f"num_bins {self.num_bins} of a magnitude must be one number")
            needed = wanted or 8
        else:
            needed = num_coordinates + (self.similarity == "angular")
        if wanted not in (None, needed) or needed < 1:
            raise ValueError(f"embedding_dim ({wanted}) of bins {self.num_bins} must be {needed}")
        return needed

    def _identity(self) -> SamplingIdentity:
        return SamplingIdentity(
            stage=self.stage,
            kernel=self.kernel,
            similarity=self.similarity,
            distance=self.distance,
            epsilon=self.epsilon,
            order=self.order,
        )

    def get_extra_state(self) -> Tensor:
        """What decides its result beside its parameters, and the bins: it is saved, and hashed, with them."""
        bins = [0] if self.num_bins is None else [self.num_bins] if isinstance(self.num_bins, int) else self.num_bins
        return torch.tensor([*self._identity().numbers(), *bins])

    def set_extra_state(self, state: Tensor) -> None:
        """Check that parameters are of sampling at the same place, made in the same way.

        The number of bins may be another; it is taken over where none was asked for.

        Raises:
            WeightsError: they are not.
        """
        stage, kernel, variant, *bins = state.tolist()
        found, wanted = SamplingIdentity.of_numbers(stage, kernel, variant), self._identity()
        if found != wanted:
            raise WeightsError(
                f"the weights' sampling ({found}) must be the network's ({wanted}); stages are counted from 0"
            )
        if self._takes_saved_bins and bins != [0]:
            self.num_bins = bins[0] if len(bins) == 1 else tuple(bins)

    def most_bins(self, num_maps: int) -> int:
        """The most maps that T of them can give: no bin without a map is kept."""
        return min(math.prod(self._bins(num_maps)), num_maps)

    def embedding(self, maps: Tensor) -> Tensor:
        """Z of section 4.1: maps (B, C, T, H, W) -> (B, T, L), in the precision of its parameters.

        Not in that of an autocast: in bfloat16 magnitudes that differ by less than 1 in 256 would be equal.
        """
        means = maps.mean((3, 4), dtype=next(self.embed.parameters(), maps).dtype)
        with contextlib.nullcontext() if maps.is_meta else torch.autocast(maps.device.type, enabled=False):
            return self.embed(means).transpose(1, 2)

    def weights(self, embedding: Tensor) -> Tensor:
        """Weight of every map in every bin, (B, N, T), from Z (B, T, L)."""
        if self.distance == "centred":
            embedding = centred(embedding)
        coordinates = {"magnitude": magnitude, "angular": angles, "spherical": spherical}[self.similarity](embedding)
        epsilon = EPSILON if self.epsilon else 0.0
        weights = None
        for coordinate, bins in zip(coordinates.unbind(-1), self._bins(embedding.shape[1]), strict=True):
            own = bin_weights(coordinate, num_bins=bins, kernel=self.kernel, epsilon=epsilon)
            weights = own if weights is None else (weights[:, :, None] * own[:, None]).flatten(1, 2)  # Eq. 9
        assert weights is not None
        if self.kernel == "kronecker":
            weights = weights / weights.sum(-1, keepdim=True).clamp(min=1)  # the mean of Eq. 5
        return weights

    def forward(self, maps: Tensor) -> RaggedMaps | Tensor:
        """Maps (B, C, T, H, W) to (C, B', H, W) of each clip, B' being the bins that are not empty.

        A clip all of whose maps have weight 0, or `epsilon`, gives one map, their mean: where all magnitudes are
        equal, every map lies on the edge of the last bin, where the linear kernel is 0. On the meta device
        `counted_bins` maps are kept, or as many as can be.
        """
        weights = self.weights(self.embedding(maps.detach() if self.detach else maps))
        if maps.is_meta:  # there are no values, only a cost to count
            return merge(maps, weights[:, :1].expand(-1, self.counted_bins or self.most_bins(maps.shape[2]), -1))
        weights = self._never_empty(weights)
        active = (weights != 0).any(-1)
        counts = active.sum(-1)
        # The clips by their counts, and each clip's bins that are kept before the others, in order.
        order = counts.argsort(stable=True)
        kept = self._places(weights, active)[order].argsort(dim=1, stable=True)
        numbers, sizes = (found.tolist() for found in counts.unique(return_counts=True))
        groups = []
        for number, rows, places in zip(numbers, order.split(sizes), kept.split(sizes), strict=True):
            own = weights[rows].gather(1, places[:, :number, None].expand(-1, -1, weights.shape[2]))
            groups.append(merge(maps.index_select(0, rows), own))
        return RaggedMaps(groups, order=order, lengths=counts)

    def _places(self, weights: Tensor, active: Tensor) -> Tensor:
        """(B, N) what the bins that are kept are ordered by; the others come after them."""
        times = torch.arange(weights.shape[2], device=weights.device, dtype=weights.dtype)
        if self.order == "time":
            places = (weights.detach() @ times) / weights.detach().sum(-1)
        else:
            places = torch.arange(weights.shape[1], device=weights.device, dtype=weights.dtype).expand(len(weights), -1)
        return places.where(active, torch.inf)

    def _never_empty(self, weights: Tensor) -> Tensor:
        """The weights (B, N, T), but one bin of 1 / T each for clips that have no map inside any bin."""
        is_empty = (weights <= 2 * EPSILON * self.epsilon).flatten(1).all(1)
        share = torch.full_like(weights[:, 0], 1 / weights.shape[2])
        if self.epsilon:  # the gradient of what lies on the edges, or such a clip would never change
            edges = weights.sum(1)
            share = share + (edges - edges.detach())
        mean = torch.cat([share[:, None], torch.zeros_like(weights[:, 1:])], dim=1)
        return torch.where(is_empty[:, None, None], mean, weights)


def similarity_network(channels: int, embedding_dim: int, *, kind: str) -> nn.Sequential:
    """The two convolutions of section 4.1, (B, C, T) -> (B, L, T), as `paper` or `authors` has them."""
    hidden = channels if kind == "paper" else max(channels // 2, 1)
    convolutions = nn.Conv1d(channels, hidden, 1), nn.Conv1d(hidden, embedding_dim, 1)
    if kind == "authors":
        for convolution in convolutions:
            nn.init.normal_(convolution.weight, std=LINEAR_STD)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolutions[0], nn.ReLU(inplace=True), convolutions[1], nn.BatchNorm1d(embedding_dim))


def with_sgs(classifier: ClipClassifier, *, after: str = "layer1", **options: Any) -> ClipClassifier:
    """A copy of the classifier with similarity guided sampling after one of its stages, under the name `sgs`.

    Its other parameters are the given ones; the similarity network's are new. Train it before you trust it.

    Args:
        after: of `classifier.stages`.
        options: arguments of `SimilarityGuidedSampling`: `num_bins`, `kernel`, `distance` ...

    Raises:
        ValueError: no such stage, sampling is there already, or an option that it cannot have.
    """
    if "sgs" in classifier.stages:
        raise ValueError(f"classifier {classifier.name!r} has similarity guided sampling already")
    if after not in classifier.stages[:-1]:
        stages = ", ".join(classifier.stages[:-1]) or "none: it is no chain of stages"
        raise ValueError(f"sampling after {after!r} of {classifier.name!r} must be after one of {stages}")
    adaptive = copy.deepcopy(classifier)
    place = adaptive.stages.index(after) + 1
    sampling = SimilarityGuidedSampling(_maps_before(adaptive, place).shape[1], **options)
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


def gmacs_before_sgs(classifier: ClipClassifier) -> float:
    """Multiply-adds of the stages before the sampling, which all clips pay, in units of 1e9.

    Raises:
        ValueError: there is no sampling.
    """
    if "sgs" not in classifier.stages:
        raise ValueError(f"classifier {classifier.name!r} has no similarity guided sampling")
    stages = classifier.stages[: classifier.stages.index("sgs")]
    front = nn.Sequential(*(classifier.network.get_submodule(stage) for stage in stages))
    frames, channels, height, width = classifier.input_shape
    return gmacs(front, (1, channels, frames, height, width))


@torch.no_grad()
def _maps_before(classifier: ClipClassifier, place: int) -> Tensor:
    """What the stages before number `place` give for one clip: a tensor without values."""
    twin = copy.deepcopy(classifier).to("meta").eval()
    maps = twin.preprocess(torch.empty((1, *twin.input_shape), dtype=torch.uint8, device="meta"))
    for stage in twin.stages[:place]:
        maps = twin.network.get_submodule(stage)(maps)
    return maps
