"""Stable-Baselines3's algorithms as agents beside ours.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from typing import Any, ClassVar

import gymnasium
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn
from tqdm import tqdm

from vidselect_agents.base import Agent, Callback
from vidselect_agents.sb3.policy import CandidateExtractor, CandidatePolicy, actor_scores
from vidselect_agents.sb3.vec_env import BatchedVecEnv
from vidselect_agents.scorers.candidates import gmacs_of_observations
from vidselect_env.envs.choice import OneInEach
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.seeding import seeded


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

    `policy` is what chooses, and all that is saved; `model`, SB3's own object, is there once it has learned.
    """

    algorithm: ClassVar[type[BaseAlgorithm]]
    policy_class: ClassVar[Any] = CandidatePolicy
    hint: ClassVar[str] = ""
    action_spaces: ClassVar[tuple[type[gymnasium.Space], ...]]
    model: BaseAlgorithm | None = None
    policy: BasePolicy

    def __init__(
        self, shapes: LookShapes, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(shapes, config=config, seed=seed, device=device)
        if not isinstance(shapes.action_space, self.action_spaces):
            raise ValueError(
                f"agent {self.name!r} does not take {shapes.action_space}: use "
                f"{' or '.join(space.__name__ for space in self.action_spaces)}{self.hint}"
            )
        settings = dataclasses.asdict(self.config)
        self._policy_options = {
            "features_extractor_class": CandidateExtractor,
            "features_extractor_kwargs": {"scorer": settings.pop("scorer")},
            "net_arch": [],
        }
        self._settings = settings
        made = self.policy_class
        if isinstance(made, str):
            made = self.algorithm.policy_aliases[made]
        with seeded(seed, self.device):
            self.policy = made(
                shapes.observation_space,
                shapes.action_space,
                lambda _: settings["learning_rate"],
                **self._policy_options,
            ).to(self.device)

    def set_logger(self, logger: Logger) -> None:
        super().set_logger(logger)
        if self.model is not None:
            self.model.set_logger(logger)

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        model = self._model_on(env)
        model.set_logger(self.logger)
        with tqdm(total=total_timesteps, desc=self.name, unit="step", unit_scale=True, disable=not progress_bar) as bar:
            # The environment's wrapper writes the log's lines, the same for all agents: hence no log_interval.
            model.learn(
                total_timesteps,
                callback=_Bridge(self, callback, bar),
                log_interval=None,  # type: ignore[arg-type]
                reset_num_timesteps=False,
            )
        return self

    def _model_on(self, env: BatchedEnv) -> BaseAlgorithm:
        """SB3's own object on an environment, with the policy as it is."""
        if self.model is not None:
            return self.model
        if env.single_action_space != self.shapes.action_space:
            raise ValueError(
                f"agent {self.name!r} chooses in one step, which {env.problem.environment} is not: put "
                f"{self.algorithm.__name__} on a BatchedVecEnv of it, as docs/search.md does"
            )
        self.model = self.algorithm(
            self.policy_class,
            BatchedVecEnv(env),
            seed=self.seed,
            device=self.device,
            policy_kwargs=self._policy_options,
            **self._settings,
        )
        self.model.policy.load_state_dict(self.policy.state_dict())
        self.policy, self.model.num_timesteps = self.model.policy, self.num_timesteps
        return self.model

    def candidate_scores(self, looks: Looks) -> Tensor:
        """A score for each candidate, (B, K)."""
        return actor_scores(self.policy, looks.observation(self.shapes.shown).to(self.device))  # type: ignore[arg-type]

    def scores(self, looks: Looks) -> Tensor:
        return self.candidate_scores(looks)

    def select(self, looks: Looks) -> Tensor:
        return looks.best(self.candidate_scores(looks))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        predict = self.policy.predict if self.model is None else self.model.predict
        if isinstance(observation, Tensor):
            actions, state = predict(observation.cpu().numpy(), state, episode_start, deterministic)
            return torch.as_tensor(actions, device=observation.device), state
        return predict(observation, state, episode_start, deterministic)

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return gmacs_of_observations(self.backbone, shapes, self.shapes.shown)

    @property
    def backbone(self) -> nn.Module:
        """What looks at a candidate."""
        return self.policy.get_submodule("features_extractor.backbone")

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"policy": self.policy})


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

    made_for = Needs(environment="VideoClipSelect-v0", per_section=True)
    policy_class = "MlpPolicy"
    action_spaces = (gymnasium.spaces.Discrete,)
    hint = ", the action space of VideoClipSelect-v0 with per_section=True"

    @torch.no_grad()
    def candidate_scores(self, looks: Looks) -> Tensor:
        """Q-values, section by section."""
        assert isinstance(looks.choice, OneInEach)
        self.policy.set_training_mode(False)
        observations = looks.observation(self.shapes.shown).to(self.device)
        sections = observations.view(-1, looks.choice.num_clips, *observations.shape[2:]).float()
        return self.values(sections).view(len(observations), -1)

    @abstractmethod
    def values(self, sections: Tensor) -> Tensor:
        """Value of each clip of sections (B, N, ...): (B, N)."""


class DQNAgent(ValueAgent):
    name = "dqn"
    algorithm = DQN
    config_class = settings_of(DQN)

    def values(self, sections: Tensor) -> Tensor:
        return self.policy.get_submodule("q_net")(sections)

    @property
    def backbone(self) -> nn.Module:
        return self.policy.get_submodule("q_net.features_extractor.backbone")
