"""Rules: selectors that look at nothing, or listen for what is loudest, or know where the action usually is.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_agents.base import Agent, Callback
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.rewards import label_probability
from vidselect_env.envs.wrappers import BatchedEnv


class BlindAgent(Agent):
    """Its choice is the candidates of largest score, and the scores depend on nothing that is seen."""

    made_for = Needs(fields=())

    @abstractmethod
    def scores(self, looks: Looks) -> Tensor:
        """(B, K)."""

    def select(self, looks: Looks) -> Tensor:
        return looks.best(self.scores(looks))

    def act(self, looks: Looks, *, deterministic: bool) -> Tensor:
        return looks.choice.action(self.scores(looks))


class RandomReference(BlindAgent):
    """As many candidates as the action takes, at random: one in each section."""

    name = "random"

    def scores(self, looks: Looks) -> Tensor:
        return torch.rand(looks.valid.shape, generator=self.generator, device=self.device)


class UniformReference(BlindAgent):
    """Evenly spaced candidates: the middle one of each section."""

    name = "uniform"

    def scores(self, looks: Looks) -> Tensor:
        return looks.uniform().float()


class DenseReference(Agent):
    """All candidates, which is no action of an environment."""

    name = "dense"
    made_for = Needs(fields=())

    def select(self, looks: Looks) -> Tensor:
        return looks.valid


class PlaceAgent(BlindAgent):
    """Knows places alone: a histogram over the training videos, with the extent of each mapped to [0, 1]."""

    num_bins = 20

    def __init__(self, shapes: LookShapes, **options: Any) -> None:
        super().__init__(shapes, **options)
        self.histogram = nn.Parameter(torch.full((self.num_bins,), 1 / self.num_bins), requires_grad=False)

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"histogram": nn.ParameterList([self.histogram])})

    def of_place(self, looks: Looks) -> Tensor:
        """The histogram at each candidate's place, (B, K), on the agent's device."""
        return self.histogram.detach().cpu()[self._bins(looks)].to(self.device)

    def _bins(self, looks: Looks) -> Tensor:
        return (looks.places * self.num_bins).long().clamp(max=self.num_bins - 1).cpu()


class EmpiricalReference(PlaceAgent):
    """Candidates drawn where the oracle's lay in the training videos (SCSampler, section 4.1.1)."""

    name = "empirical"

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        """One pass over the training videos, however many steps are asked for."""
        counts = torch.zeros(self.num_bins)
        for looks, answers in env.every_context():
            chosen = looks.best(label_probability(answers.probabilities, answers.targets[:, None])).cpu()
            counts += torch.bincount(self._bins(looks)[chosen], minlength=self.num_bins)
        self.histogram.copy_(counts / counts.sum())
        return self

    def scores(self, looks: Looks) -> Tensor:
        """Keys whose largest are a draw without replacement in proportion to the histogram (Gumbel's trick)."""
        weights = self.of_place(looks)
        uniform = torch.rand(weights.shape, generator=self.generator, device=self.device)
        return weights.clamp(min=1e-9).log() - (-uniform.log()).log()


class PositionReference(PlaceAgent):
    """The best fixed places: where the classifier was surest of the label in the training videos, on average."""

    name = "position"

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        """One pass over the training videos, however many steps are asked for."""
        sums, counts = torch.zeros(self.num_bins), torch.zeros(self.num_bins)
        for looks, answers in env.every_context():
            worth = label_probability(answers.probabilities, answers.targets[:, None]).cpu()
            valid, bins = looks.valid.cpu(), self._bins(looks)
            sums += torch.bincount(bins[valid], weights=worth[valid], minlength=self.num_bins)
            counts += torch.bincount(bins[valid], minlength=self.num_bins)
        self.histogram.copy_(sums / counts.clamp(min=1))
        return self

    def scores(self, looks: Looks) -> Tensor:
        return self.of_place(looks)


class LoudestReference(Agent):
    """The candidates with the most energy in their sound; evenly spaced ones where a video has none."""

    name = "loudest"
    made_for = Needs(environment="VideoFrameSelect-v0", observation="predictions", fields=("mel",))

    def select(self, looks: Looks) -> Tensor:
        energy = looks.field("mel").float().logsumexp((-2, -1))  # of log mel spectrograms
        return torch.where(energy.isnan().any(-1, keepdim=True), looks.uniform(), looks.best(energy.nan_to_num()))
