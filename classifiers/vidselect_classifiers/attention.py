"""Double attention over time inside a classifier: what ATFR compares similarity guided sampling with (appendix G).

It weights maps and keeps them all, so that it costs what the network costs, and a little more.
Shapes: B clips, C channels, T maps in time, M channels of what is gathered.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vidselect_classifiers.base import ClipClassifier
from vidselect_classifiers.sgs import maps_before
from vidselect_classifiers.weights import WeightsError

SQUEEZE = 4  # C / M of the authors' code


class TemporalAttention(nn.Module):
    """Maps times what double attention (Chen et al., NeurIPS 2018) makes of their means over space.

    Of the means X (C, T): what is gathered over time, G = A(X) softmax_T(B(X))' (M, M), is given back to each moment by
    softmax_M(V(X)) (M, T), and widened to C; A, B, V are convolutions of kernel 1. As in the authors' code, all of it
    multiplies the maps, where the A2-Nets add it. They average after the convolutions, which is the same.

    Args:
        channels: C of the maps. stage: the number of the stage that it stands after; it is saved with the weights.
    """

    def __init__(self, channels: int, *, stage: int) -> None:
        super().__init__()
        width = max(channels // SQUEEZE, 1)
        self.gather, self.attend, self.distribute = (nn.Conv1d(channels, width, 1) for _ in range(3))
        self.widen = nn.Conv1d(width, channels, 1)
        self.stage = stage

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        means = maps.mean((3, 4))
        gathered = self.gather(means) @ self.attend(means).softmax(-1).transpose(1, 2)
        given = gathered @ self.distribute(means).softmax(1)
        return maps * self.widen(given)[..., None, None]

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.stage])

    def set_extra_state(self, state: Tensor) -> None:
        """Check that parameters are of attention at the same place.

        Raises:
            WeightsError: they are not.
        """
        if state.tolist() != [self.stage]:
            raise WeightsError(f"the weights' attention is after stage {state.tolist()}, the network's [{self.stage}]")


def with_attention(classifier: ClipClassifier, *, after: str) -> ClipClassifier:
    """A copy of the classifier with temporal attention after one of its stages, under the name `attention`.

    Its other parameters are the given ones; those of the attention are new. Train it before you trust it.

    Raises:
        ValueError: no such stage, two pathways, or attention or sampling is there already.
    """
    for other in ("attention", "sgs"):
        if other in classifier.stages:
            raise ValueError(f"classifier {classifier.name!r} has {other} already, beside which attention cannot stand")
    if after not in classifier.stages[:-1]:
        stages = ", ".join(classifier.stages[:-1]) or "none: it is no chain of stages"
        raise ValueError(f"attention after {after!r} of {classifier.name!r} must be after one of {stages}")
    attentive = copy.deepcopy(classifier)
    place = attentive.stages.index(after) + 1
    maps = maps_before(attentive, place)
    if not isinstance(maps, Tensor):
        raise ValueError(f"attention is of networks of one pathway, and {classifier.name!r} has {len(maps)}")
    attention = TemporalAttention(maps.shape[1], stage=place - 1)
    attentive.network.add_module("attention", attention.to(attentive.head.weight))
    attentive.stages = (*attentive.stages[:place], "attention", *attentive.stages[place:])
    return attentive.train(classifier.training)
