"""What the scalar and the batched environment share: a one-step problem, as tensor functions.

Shapes: B contexts, G independent decisions a context, K candidates a context, S samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import gymnasium
import numpy as np
import torch
from torch import Tensor

from vidselect_env.envs.sources import Source
from vidselect_env.video.clips import section_candidates

FEATURE_BOUND = 1e6  # far beyond any network's features; Gymnasium's checker warns of infinite bounds


class SelectionProblem(ABC):
    """One-step problem: look at a context, choose among its candidates, get a reward.

    A context is numbered 0 to `num_contexts - 1`. All methods take contexts (B,) int64 on the source's
    device and answer there.
    """

    source: Source
    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    num_contexts: int
    environment: str  # id that it is registered under
    columns: int  # candidates in a row of a picture
    description: str  # in a few words, for reports
    observation: str

    @abstractmethod
    def videos(self, contexts: Tensor) -> Tensor:
        """The video of each context: (B,) int64."""

    @abstractmethod
    def candidates(self, contexts: Tensor) -> Tensor:
        """Grid positions of each context's candidates: (B, K) int64."""

    def places(self, contexts: Tensor) -> Tensor:
        """Where in its video each candidate lies, from 0 to 1: (B, K)."""
        counts = self.source.num_candidates.to(contexts.device)[self.videos(contexts)]
        return (self.candidates(contexts) + 0.5) / counts[:, None]

    @abstractmethod
    def observe(self, contexts: Tensor) -> Tensor:
        """Observations of every candidate: (B, K, ...), the `observation_space` batched."""

    @abstractmethod
    def selection(self, contexts: Tensor, actions: Tensor) -> Tensor:
        """Which candidates actions (B, ...) choose: (B, K) bool."""

    @abstractmethod
    def choose(self, scores: Tensor) -> Tensor:
        """The actions (B, ...) that take the candidates of largest score; scores are (B, K)."""

    @abstractmethod
    def budgets(self) -> dict[int, SelectionProblem]:
        """The same problem where other numbers of clips a video are chosen, by that number."""

    @abstractmethod
    def uniform(self, contexts: Tensor) -> Tensor:
        """The evenly spaced selection, (B, K) bool."""

    def valid(self, contexts: Tensor) -> Tensor:
        """Which of the K candidates are a context's own, (B, K) bool, where contexts have different numbers."""
        return torch.ones(self.candidates(contexts).shape, dtype=torch.bool, device=contexts.device)

    def best(self, contexts: Tensor, scores: Tensor) -> Tensor:
        """The selection (B, K) bool of the candidates of largest score, from scores (B, K)."""
        allowed = scores.masked_fill(~self.valid(contexts), -torch.inf)
        return self.selection(contexts, self.choose(allowed)) & (allowed > -torch.inf)

    def action_masks(self, contexts: Tensor) -> Tensor:
        """Which arms are worth taking, (B, K) bool, where some are not."""
        raise NotImplementedError(f"{type(self).__name__} has no arm to mask")

    @abstractmethod
    def decision_rewards(self, contexts: Tensor, actions: Tensor) -> Tensor:
        """Reward of each independent decision: actions (S, B, ...) -> (S, B, G); an episode's is their mean."""

    @abstractmethod
    def outcome(self, contexts: Tensor, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards (B,) float32 and infos, each (B, ...), of actions (B, ...)."""

    def fusion_weights(self, selection: Tensor) -> Tensor:
        """Weight of each candidate in the fused prediction, from a selection (B, K) bool: (B, K) float."""
        return selection.float()

    def full_information(self, contexts: Tensor) -> Tensor:
        """Rewards of all arms, where a decision is among few."""
        raise NotImplementedError(f"{type(self).__name__} has too many actions to list their rewards")

    def context_of_video(self, video: int) -> int:
        """The first context of a video.

        Raises:
            ValueError: no such video.
        """
        num_videos = len(self.source.video_paths)
        if not 0 <= video < num_videos:
            raise ValueError(f"video_index ({video}) must be 0 to {num_videos - 1}")
        return video * (self.num_contexts // num_videos)

    def probabilities(self, contexts: Tensor) -> Tensor:
        """The classifier's for every candidate: (B, K, C)."""
        return self.source.probabilities(self.videos(contexts), self.candidates(contexts))

    def targets(self, contexts: Tensor) -> Tensor:
        """Labels: (B, C) bool."""
        return self.source.targets[self.videos(contexts)]


def observation_box(field: str, shape: tuple[int, ...]) -> gymnasium.spaces.Box:
    """The space of `skim` (uint8) or float32 observations; its bounds never depend on data."""
    if field == "skim":
        return gymnasium.spaces.Box(0, 255, shape, np.uint8)
    return gymnasium.spaces.Box(-FEATURE_BOUND, FEATURE_BOUND, shape, np.float32)


def section_candidates_of_videos(num_candidates: Tensor, num_sections: int, num_clips: int) -> Tensor:
    """`section_candidates` of videos with (V,) candidates each: (V, M, N)."""
    table = torch.empty(len(num_candidates), num_sections, num_clips, dtype=torch.int64)
    for count in num_candidates.unique().tolist():
        table[num_candidates == count] = section_candidates(count, num_sections, num_clips)
    return table
