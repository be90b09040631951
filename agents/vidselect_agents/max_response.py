"""Max response: a light classifier of skims; each section keeps the clip it is surest of.

The rival of DSN's Table I. Shapes: B contexts, M sections, N clips a section, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidselect_agents.base import Agent, Callback, ObservingAgent, progress
from vidselect_agents.scorers.cost import gmacs_of_observations
from vidselect_agents.scorers.sections import make_backbone
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


class MaxResponse(ObservingAgent):
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

    @torch.no_grad()
    def act(self, observations: Tensor, *, deterministic: bool) -> Tensor:
        """Per section, the candidate with the largest class probability."""
        self.network.eval()
        return self.env.problem.choose(self._logits(observations).softmax(-1).amax(-1))

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        updates = -(-total_timesteps // self.env.num_envs)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        observations, _ = self.env.reset(seed=self.seed)
        with progress(total_timesteps, label=self.name, shown=progress_bar) as bar:
            for _ in range(updates):
                self.network.train()
                targets = self.env.problem.targets(self.env.contexts).to(self.device).float()
                shares = (targets / targets.sum(-1, keepdim=True))[:, None]
                logits = self._logits(observations.to(self.device))
                loss = F.cross_entropy(logits.flatten(0, 1), shares.expand_as(logits).flatten(0, 1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                actions = self.env.problem.choose(logits.detach().softmax(-1).amax(-1))
                self.logger.record_mean("train/loss", loss.item())
                observations, *_ = self.env.step(actions.to(self.env.device))
                self.num_timesteps += self.env.num_envs
                bar.update(self.env.num_envs)
                if callback is not None and not callback(self):
                    break
        return self

    def _logits(self, observations: Tensor) -> Tensor:
        """Class logits of every candidate, (B, K, C)."""
        logits = self.network(observations.flatten(0, 1))
        return logits.view(len(observations), -1, logits.shape[-1])
