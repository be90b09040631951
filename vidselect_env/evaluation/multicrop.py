"""Selecting among frames that were each classified in ten crops (AS, Table 3).

Shapes: B videos, X crops, T frames, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from vidselect_env.envs.choice import largest
from vidselect_env.envs.contract import Looks, Selector
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.evaluation.evaluate import Result, result_of


def frame_selection(scores: Tensor, num_kept: int) -> Tensor:
    """The m frames of largest mean score over crops, in all crops: (B, X, T) -> (B, X, T) bool."""
    return largest(scores.mean(1), num_kept)[:, None].expand_as(scores)


def region_selection(scores: Tensor, num_kept: int) -> Tensor:
    """In each crop its own m frames of largest score: (B, X, T) -> (B, X, T) bool."""
    return largest(scores, num_kept)


SCHEMES = {"frame": frame_selection, "region": region_selection}


def fuse_crops(probabilities: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean prediction over crops of frames: (B, X, T, C) and (B, X, T) -> (B, C)."""
    weights = weights.to(probabilities.dtype)
    return torch.einsum("bxt,bxtc->bc", weights, probabilities) / weights.sum((1, 2))[:, None]


@runtime_checkable
class FrameScorer(Selector, Protocol):
    """A selector that can say how much each frame is worth."""

    def frame_scores(self, looks: Looks) -> Tensor:
        """Importance of each candidate, (B, T), before the sigmoid."""


def evaluate_crops(agent: FrameScorer, crops: Sequence[FrameSelectProblem], *, scheme: str, name: str) -> Result:
    """Let `agent` score the frames of each crop by themselves, and select by `frame` or `region`.

    What stands for the missing frames of shorter videos is neither selected nor paid for.

    Args:
        crops: the same problem on each crop.
    """
    contexts = torch.arange(crops[0].num_contexts, device=crops[0].source.device)
    valid = crops[0].valid(contexts)
    # Scores are compared across crops as probabilities, which the paper averages.
    looks = (crop.looks(contexts, agent.needs.fields) for crop in crops)
    scores = torch.stack([agent.frame_scores(seen).sigmoid() for seen in looks], dim=1)
    scores = scores.masked_fill(~valid[:, None], -torch.inf)
    probabilities = torch.stack([crop.probabilities(contexts) for crop in crops], dim=1)
    selection = SCHEMES[scheme](scores, crops[0].num_kept) & valid[:, None]
    fused = fuse_crops(probabilities, crops[0].fusion_weights(selection))
    candidates = crops[0].candidates(contexts)
    different = valid & (crops[0].source.first_alike(contexts, candidates) == candidates)
    gmacs = [crop.source.clip_gmacs(contexts, candidates).double() * different for crop in crops]
    costs = [own.sum(1).mean().item() for own in gmacs]
    num_frames = valid.sum(1).double().mean().item()
    num_classified = different.sum(1).double().mean().item()
    return result_of(
        name,
        fused,
        crops[0].source,
        clips_per_video=len(crops) * num_classified,
        classifier_gmacs=sum(costs),
        dense_gmacs=costs[0],
        scorer_gmacs=len(crops) * agent.cost_gmacs(crops[0].shapes) * num_frames / crops[0].num_candidates,
    )
