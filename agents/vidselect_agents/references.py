"""Reference selectors: random, uniform, dense, oracle. They learn nothing.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.problem import SelectionProblem


@dataclass(frozen=True)
class ReferenceConfig:
    """A reference has no settings."""


class Reference(Agent):
    """A selector that never looks at an observation; its choice is the candidates of largest score."""

    config_class = ReferenceConfig

    @property
    def looks_at(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def blind_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """Scores (B, K) that depend on nothing but the problem's shape."""

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        """Nothing to learn."""
        return self

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return problem.best(contexts, self.blind_scores(problem, contexts).to(contexts.device))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        is_single = np.ndim(observation) == len(self.env.single_observation_space.shape or ())
        count = 1 if is_single else len(observation)
        problem = self.env.problem
        actions = problem.choose(self.blind_scores(problem, self.unknown_contexts(count)))
        actions = actions[0] if is_single else actions
        return (actions.cpu().numpy() if isinstance(observation, np.ndarray) else actions), state


class RandomReference(Reference):
    """As many candidates as the action takes, at random: one in each section."""

    name = "random"

    def blind_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return torch.rand(problem.candidates(contexts).shape, generator=self.generator, device=self.device)


class UniformReference(Reference):
    """Evenly spaced candidates: the middle one of each section."""

    name = "uniform"

    def blind_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return problem.uniform(contexts).float()


class DenseReference(Reference):
    """All candidates."""

    name = "dense"

    def blind_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        raise ValueError("'dense' takes all candidates, which is no action here: use select()")

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return problem.valid(contexts)


class OracleReference(Reference):
    """The candidates with the largest probability of a true class, in each section: it sees the label."""

    name = "oracle"

    def blind_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        raise ValueError("'oracle' needs the label, which no observation shows: use select()")

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        return problem.best(contexts, label_probabilities(problem, contexts))


class EmpiricalReference(Reference):
    """Candidates drawn where the oracle's lay in the training videos (SCSampler, section 4.1.1).

    `learn` makes the histogram of their places, with the extent of each video mapped to [0, 1].
    """

    name = "empirical"
    num_bins = 20

    def __init__(self, env: SelectVectorEnv, **options: Any) -> None:
        super().__init__(env, **options)
        self.histogram = nn.Parameter(torch.full((self.num_bins,), 1 / self.num_bins), requires_grad=False)

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"histogram": nn.ParameterList([self.histogram])})

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Agent:
        problem = self.env.problem
        contexts = torch.arange(problem.num_contexts, device=problem.source.device)
        chosen = torch.cat([problem.best(part, label_probabilities(problem, part)) for part in contexts.split(1024)])
        counts = torch.bincount(self._bins(problem, contexts)[chosen], minlength=self.num_bins)
        self.histogram.copy_(counts / counts.sum())
        return self

    def blind_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """Keys whose largest are a draw without replacement in proportion to the histogram (Gumbel's trick)."""
        bins = self._bins(problem, contexts).cpu()
        uniform = torch.rand(bins.shape, generator=self.generator, device=self.device).cpu()
        return self.histogram[bins].clamp(min=1e-9).log() - (-uniform.log()).log()

    def _bins(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """The bin of the histogram that each candidate lies in, (B, K)."""
        return (problem.places(contexts) * self.num_bins).long().clamp(max=self.num_bins - 1)


def label_probabilities(problem: SelectionProblem, contexts: Tensor, candidates: Tensor | None = None) -> Tensor:
    """The largest probability of a true class that each candidate has: (B, K).

    Args:
        candidates: (B, K) places on the grid; None for all of the context's.
    """
    candidates = problem.candidates(contexts) if candidates is None else candidates
    probabilities = problem.source.probabilities(problem.videos(contexts), candidates)
    return (probabilities * problem.targets(contexts)[:, None]).amax(-1)
