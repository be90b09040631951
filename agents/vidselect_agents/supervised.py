"""The learning loop of agents that learn from what the classifier said, not from reward.

Shapes: B sub-environments, K candidates a context.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback
from vidselect_agents.scorers.candidates import gmacs_of_observations, make_backbone
from vidselect_agents.steps import StepsConfig
from vidselect_env.envs.contract import Answers, Looks, LookShapes
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.seeding import GlobalGenerators, seeded


class SupervisedAgent(Agent):
    """Scores every candidate, and learns by a loss of the contexts that the environment draws.

    A subclass gives `modules`, `loss` and `scores`; its configuration is a `StepsConfig`.
    """

    resumable = True

    @abstractmethod
    def loss(self, env: BatchedEnv, *, done: float) -> Tensor:
        """What is minimised in the present contexts; `done` in [0, 1] is how far training has come."""

    @abstractmethod
    def scores(self, looks: Looks) -> Tensor:
        """Saliency of every candidate, (B, K), of which the largest are chosen; -inf for what is not looked at."""

    def select(self, looks: Looks) -> Tensor:
        return looks.best(self.scores(looks))

    def act(self, looks: Looks, *, deterministic: bool) -> Tensor:
        """The action that takes the candidates of largest score; there is nothing random in it."""
        return looks.choice.action(self.scores(looks))

    def parameter_groups(self) -> Sequence[dict]:
        """What is trained."""
        return [{"params": list(self.modules().parameters())}]

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        networks = self.modules()
        optimizer = self.config.make_optimizer(self.parameter_groups())
        schedule = self.config.make_schedule(optimizer, total=-(-total_timesteps // env.num_envs))
        env.reset(seed=self.seed)
        # Nothing is learned from rewards: the actions only make the environment go on, and are logged.
        looks = env.looks(())
        actions = looks.choice.action(looks.uniform().float())
        with seeded(self.seed, self.device):
            self._begin(env=env, optimizer=optimizer, schedule=schedule, dropout=GlobalGenerators(self.device))
            for done in self._updates(env, total_timesteps, callback, progress_bar):
                networks.train()
                loss = self.loss(env, done=done)
                self.check_loss(loss)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(networks.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                self.logger.record_mean("train/loss", loss.item())
                env.step(actions)
        return self


@dataclass(frozen=True, kw_only=True)
class ObservationScorerConfig(StepsConfig):
    """What every scorer of observations is told.

    Args:
        scorer: its backbone: auto, r2d18, r2d, r2d_bf16 or mlp, as DSN's.
    """

    scorer: str = "auto"


class ObservationScorer(SupervisedAgent):
    """One whose network sees an observation of each candidate by itself: the backbone `config.scorer`, and a layer."""

    config_class = ObservationScorerConfig
    config: ObservationScorerConfig

    def __init__(
        self, shapes: LookShapes, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(shapes, config=config, seed=seed, device=device)
        with seeded(seed, self.device):
            backbone = make_backbone(self.config.scorer, shapes.observation_space)
            last = nn.Linear(int(backbone.feature_dim), self.num_outputs)  # type: ignore[arg-type]
            self.network = nn.Sequential(backbone, last).to(self.device)

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Numbers that the network gives for a candidate."""

    @abstractmethod
    def saliency(self, outputs: Tensor) -> Tensor:
        """(B, K) from the network's outputs (B, K, num_outputs)."""

    @abstractmethod
    def loss_of(self, outputs: Tensor, answers: Answers, valid: Tensor) -> Tensor:
        """What is minimised, of outputs (B, K, num_outputs); `valid` (B, K) are the contexts' own."""

    def loss(self, env: BatchedEnv, *, done: float) -> Tensor:
        looks = env.looks()
        return self.loss_of(self.outputs(looks), env.answers(), looks.valid.to(self.device))

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": self.network})

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return gmacs_of_observations(self.network, shapes, self.shapes.shown)

    def outputs(self, looks: Looks) -> Tensor:
        """What the network says of every candidate: (B, K, num_outputs)."""
        observations = looks.observation(self.shapes.shown).to(self.device)
        return self.network(observations.flatten(0, 1)).view(len(observations), -1, self.num_outputs)

    @torch.no_grad()
    def scores(self, looks: Looks) -> Tensor:
        self.network.eval()
        return self.saliency(self.outputs(looks))
