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
from vidselect_classifiers.sgs_groups import grouped, of_blocks
from vidselect_classifiers.sgs_identity import SamplingIdentity
from vidselect_classifiers.sgs_network import NETWORKS, similarity_network
from vidselect_classifiers.sgs_pathways import PathwaySampling, counts_by_total
from vidselect_classifiers.weights import WeightsError


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
        block: how many maps in a row are sampled together, each block by itself (appendix A); None for all.
        num_steps: T, if its batch norm is to have statistics of each step in time (ours; `StepNetwork`).

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
        block: int | None = None,
        num_steps: int | None = None,
    ) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise ValueError(f"network ({network!r}) must be one of {', '.join(NETWORKS)}")
        self.kernel, self.similarity, self.distance, self.order = kernel, similarity, distance, order
        self.epsilon, self.detach, self.block = epsilon, detach, block or 0
        self._takes_saved_bins = num_bins is None
        if similarity != "magnitude" and num_bins is None:
            num_bins = (4, 8) if similarity == "angular" else (2, 4, 4)
        self.num_bins = num_bins if num_bins is None or isinstance(num_bins, int) else tuple(num_bins)
        if any(bins < 1 for bins in self._bins(1)):
            raise ValueError(f"num_bins ({num_bins}) must be at least 1")
        self.embedding_dim = self._needed_dim(embedding_dim)
        self.embed = similarity_network(channels, self.embedding_dim, kind=network, num_steps=num_steps)
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
            block=self.block,
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
        together = self.block or num_maps
        return min(math.prod(self._bins(together)), together) * self.num_blocks(num_maps)

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
        weights = self.kept_weights(maps)
        if maps.is_meta:  # there are no values, only a cost to count
            return merge(maps, weights[:, :1].expand(-1, self.counted_bins or self.most_bins(maps.shape[2]), -1))
        return grouped([maps], [weights], order=self.order)[0]

    def kept_weights(self, maps: Tensor) -> Tensor:
        """Weight of every map in every bin, (B, N, T); of blocks the bins of one after those of another.

        Raises:
            ValueError: the maps cannot be divided into the blocks.
        """
        embedding = self.embedding(maps.detach() if self.detach else maps)
        num_blocks = self.num_blocks(maps.shape[2])
        weights = self._never_empty(self.weights(embedding.unflatten(1, (num_blocks, -1)).flatten(0, 1)))
        return of_blocks(weights, num_blocks=num_blocks) if num_blocks > 1 else weights

    def num_blocks(self, num_maps: int) -> int:
        """Of T maps; an error as of `kept_weights`."""
        if self.block and num_maps % self.block:
            raise ValueError(f"block ({self.block}) of the sampling must divide the clip's {num_maps} maps")
        return num_maps // self.block if self.block else 1

    def _never_empty(self, weights: Tensor) -> Tensor:
        """The weights (B, N, T), but one bin of 1 / T each for clips that have no map inside any bin."""
        is_empty = (weights <= 2 * EPSILON * self.epsilon).flatten(1).all(1)
        share = torch.full_like(weights[:, 0], 1 / weights.shape[2])
        if self.epsilon:  # the gradient of what lies on the edges, or such a clip would never change
            edges = weights.sum(1)
            share = share + (edges - edges.detach())
        mean = torch.cat([share[:, None], torch.zeros_like(weights[:, 1:])], dim=1)
        return torch.where(is_empty[:, None, None], mean, weights)


def with_sgs(classifier: ClipClassifier, *, after: str = "layer1", **options: Any) -> ClipClassifier:
    """A copy of the classifier with similarity guided sampling after one of its stages, under the name `sgs`.

    Its other parameters are the given ones; the similarity network's are new. Train it before you trust it. A network
    of two pathways has one in each (`PathwaySampling`).

    Args:
        after: of `classifier.stages`.
        options: arguments of `SimilarityGuidedSampling`: `num_bins`, `kernel`, `distance` ...; of two pathways `block`
            may be one for each; and `per_step`, whether `num_steps` is to be the number of its maps.

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
    sampling = _sampling(maps_before(adaptive, place), stage=place - 1, **options)
    adaptive.network.add_module("sgs", sampling.to(adaptive.head.weight))
    adaptive.stages = (*adaptive.stages[:place], "sgs", *adaptive.stages[place:])
    return adaptive.train(classifier.training)


def _sampling(
    maps: Any, *, stage: int, block: int | Sequence[int] | None = None, per_step: bool = False, **options: Any
) -> nn.Module:
    """The sampling of such maps, or of each of two pathways; an error as of `with_sgs`."""
    pathways = [maps] if isinstance(maps, Tensor) else maps
    blocks = [block] * len(pathways) if block is None or isinstance(block, int) else list(block)
    if len(blocks) != len(pathways):
        raise ValueError(f"block {tuple(blocks)} must be one number for each of {len(pathways)} pathways")
    samplings = []
    for own, own_block in zip(pathways, blocks, strict=True):
        steps = own.shape[2] if per_step else None
        samplings.append(SimilarityGuidedSampling(own.shape[1], block=own_block, num_steps=steps, **options))
        samplings[-1].num_blocks(own.shape[2])  # which checks that they fit
        samplings[-1].stage = stage
    return samplings[0] if len(samplings) == 1 else PathwaySampling(*samplings)


def gmacs_by_bins(classifier: ClipClassifier) -> tuple[float, ...]:
    """Multiply-adds of a clip that keeps 1, 2, ... maps, in units of 1e9; empty for a classifier without SGS.

    Of two pathways, of which both maps count, the most that a clip of that total can take (`counts_by_total`).
    """
    if "sgs" not in classifier.stages:
        return ()
    twin = copy.deepcopy(classifier).to("meta").eval()
    sampling = twin.network.get_submodule("sgs")
    maps = maps_before(twin, twin.stages.index("sgs"))
    samplings = sampling.samplings if isinstance(sampling, PathwaySampling) else (sampling,)
    costs: dict[tuple[int, ...], float] = {}
    totals = counts_by_total(samplings, [maps] if isinstance(maps, Tensor) else maps)
    for counts in totals:
        for own, counted in zip(samplings, counts, strict=True):
            own.counted_bins = counted
        if counts not in costs:
            costs[counts] = gmacs(twin, (1, *twin.input_shape), dtype=torch.uint8)
    return tuple(costs[counts] for counts in totals)


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
def maps_before(classifier: ClipClassifier, place: int) -> Any:
    """What the stages before number `place` give for one clip: a tensor without values, or two of two pathways."""
    twin = copy.deepcopy(classifier).to("meta").eval()
    maps = twin.preprocess(torch.empty((1, *twin.input_shape), dtype=torch.uint8, device="meta"))
    for stage in twin.stages[:place]:
        maps = twin.network.get_submodule(stage)(maps)
    return maps
