"""Reference selectors: random, uniform, dense, oracle. They learn nothing.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidselect_agents.base import Agent, Callback
from vidselect_env.envs.problem import SelectionProblem


@dataclass(frozen=True)
class ReferenceConfig:
    """A reference has no settings."""


class Reference(Agent):
    """A selector that never looks at an observation; its choice is the candidates of largest score."""

    config_class = ReferenceConfig

    @property
    def observes(self) -> bool:
        return False

    @abstractmethod
    def blind_scores(self, problem: SelectionProblem, count: int) -> Tensor:
        """Scores (count, K) that depend on nothing but the problem's shape."""

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        """Nothing to learn."""
        return self

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        scores = self.blind_scores(problem, len(contexts)).to(contexts.device)
        return problem.selection(contexts, problem.choose(scores))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        is_single = np.ndim(observation) == len(self.env.single_observation_space.shape or ())
        count = 1 if is_single else len(observation)
        actions = self.env.problem.choose(self.blind_scores(self.env.problem, count))
        actions = actions[0] if is_single else actions
        return (actions.cpu().numpy() if isinstance(observation, np.ndarray) else actions), state


class RandomReference(Reference):
    """As many candidates as the action takes, at random: one in each section."""

    name = "random"

    def blind_scores(self, problem: SelectionProblem, count: int) -> Tensor:
        return torch.rand(count, len(problem.uniform()), generator=self.generator, device=self.device)


class UniformReference(Reference):
    """Evenly spaced candidates: the middle one of each section."""

    name = "uniform"

    def blind_scores(self, problem: SelectionProblem, count: int) -> Tensor:
        return problem.uniform().float().expand(count, -1)


class DenseReference(Reference):
    """All candidates."""

    name = "dense"

    def blind_scores(self, problem: SelectionProblem, count: int) -> Tensor:
        raise ValueError("'dense' takes all candidates, which is no action here: use select()")

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return torch.ones(problem.candidates(contexts).shape, dtype=torch.bool, device=contexts.device)


class OracleReference(Reference):
    """The candidates with the largest probability of a true class, in each section: it sees the label."""

    name = "oracle"

    def blind_scores(self, problem: SelectionProblem, count: int) -> Tensor:
        raise ValueError("'oracle' needs the label, which no observation shows: use select()")

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        of_labels = (problem.probabilities(contexts) * problem.targets(contexts)[:, None]).amax(-1)
        return problem.selection(contexts, problem.choose(of_labels))
