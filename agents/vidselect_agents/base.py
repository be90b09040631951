"""The protocol of an agent, Stable-Baselines3's: learn, predict, save, load.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

import dataclasses
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn
from tqdm import tqdm

from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.problem import SelectionProblem

Callback = Callable[["Agent"], bool]


class Agent(ABC):
    """Something that chooses candidates, and may learn to.

    Args:
        env: a batched environment; its problem gives the shapes.
        config: the agent's own dataclass, or None for its defaults.
        seed: of everything random in it.
        device: where its networks run.
    """

    config_class: ClassVar[type]
    name: ClassVar[str]
    file_name: ClassVar[str] = "agent.safetensors"

    def __init__(
        self, env: SelectVectorEnv, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        self.env = env
        self.config = self.config_class() if config is None else config
        self.seed = seed
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.num_timesteps = 0
        self.logger = Logger(None, [])

    def set_logger(self, logger: Logger) -> None:
        """Where `learn` writes: a logger of Stable-Baselines3."""
        self.logger = logger

    @abstractmethod
    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        """Take `total_timesteps` more steps of sub-environments; `callback(agent)` returns False to stop."""

    @abstractmethod
    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """Which candidates of contexts (B,) to classify, when it counts: (B, K) bool."""

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions for one or a batch of observations, and the unchanged state.

        NumPy in, NumPy out; torch in, torch out.
        """

    def scorer_gmacs(self, problem: SelectionProblem) -> float:
        """Multiply-adds of choosing for one context, in units of 1e9."""
        return 0.0

    @property
    def looks_at(self) -> tuple[str, ...]:
        """The fields of a bank that it needs of a video in order to choose; it is charged for making them."""
        return (self.env.problem.observation,)

    def unknown_contexts(self, count: int) -> Tensor:
        """Some contexts (count,) in place of those that an observation is of, where all are alike.

        Raises:
            ValueError: they are not.
        """
        problem = self.env.problem
        everything = torch.arange(problem.num_contexts, device=problem.source.device)
        if not problem.valid(everything).all():
            raise ValueError(f"{self.name!r} must know the video where videos have different lengths: use select()")
        return everything.new_zeros(count)

    def modules(self) -> nn.ModuleDict:
        """The networks that `save` writes."""
        return nn.ModuleDict()

    def save(self, path: str | Path) -> None:
        """Write networks and configuration to one safetensors file, atomically."""
        tensors = {name: value.contiguous().cpu() for name, value in self.modules().state_dict().items()}
        header = {"agent": self.name, "config": dataclasses.asdict(self.config), "seed": self.seed}
        aside = Path(path).with_suffix(f".{os.getpid()}.part")
        save_file(tensors, aside, metadata={"vidselect": json.dumps(header)})
        os.replace(aside, path)

    @classmethod
    def load(cls, path: str | Path, env: SelectVectorEnv, *, device: str | torch.device = "cpu") -> Agent:
        """The agent that `save` wrote, for an environment with the same candidates a section.

        Raises:
            ValueError: the file is another agent's.
        """
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("vidselect", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header.get("agent") != cls.name:
            raise ValueError(f"{str(path)!r} holds agent {header.get('agent')!r}, not {cls.name!r}")
        config = cls.config_class(**cls.restored(header["config"]))
        agent = cls(env, config=config, seed=header["seed"], device=device)
        agent.modules().load_state_dict(tensors)
        return agent

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> dict[str, Any]:
        """The fields of a configuration as they were before they were written as JSON."""
        return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}


class ObservingAgent(Agent):
    """An agent whose choice is an action of its environment, made from scores of the observation."""

    @abstractmethod
    def act(self, observations: Tensor, *, deterministic: bool) -> Tensor:
        """Actions (B, ...) of a batch of observations on the agent's device."""

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        actions = self.act(problem.observe(contexts).to(self.device), deterministic=True)
        return problem.selection(contexts, actions.to(contexts.device)) & problem.valid(contexts)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        space = self.env.single_observation_space
        observations = torch.as_tensor(observation, device=self.device)
        is_single = observations.ndim == len(space.shape or ())
        actions = self.act(observations[None] if is_single else observations, deterministic=deterministic)
        if not self.env.single_action_space.shape:  # Discrete: one choice is a number, not a list of one
            actions = actions.view(len(actions))
        actions = actions[0] if is_single else actions
        return (actions.cpu().numpy() if isinstance(observation, np.ndarray) else actions), state


def progress(total: int, *, label: str, shown: bool) -> tqdm:
    """A progress bar in steps of sub-environments."""
    return tqdm(total=total, desc=label, unit="step", unit_scale=True, disable=not shown)
