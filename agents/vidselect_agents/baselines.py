"""Baselines of REINFORCE: what a reward is compared with, a class each.

Shapes: S samples of each of B contexts, E more that a baseline asks for, G independent decisions a context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from vidselect_agents.selection import Selection

BASELINES = ("none", "greedy", "moving_average", "leave_one_out", "group_normalised")


class Baseline(ABC):
    """Turns rewards into advantages; it may depend on anything but the sample that it is subtracted from."""

    def tries(self, policy: Selection) -> Tensor | None:
        """Actions (E, B, ...) whose rewards it wants to know, beside those of the samples; None for none."""
        return None

    @abstractmethod
    def advantages(self, rewards: Tensor, tried: Tensor, contexts: Tensor) -> Tensor:
        """Of rewards (S, B, G), with those (E, B, G) of `tries`, in contexts (B,): (S, B, G)."""


class NoBaseline(Baseline):
    """The reward itself."""

    def advantages(self, rewards: Tensor, tried: Tensor, contexts: Tensor) -> Tensor:
        return rewards


class Greedy(Baseline):
    """The reward of the most probable action (DSN, Eq. 11)."""

    def tries(self, policy: Selection) -> Tensor:
        return policy.mode()[None]

    def advantages(self, rewards: Tensor, tried: Tensor, contexts: Tensor) -> Tensor:
        return rewards - tried


class LeaveOneOut(Baseline):
    """For each sample, the mean reward of the context's other samples."""

    def advantages(self, rewards: Tensor, tried: Tensor, contexts: Tensor) -> Tensor:
        return rewards - (rewards.sum(0) - rewards) / (_several(rewards, "leave_one_out") - 1)


class GroupNormalised(Baseline):
    """The mean reward of the context's samples, in units of their standard deviation (GRPO, Shao et al. 2024, Eq. 3).

    Decisions that all samples agree about teach nothing.
    """

    def advantages(self, rewards: Tensor, tried: Tensor, contexts: Tensor) -> Tensor:
        _several(rewards, "group_normalised")
        return (rewards - rewards.mean(0)) / (rewards.std(0) + 1e-6)


class MovingAverage(Baseline):
    """A running mean of rewards for each context (AS, section "Training with Policy Gradient").

    Args:
        num_contexts: how many contexts there are.
        num_decisions: G.
        momentum: weight of the past in each update; a context's first visit takes its reward as it is.
    """

    def __init__(self, num_contexts: int, num_decisions: int, *, momentum: float = 0.9) -> None:
        self.momentum = momentum
        self.means = torch.zeros(num_contexts, num_decisions)
        self.seen = torch.zeros(num_contexts, dtype=torch.bool)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MovingAverage:
        """What `state_dict` gave, as a baseline again."""
        made = cls(*state["means"].shape, momentum=state["momentum"])
        made.means, made.seen = state["means"].clone(), state["seen"].clone()
        return made

    def state_dict(self) -> dict[str, Any]:
        return {"means": self.means.clone(), "seen": self.seen.clone(), "momentum": self.momentum}

    def advantages(self, rewards: Tensor, tried: Tensor, contexts: Tensor) -> Tensor:
        before = self.of(contexts).to(rewards.device)
        self.update(contexts, rewards)
        return rewards - before

    def of(self, contexts: Tensor) -> Tensor:
        """The means before this visit, (B, G); 0 for a context never seen."""
        return self.means[contexts.cpu()].to(contexts.device)

    def update(self, contexts: Tensor, rewards: Tensor) -> None:
        """Take in rewards (S, B, G) of contexts (B,); a context that is there several times, once with its mean."""
        contexts, places, visits = contexts.cpu().unique(return_inverse=True, return_counts=True)
        sums = torch.zeros(len(contexts), rewards.shape[-1]).index_add_(0, places, rewards.mean(0).cpu())
        rewards = sums / visits[:, None]
        weight = torch.where(self.seen[contexts], self.momentum, 0.0)[:, None]
        self.means[contexts] = weight * self.means[contexts] + (1 - weight) * rewards
        self.seen[contexts] = True


def make_baseline(name: str, *, num_contexts: int, num_decisions: int) -> Baseline:
    """The baseline called `name`, for an environment with so many contexts and decisions in each.

    Raises:
        ValueError: an unknown name.
    """
    if name == "moving_average":
        return MovingAverage(num_contexts, num_decisions)
    known: dict[str, type[Baseline]] = {
        "none": NoBaseline,
        "greedy": Greedy,
        "leave_one_out": LeaveOneOut,
        "group_normalised": GroupNormalised,
    }
    if name not in known:
        raise ValueError(f"unknown baseline {name!r}: it is one of {', '.join(BASELINES)}")
    return known[name]()


def _several(rewards: Tensor, name: str) -> int:
    if len(rewards) < 2:
        raise ValueError(f"the {name} baseline needs at least 2 samples a context, not {len(rewards)}")
    return len(rewards)
