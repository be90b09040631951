"""The learning loop of agents that learn from what the classifier said, not from reward.

Shapes: B sub-environments, K candidates a context.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback, ObservingAgent, progress
from vidselect_agents.scorers.cost import gmacs_of_observations
from vidselect_agents.scorers.sections import make_backbone
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.seeding import seeded


class SupervisedAgent(Agent):
    """Scores every candidate, and learns by a loss of the contexts that the environment draws.

    A subclass gives `modules`, `loss` and `scores`; its configuration has `learning_rate` and `weight_decay`,
    Adam's, the first decayed to zero by a cosine.
    """

    @abstractmethod
    def loss(self, observations: Tensor, contexts: Tensor, *, done: float) -> Tensor:
        """What is minimised, from contexts (B,); `done` in [0, 1] is how far training has come."""

    @abstractmethod
    def scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """Saliency of every candidate, (B, K), of which a problem's action takes the largest."""

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return problem.best(contexts, self.scores(problem, contexts).to(contexts.device))

    def parameter_groups(self) -> Sequence[dict]:
        """What Adam trains."""
        return [{"params": list(self.modules().parameters())}]

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        networks, problem = self.modules(), self.env.problem
        optimizer = torch.optim.Adam(
            self.parameter_groups(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        updates = -(-total_timesteps // self.env.num_envs)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        observations, _ = self.env.reset(seed=self.seed)
        # Nothing is learned from rewards: the actions only make the environment go on, and are logged.
        actions = problem.choose(problem.uniform(self.env.contexts).float())
        bar = progress(total_timesteps, label=self.name, shown=progress_bar)
        with bar, seeded(self.seed, self.device):
            for update in range(updates):
                networks.train()
                loss = self.loss(observations, self.env.contexts, done=update / updates)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(networks.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                self.logger.record_mean("train/loss", loss.item())
                observations, *_ = self.env.step(actions)
                self.num_timesteps += self.env.num_envs
                bar.update(self.env.num_envs)
                if callback is not None and not callback(self):
                    break
        return self


class ObservationScorer(SupervisedAgent, ObservingAgent):
    """One whose network sees an observation of each candidate by itself: the backbone `config.scorer`, and a layer."""

    def __init__(
        self, env: SelectVectorEnv, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(env, config=config, seed=seed, device=device)
        with seeded(seed, self.device):
            backbone = make_backbone(self.config.scorer, env.problem.observation_space)
            last = nn.Linear(int(backbone.feature_dim), self.num_outputs)  # type: ignore[arg-type]
            self.network = nn.Sequential(backbone, last).to(self.device)

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Numbers that the network gives for a candidate."""

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": self.network})

    def scorer_gmacs(self, problem: SelectionProblem) -> float:
        return gmacs_of_observations(self.network, problem)

    def outputs(self, observations: Tensor) -> Tensor:
        """What the network says of observations (B, K, ...): (B, K, outputs)."""
        return self.network(observations.flatten(0, 1)).view(len(observations), -1, self.num_outputs)

    @abstractmethod
    def score_observations(self, observations: Tensor) -> Tensor:
        """Saliency (B, K) from observations (B, K, ...) on the agent's device."""

    @torch.no_grad()
    def scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        self.modules().eval()
        return self.score_observations(problem.observe(contexts).to(self.device))

    @torch.no_grad()
    def act(self, observations: Tensor, *, deterministic: bool) -> Tensor:
        """The action that takes the candidates of largest score; there is nothing random in it."""
        self.modules().eval()
        return self.env.problem.choose(self.score_observations(observations))
