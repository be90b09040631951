"""The learning loop of agents that follow a policy gradient.

Shapes: B sub-environments, S samples a context, G independent decisions a context.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback
from vidselect_agents.baselines import BASELINES, Baseline, MovingAverage, make_baseline
from vidselect_agents.selection import Selection
from vidselect_agents.steps import StepsConfig
from vidselect_env.envs.contract import Looks, LookShapes
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.fitting.processes import share_norms
from vidselect_env.seeding import seeded
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(StepsConfig):
    """What every policy-gradient agent is told.

    Args:
        gradient: reinforce, or all_arms: exact and without sampling, where a decision has few arms.
        baseline: of REINFORCE: greedy, moving_average, leave_one_out, group_normalised or none.
        samples_per_context: actions tried in each context; a bank makes more than one free.
        entropy_coefficient: weight of a decision's mean entropy, in nats, that is added to the reward.
        max_gradient_norm: larger gradients are scaled down to it.
    """

    gradient: str = "reinforce"
    baseline: str = "greedy"
    samples_per_context: int = 1
    entropy_coefficient: float = 0.0
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("gradient", ("reinforce", "all_arms")), ("baseline", BASELINES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}")
        check_settings(self, at_least={"samples_per_context": 1}, above={"max_gradient_norm": 0})


class PolicyGradientAgent(Agent):
    """Learns a policy by its gradient, on a batched environment.

    A subclass gives `make_scorer`; `policy`, the distribution over selections of a batch of contexts; and `loss`,
    written out of `gradients` and `baselines`.
    """

    config: PolicyGradientConfig
    resumable = True

    def __init__(
        self, shapes: LookShapes, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(shapes, config=config, seed=seed, device=device)
        with seeded(seed, self.device):
            self.scorer = self.make_scorer().to(self.device)
        self._baseline: Baseline | None = None

    @abstractmethod
    def make_scorer(self) -> nn.Module:
        """The network from looks to scores."""

    @abstractmethod
    def policy(self, looks: Looks) -> Selection:
        """The distribution over selections."""

    @abstractmethod
    def loss(self, env: BatchedEnv, policy: Any) -> Tensor:
        """What is minimised, of the policy in the present contexts, which `env` then leaves by one step."""

    def learning_beside(self, env: BatchedEnv, *, total: int) -> dict[str, Any]:
        """What else learns in `total` updates, by name, each with a `state_dict`."""
        return {}

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"scorer": self.scorer})

    @torch.no_grad()
    def act(self, looks: Looks, *, deterministic: bool) -> Tensor:
        self.scorer.eval()
        policy = self.policy(looks)
        actions = policy.mode() if deterministic else policy.sample(1, self.generator)[0]
        return actions.view(len(looks), *(looks.choice.action_space(looks.valid.shape[1]).shape or ()))

    def select(self, looks: Looks) -> Tensor:
        actions = self.act(looks, deterministic=True).to(looks.valid.device)
        return looks.choice.selection(actions) & looks.valid

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        config = self.config
        total = -(-total_timesteps // (env.num_envs * self.processes.count))
        if self.processes.count > 1:
            self.processes.same(self.scorer)
            share_norms(self.scorer, on_gpu=self.device.type == "cuda")
        optimizer = config.make_optimizer(self.scorer)
        schedule = config.make_schedule(optimizer, total=total)
        beside = self.learning_beside(env, total=total)
        env.reset(seed=self.seed)
        if self._resumed is not None and self._resumed["baseline"] is not None:
            self._baseline = MovingAverage.from_state(self._resumed["baseline"])
        self._begin(env=env, optimizer=optimizer, schedule=schedule, **beside)
        for _ in self._updates(env, total_timesteps, callback, progress_bar):
            self.scorer.train()
            policy = self.policy(env.looks())
            entropy = policy.entropy().mean()
            self.check_loss(entropy)  # before anything is drawn from the policy
            loss = self.loss(env, policy) - config.entropy_coefficient * entropy
            self.check_loss(loss)
            optimizer.zero_grad()
            (loss / self.processes.count).backward()
            self.processes.add_gradients(self.scorer.parameters())
            norm = nn.utils.clip_grad_norm_(self.scorer.parameters(), config.max_gradient_norm)
            optimizer.step()
            schedule.step()
            for name, value in (("loss", loss), ("entropy", entropy), ("gradient_norm", norm)):
                self.logger.record_mean(f"train/{name}", self.processes.mean(value.detach()).item())
        return self

    def training(self) -> dict[str, Any]:
        means = self._baseline.state_dict() if isinstance(self._baseline, MovingAverage) else None
        return super().training() | {"baseline": means}

    def sample(self, policy: Any, num_samples: int) -> Tensor:
        """Actions (S, B, ...) drawn from the policy."""
        return policy.sample(num_samples, self.generator)

    def play(self, env: BatchedEnv, policy: Selection) -> tuple[Tensor, Tensor]:
        """Actions (S, B, ...) drawn from the policy, and their advantages (S, B, G).

        The environment is stepped by the first sample; what the others, and whatever else the baseline asks for,
        would have earned is asked of it before.
        """
        if self._baseline is None:
            num_contexts, num_decisions = env.problem.num_contexts, policy.entropy().shape[-1]
            self._baseline = make_baseline(self.config.baseline, num_contexts=num_contexts, num_decisions=num_decisions)
        actions = self.sample(policy, self.config.samples_per_context)
        asked = self._baseline.tries(policy)
        others = actions[1:] if asked is None else torch.cat([actions[1:], asked])
        if not env.problem.source.knows_all:  # one batch of the classifier, whose answers are remembered
            env.decision_rewards((actions if asked is None else torch.cat([actions, asked])).to(env.device))
        contexts = env.contexts % env.problem.num_contexts  # whichever candidates were drawn in them
        earned = env.decision_rewards(others.to(env.device)).to(self.device) if len(others) else None
        paid = self.step(env, policy, actions[0])[None]
        known = paid if earned is None else torch.cat([paid, earned])
        num_samples = len(actions)
        advantages = self._baseline.advantages(known[:num_samples], known[num_samples:], contexts)
        return actions, advantages

    def step(self, env: BatchedEnv, policy: Selection, actions: Tensor) -> Tensor:
        """Step the environment by actions (B, ...); the reward of each decision, (B, G)."""
        propensities = policy.log_prob(actions[None])[0].detach().exp()
        taken = actions.view(env.action_space.shape or (-1,)).to(env.device)
        _, rewards, _, _, infos = env.step(taken, propensities=propensities)
        return infos["final_info"].get("section_rewards", rewards[:, None]).to(self.device)
