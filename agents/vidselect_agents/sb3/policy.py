"""Policies for Stable-Baselines3 whose weights are shared by all candidates.

SB3's own would flatten an observation of many clips into one layer of millions of weights.
Shapes: B contexts, K candidates, F feature values of a candidate.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from vidselect_agents.scorers.candidates import make_backbone


class CandidateExtractor(BaseFeaturesExtractor):
    """The same backbone on every candidate: (B, K, ...) -> (B, K * F).

    Args:
        scorer: of `make_backbone`.
    """

    def __init__(self, observation_space: spaces.Box, scorer: str = "auto") -> None:
        # A batch's statistics would make a policy another one in training than in the rollout before it, and
        # the ratio of the two, which PPO clips, wrong from the start: hence no batch normalisation.
        backbone = make_backbone(scorer, observation_space, norm=partial(nn.GroupNorm, 4))
        self.width = int(backbone.feature_dim)  # type: ignore[arg-type]
        super().__init__(observation_space, observation_space.shape[0] * self.width)
        self.backbone = backbone

    def forward(self, observations: Tensor) -> Tensor:
        return self.backbone(observations.flatten(0, 1)).view(len(observations), -1)


class CandidateHead(nn.Module):
    """A score for each candidate from its features and the mean of all: (B, K * F) -> (B, K)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.own, self.context = nn.Linear(width, 1), nn.Linear(width, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        candidates = features.view(len(features), -1, self.width)
        relative = candidates - candidates.mean(1, keepdim=True)
        return (self.own(candidates) + self.context(relative)).squeeze(-1)


class ContextHead(nn.Module):
    """One value from the mean of all candidates' features: (B, K * F) -> (B, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.value = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.value(features.view(len(features), -1, self.width).mean(1))


def put_candidate_heads(policy: Any, lr_schedule: Any) -> None:
    """Put the two heads into an actor-critic policy of SB3, whose logits are then the candidates' scores."""
    width = policy.features_extractor.width
    policy.action_net = CandidateHead(width).to(policy.device)
    policy.value_net = ContextHead(width).to(policy.device)
    policy.optimizer = policy.optimizer_class(policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs)


class CandidatePolicy(ActorCriticPolicy):
    """Actor-critic with a score for each candidate; for PPO, A2C and TRPO."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        put_candidate_heads(self, lr_schedule)


@torch.no_grad()
def actor_scores(policy: ActorCriticPolicy, observations: Tensor) -> Tensor:
    """Logits of observations with any number of candidates: (B, K, ...) -> (B, K)."""
    policy.set_training_mode(False)
    features = policy.features_extractor(observations.float())
    return policy.action_net(features)
