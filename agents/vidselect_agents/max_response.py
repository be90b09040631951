"""Max response: a light classifier of skims; each section keeps the clip it is surest of.

The rival of DSN's Table I. Shapes: B contexts, M sections, N clips a section, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidselect_agents.base import ObservingAgent
from vidselect_agents.scorers.cost import gmacs_of_observations
from vidselect_agents.scorers.sections import make_backbone
from vidselect_agents.supervised import ObservationScorer
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.problem import SelectionProblem


@dataclass(frozen=True, kw_only=True)
class MaxResponseConfig:
    """Max response's settings; the light classifier is trained by cross-entropy.

    Args:
        scorer: its backbone: auto, r2d18, r2d or mlp, as DSN's.
        learning_rate: Adam's, decayed to zero by a cosine.
        weight_decay: Adam's.
    """

    scorer: str = "auto"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4


class MaxResponse(ObservationScorer, ObservingAgent):
    """Learns the video's label from each single candidate; never asks the classifier."""

    name = "max_response"
    config_class = MaxResponseConfig
    config: MaxResponseConfig

    def __init__(
        self, env: SelectVectorEnv, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(env, config=config, seed=seed, device=device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            backbone = make_backbone(self.config.scorer, env.problem.observation_space)
            head = nn.Linear(int(backbone.feature_dim), env.problem.source.targets.shape[1])  # type: ignore[arg-type]
            self.network = nn.Sequential(backbone, head).to(self.device)

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": self.network})

    def scorer_gmacs(self, problem: SelectionProblem) -> float:
        return gmacs_of_observations(self.network, problem)

    def score_observations(self, observations: Tensor) -> Tensor:
        """The largest class probability of each candidate."""
        return self._logits(observations).softmax(-1).amax(-1)

    def loss(self, observations: Tensor, contexts: Tensor, *, done: float) -> Tensor:
        targets = self.env.problem.targets(contexts).to(self.device).float()
        shares = (targets / targets.sum(-1, keepdim=True))[:, None]
        logits = self._logits(observations.to(self.device))
        valid = self.env.problem.valid(contexts).to(self.device)
        return F.cross_entropy(logits[valid], shares.expand_as(logits)[valid])

    def _logits(self, observations: Tensor) -> Tensor:
        """Class logits of every candidate, (B, K, C)."""
        logits = self.network(observations.flatten(0, 1))
        return logits.view(len(observations), -1, logits.shape[-1])
