"""The learning loop of agents that learn from what the classifier said, not from reward.

Shapes: B sub-environments, K candidates a context.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback, progress
from vidselect_env.envs.problem import SelectionProblem


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
        with progress(total_timesteps, label=self.name, shown=progress_bar) as bar:
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


class ObservationScorer(SupervisedAgent):
    """One that scores observations, so that it can also be asked by `predict`."""

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
