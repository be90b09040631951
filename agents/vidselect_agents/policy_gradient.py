"""The learning loop of agents that follow a policy gradient.

Shapes: B sub-environments, S samples a context, G independent decisions a context.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback, ObservingAgent, progress
from vidselect_agents.gradients import BASELINES, MovingAverage, all_arms_loss, sampled_loss
from vidselect_agents.selection import OnePerSection, Selection
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.seeding import seeded


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig:
    """What every policy-gradient agent is told.

    Args:
        gradient: reinforce, or all_arms: exact and without sampling, where a decision has few arms.
        baseline: of REINFORCE: greedy, moving_average, leave_one_out or none.
        samples_per_context: actions tried in each context; a bank makes more than one free.
        learning_rate: Adam's.
        decay: of the learning rate over the run: cosine to zero, none, or steps of a tenth at 4/9 and 8/9
            of it (AS's 20th and 40th of 45 epochs).
        weight_decay: Adam's.
        entropy_coefficient: weight of a decision's mean entropy, in nats, that is added to the reward.
        max_gradient_norm: larger gradients are scaled down to it.
    """

    gradient: str = "reinforce"
    baseline: str = "greedy"
    samples_per_context: int = 1
    learning_rate: float = 1e-3
    decay: str = "cosine"
    weight_decay: float = 1e-4
    entropy_coefficient: float = 0.0
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (
            ("gradient", ("reinforce", "all_arms")),
            ("baseline", BASELINES),
            ("decay", tuple(_DECAYS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}")
        if self.samples_per_context < 1:
            raise ValueError(f"samples_per_context ({self.samples_per_context}) must be at least 1")


_DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + float(torch.cos(torch.tensor(done * torch.pi)))),
    "steps": lambda done: 0.1 ** ((done >= 4 / 9) + (done >= 8 / 9)),
}


class PolicyGradientAgent(ObservingAgent):
    """Learns by REINFORCE, or the exact gradient, on a batched environment.

    A subclass gives `make_scorer`, and `policy`: the distribution over selections of a batch of contexts.
    """

    config: PolicyGradientConfig

    def __init__(
        self, env: SelectVectorEnv, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(env, config=config, seed=seed, device=device)
        with seeded(seed, self.device):
            self.scorer = self.make_scorer().to(self.device)
        self._moving_average: MovingAverage | None = None

    @abstractmethod
    def make_scorer(self) -> nn.Module:
        """The network from observations to scores."""

    @abstractmethod
    def policy(self, observations: Tensor, valid: Tensor | None = None) -> Selection:
        """The distribution over selections, from observations (B, ...); `valid` (B, K) are the contexts' own."""

    def auxiliary_loss(self, selection: Selection) -> Tensor | float:
        """Added to the policy gradient's loss."""
        return 0.0

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"scorer": self.scorer})

    @torch.no_grad()
    def act(self, observations: Tensor, *, deterministic: bool) -> Tensor:
        self.scorer.eval()
        selection = self.policy(observations)
        return selection.mode() if deterministic else selection.sample(1, self.generator)[0]

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        optimizer = torch.optim.Adam(
            self.scorer.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        updates = -(-total_timesteps // self.env.num_envs)
        decay = _DECAYS[self.config.decay]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: decay(update / max(updates, 1)))
        observations, _ = self.env.reset(seed=self.seed)
        with progress(total_timesteps, label=self.name, shown=progress_bar) as bar:
            for _ in range(updates):
                self.scorer.train()
                selection = self.policy(observations.to(self.device), self.env.problem.valid(self.env.contexts))
                actions = selection.sample(self.config.samples_per_context, self.generator)
                objective = self._loss(selection, actions) + self.auxiliary_loss(selection)
                entropy = selection.entropy().mean()
                loss = objective - self.config.entropy_coefficient * entropy
                optimizer.zero_grad()
                loss.backward()
                norm = nn.utils.clip_grad_norm_(self.scorer.parameters(), self.config.max_gradient_norm)
                optimizer.step()
                schedule.step()
                for name, value in (("loss", loss), ("entropy", entropy), ("gradient_norm", norm)):
                    self.logger.record_mean(f"train/{name}", value.item())
                propensities = selection.log_prob(actions[:1])[0].detach().exp()
                taken = actions[0].view(self.env.action_space.shape or (-1,)).to(self.env.device)
                observations, *_ = self.env.step(taken, propensities=propensities)
                self.num_timesteps += self.env.num_envs
                bar.update(self.env.num_envs)
                if callback is not None and not callback(self):
                    break
        return self

    def _loss(self, selection: Selection, actions: Tensor) -> Tensor:
        if self.config.gradient == "all_arms":
            if not isinstance(selection, OnePerSection):
                raise ValueError(f"gradient 'all_arms' needs one choice a section, which {self.name!r} has not")
            return all_arms_loss(selection, self.env.full_information().to(self.device))
        if self.config.baseline == "moving_average" and self._moving_average is None:
            decisions = selection.entropy().shape[-1]
            self._moving_average = MovingAverage(self.env.problem.num_contexts, decisions)
        return sampled_loss(
            selection,
            actions,
            lambda tried: self.env.decision_rewards(tried.to(self.env.device)).to(self.device),
            baseline=self.config.baseline,
            contexts=self.env.contexts.to(self.device),
            moving_average=self._moving_average,
        )
