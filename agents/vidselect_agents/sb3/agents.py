"""Stable-Baselines3's algorithms as agents beside ours.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback, progress
from vidselect_agents.sb3.policy import CandidateExtractor, CandidatePolicy, actor_scores
from vidselect_agents.sb3.vec_env import BatchedVecEnv
from vidselect_agents.scorers.cost import gmacs_of_observations
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.problem import SelectionProblem


def settings_of(algorithm: type[BaseAlgorithm]) -> type:
    """A dataclass of an algorithm's numeric settings, with its own defaults, and `scorer`."""
    fields: list[Any] = [("scorer", str, dataclasses.field(default="auto"))]
    for name, parameter in inspect.signature(algorithm).parameters.items():
        if type(parameter.default) in (int, float, bool) and name not in ("verbose", "_init_setup_model"):
            fields.append((name, type(parameter.default), dataclasses.field(default=parameter.default)))
    settings = dataclasses.make_dataclass(f"{algorithm.__name__}Config", fields, frozen=True, kw_only=True)
    settings.__doc__ = f"Settings of Stable-Baselines3's {algorithm.__name__}, under its own names."
    return settings


class SB3Agent(Agent):
    """An algorithm of Stable-Baselines3 on a batched environment.

    `save` writes SB3's own archive, which the algorithm's plain `load` reads.
    """

    algorithm: ClassVar[type[BaseAlgorithm]]
    policy_class: ClassVar[Any] = CandidatePolicy
    hint: ClassVar[str] = ""
    action_spaces: ClassVar[tuple[type[gymnasium.Space], ...]]
    file_name = "agent.zip"
    model: BaseAlgorithm

    def __init__(
        self,
        env: SelectVectorEnv,
        *,
        config: Any = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        model: BaseAlgorithm | None = None,
    ) -> None:
        super().__init__(env, config=config, seed=seed, device=device)
        if model is not None:
            self.model, self.num_timesteps = model, model.num_timesteps
            return
        if not isinstance(env.single_action_space, self.action_spaces):
            raise ValueError(
                f"agent {self.name!r} does not take {env.single_action_space}: use "
                f"{' or '.join(space.__name__ for space in self.action_spaces)}{self.hint}"
            )
        settings = dataclasses.asdict(self.config)
        scorer = settings.pop("scorer")
        self.model = self.algorithm(
            self.policy_class,
            BatchedVecEnv(env),
            seed=seed,
            device=device,
            policy_kwargs={
                "features_extractor_class": CandidateExtractor,
                "features_extractor_kwargs": {"scorer": scorer},
                "net_arch": [],
            },
            **settings,
        )
        self.model.own_config = dataclasses.asdict(self.config)  # type: ignore[attr-defined]  # saved with the model

    def set_logger(self, logger: Logger) -> None:
        super().set_logger(logger)
        self.model.set_logger(logger)

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        self.model.set_logger(self.logger)
        with progress(total_timesteps, label=self.name, shown=progress_bar) as bar:
            # The environment's recorder writes the log's lines, the same for all agents: hence no log_interval.
            self.model.learn(
                total_timesteps,
                callback=_Bridge(self, callback, bar),
                log_interval=None,  # type: ignore[arg-type]
                reset_num_timesteps=False,
            )
        return self

    def candidate_scores(self, observations: Tensor, num_clips: int) -> Tensor:
        """A score for each candidate, (B, K, ...) -> (B, K)."""
        return actor_scores(self.model.policy, observations)  # type: ignore[arg-type]

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        observations = problem.observe(contexts).to(self.device)
        return problem.best(contexts, self.candidate_scores(observations, problem.columns).to(contexts.device))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        if isinstance(observation, Tensor):
            actions, state = self.model.predict(observation.cpu().numpy(), state, episode_start, deterministic)
            return torch.as_tensor(actions, device=observation.device), state
        return self.model.predict(observation, state, episode_start, deterministic)

    def scorer_gmacs(self, problem: SelectionProblem) -> float:
        return gmacs_of_observations(self.backbone, problem)

    @property
    def backbone(self) -> nn.Module:
        """What looks at a candidate."""
        return self.model.policy.get_submodule("features_extractor.backbone")

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"policy": self.model.policy})

    def save(self, path: str | Path) -> None:
        self.model.save(path)

    @classmethod
    def load(cls, path: str | Path, env: SelectVectorEnv, *, device: str | torch.device = "cpu") -> Agent:
        model = cls.algorithm.load(path, env=BatchedVecEnv(env), device=device)
        config = cls.config_class(**model.own_config)  # type: ignore[attr-defined]
        return cls(env, config=config, seed=model.seed or 0, device=device, model=model)


class _Bridge(BaseCallback):
    """Our callback and progress bar as SB3's."""

    def __init__(self, agent: SB3Agent, callback: Callback | None, bar: Any) -> None:
        super().__init__()
        self.agent, self.inner, self.bar = agent, callback, bar

    def _on_step(self) -> bool:
        self.bar.update(self.num_timesteps - self.agent.num_timesteps)
        self.agent.num_timesteps = self.num_timesteps
        return self.inner is None or self.inner(self.agent)


class PPOAgent(SB3Agent):
    name = "ppo"
    algorithm = PPO
    config_class = settings_of(PPO)
    action_spaces = (gymnasium.spaces.MultiDiscrete, gymnasium.spaces.Discrete, gymnasium.spaces.MultiBinary)


class A2CAgent(SB3Agent):
    name = "a2c"
    algorithm = A2C
    config_class = settings_of(A2C)
    action_spaces = PPOAgent.action_spaces


class ValueAgent(SB3Agent):
    """DQN and its kin know one choice among few: an episode is a section, and a step one of its clips."""

    per_section = True
    policy_class = "MlpPolicy"
    action_spaces = (gymnasium.spaces.Discrete,)
    hint = ", the action space of VideoClipSelect-v0 with per_section=True"

    @torch.no_grad()
    def candidate_scores(self, observations: Tensor, num_clips: int) -> Tensor:
        """Q-values, section by section."""
        self.model.policy.set_training_mode(False)
        sections = observations.view(-1, num_clips, *observations.shape[2:]).float()
        return self.values(sections).view(len(observations), -1)

    @abstractmethod
    def values(self, sections: Tensor) -> Tensor:
        """Value of each clip of sections (B, N, ...): (B, N)."""


class DQNAgent(ValueAgent):
    name = "dqn"
    algorithm = DQN
    config_class = settings_of(DQN)

    def values(self, sections: Tensor) -> Tensor:
        return self.model.policy.get_submodule("q_net")(sections)

    @property
    def backbone(self) -> nn.Module:
        return self.model.policy.get_submodule("q_net.features_extractor.backbone")
