"""An agent: a selector that can learn from an environment, and is saved with the shapes that it was made for.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn
from tqdm import tqdm

from vidselect_agents.settings import NoSettings, restored
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.files import check_finite, check_regular, write_tensors
from vidselect_env.fitting.processes import ALONE
from vidselect_env.settings import typed

FILE_NAME = "agent.safetensors"
AGENT_FORMAT = 2  # raise it when what is saved changes
Callback = Callable[["Agent"], bool]


class Agent(ABC):
    """Something that chooses candidates, and may learn to.

    Args:
        shapes: of the looks that it will see, as an environment's `shapes`.
        config: the agent's own dataclass, or None for its defaults.
        seed: of everything random in it.
        device: where its networks run.

    Attribute `needs`: what it looks at, and the environment that it is made for.
    """

    name: ClassVar[str]
    config_class: ClassVar[type] = NoSettings
    resumable: ClassVar[bool] = False  # whether `training` can be asked in the midst of `learn`
    made_for: ClassVar[Needs] = Needs()

    def __init__(
        self, shapes: LookShapes, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        self.shapes = shapes
        self.config = self.config_class() if config is None else config
        self.seed = seed
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.num_timesteps = 0
        self._learning: dict[str, Any] = {}  # what `learn` has beside networks: each with a `state_dict`
        self._resumed: dict[str, Any] | None = None
        self._update = 0
        self.processes = ALONE  # that learn together, each on its share of the contexts
        self.logger = Logger(None, [])
        needs = self.needs_with(self.config)
        self.needs = needs if needs.fields is not None else dataclasses.replace(needs, fields=shapes.shown)

    @classmethod
    def needs_with(cls, config: Any) -> Needs:
        """What an agent of these settings needs, before there is one; `fields` None for the environment's own."""
        return cls.made_for

    def set_logger(self, logger: Logger) -> None:
        """Where `learn` writes: a logger of Stable-Baselines3."""
        self.logger = logger

    @abstractmethod
    def select(self, looks: Looks) -> Tensor:
        """Which candidates to classify, when it counts: (B, K) bool."""

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        """Take `total_timesteps` more steps of sub-environments; `callback(agent)` returns False to stop.

        An agent that does not say otherwise has nothing to learn.
        """
        return self

    def act(self, looks: Looks, *, deterministic: bool) -> Tensor:
        """Actions (B, ...) in an environment; at random where the agent has a random policy and may use it."""
        raise ValueError(f"{self.name!r} chooses what is no action here: use select()")

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Actions for one or a batch of observations, and the unchanged state: Stable-Baselines3's protocol.

        NumPy in, NumPy out; torch in, torch out.

        Raises:
            ValueError: an observation does not show what the agent looks at.
        """
        observations = torch.as_tensor(observation)
        is_single = observations.ndim == len(self.shapes.observation_space.shape)
        observations = observations[None] if is_single else observations
        looks = self.shapes.blind(len(observations), self._fields_of(observations))
        actions = self.act(looks, deterministic=deterministic)
        actions = (actions[0] if is_single else actions).to(observations.device)
        return (actions.numpy() if isinstance(observation, np.ndarray) else actions), state

    def cost_gmacs(self, shapes: LookShapes) -> float:
        """Multiply-adds of choosing for one context, in units of 1e9."""
        return 0.0

    def training(self) -> dict[str, Any]:
        """All that `learn` needs to go on, asked between two of its updates: tensors, numbers and texts.

        Raises:
            ValueError: the agent cannot be resumed.
        """
        if not self.resumable:
            raise ValueError(f"agent {self.name!r} cannot be resumed: what it has learned is saved at the end alone")
        state = {
            "update": self._update,
            "num_timesteps": self.num_timesteps,
            "networks": self.modules().state_dict(),
            "generator": self.generator.get_state(),
            "learning": {name: part.state_dict() for name, part in self._learning.items()},
        }
        return copy.deepcopy(state)  # training goes on in the same tensors

    def resume(self, state: dict[str, Any]) -> None:
        """Have the next `learn`, of as many steps as before, go on where `training` was asked for.

        Raises:
            ValueError: the agent cannot be resumed, or the state is not of such an agent.
        """
        if not self.resumable:
            raise ValueError(f"agent {self.name!r} cannot be resumed: what it has learned is saved at the end alone")
        try:
            self.modules().load_state_dict(state["networks"])
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the checkpoint does not fit agent {self.name!r}: {error}") from error
        self._resumed = state

    def _begin(self, **parts: Any) -> None:
        """Called by `learn` when all that it has, each with a `state_dict`, is as new; goes on where it is asked to."""
        self._learning, state, self._resumed = parts, self._resumed, None
        self._update = 0
        if state is None:
            return
        for name, part in parts.items():
            part.load_state_dict(state["learning"][name])
        self._update, self.num_timesteps = state["update"], state["num_timesteps"]
        self.generator.set_state(state["generator"].cpu())

    def modules(self) -> nn.ModuleDict:
        """The networks that `save` writes."""
        return nn.ModuleDict()

    def save(self, path: str | Path) -> None:
        """Write networks, configuration and shapes to one safetensors file, whole or not at all.

        Raises:
            ValueError: a network has numbers that are not finite.
        """
        check_finite(self.modules().state_dict(), path)
        header = {
            "format": AGENT_FORMAT,
            "agent": self.name,
            "config": dataclasses.asdict(self.config),
            "shapes": self.shapes.to_json(),
            "seed": self.seed,
            "num_timesteps": self.num_timesteps,
        }
        write_tensors(path, self.modules().state_dict(), header=header)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> Agent:
        """The agent that `save` wrote. The file holds numbers and JSON; nothing of it is executed.

        Raises:
            ValueError: no agent's file, another agent's, or one of an earlier version.
        """
        header, tensors = read_agent_file(path)
        if header.get("agent") != cls.name:
            raise ValueError(f"{str(path)!r} holds agent {header.get('agent')!r}, not {cls.name!r}")
        check_finite(tensors, path)
        try:
            config = restored(cls.config_class, header["config"])
            shapes = LookShapes.from_json(header["shapes"])
            agent = cls(
                shapes, config=cls.reloaded(config), seed=typed(header["seed"], int, name="seed"), device=device
            )
            agent.config = config
            agent.num_timesteps = typed(header["num_timesteps"], int, name="num_timesteps")
            agent.modules().load_state_dict(tensors)
        except Exception as error:  # whatever a damaged file makes of its readers
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{str(path)!r} does not fit agent {cls.name!r}: {reason}") from error
        return agent

    @classmethod
    def reloaded(cls, config: Any) -> Any:
        """The settings that networks are made with when their weights come from a file."""
        return config

    def check_loss(self, loss: Tensor) -> None:
        """See that a loss is finite before anything is learned from it.

        Raises:
            ValueError: it is not: what was saved last stays as it is.
        """
        if not torch.isfinite(loss):
            raise ValueError(
                f"the loss ({loss.item()}) of {self.name!r} must be finite: training stops after {self.num_timesteps} "
                "steps, and what was saved last stays; try a smaller learning rate"
            )

    def _fields_of(self, observations: Tensor) -> dict[str, Tensor]:
        """The fields that observations (B, K, ...) show side by side."""
        shown = self.shapes.shown
        if not set(self.needs.fields or ()) <= set(shown):
            raise ValueError(
                f"{self.name!r} looks at {', '.join(self.needs.fields or ())}, which observations of "
                f"{'+'.join(shown)} do not show: use select()"
            )
        if len(shown) == 1:
            return {shown[0]: observations}
        widths = [self.shapes.shape(name)[0] for name in shown]
        return dict(zip(shown, observations.split(widths, -1), strict=True))

    def _updates(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None, progress_bar: bool
    ) -> Iterator[float]:
        """One after another the share of training that is done, while `learn` steps `env` once for each."""
        at_once = env.num_envs * self.processes.count
        updates = -(-total_timesteps // at_once)
        with tqdm(total=total_timesteps, desc=self.name, unit="step", unit_scale=True, disable=not progress_bar) as bar:
            bar.update(self._update * at_once)
            while self._update < updates:
                yield self._update / updates
                self._update += 1
                self.num_timesteps += at_once
                bar.update(at_once)
                if callback is not None and not callback(self):
                    return


def read_agent_file(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `Agent.save` wrote: its header, and the tensors.

    Raises:
        ValueError: no agent's file, or one of an earlier version.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("vidselect", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} holds no agent: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{str(path)!r} holds no agent: its header is no object")
    if header.get("format") != AGENT_FORMAT:
        raise ValueError(
            f"{str(path)!r} was saved in agent format {header.get('format', 1)}, and this version reads "
            f"{AGENT_FORMAT}: train it again"
        )
    return header, tensors
