"""Policy-gradient estimators, written as losses whose gradient is the negative estimate.

Shapes: S samples of each of B contexts, G independent decisions a context, N arms a decision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vidselect_agents.selection import OnePerSection, Selection

BASELINES = ("none", "greedy", "moving_average", "leave_one_out")


class MovingAverage:
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


def leave_one_out(rewards: Tensor) -> Tensor:
    """For each sample, the mean reward of the context's other samples: (S, B, G) -> (S, B, G).

    Raises:
        ValueError: there is only one sample.
    """
    num_samples = len(rewards)
    if num_samples < 2:
        raise ValueError("the leave_one_out baseline needs at least 2 samples a context, not 1")
    return (rewards.sum(0) - rewards) / (num_samples - 1)


def reinforce_loss(log_prob: Tensor, rewards: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """REINFORCE with a baseline (DSN, Eqs. 9 and 11; AS, Eq. 8).

    Args:
        log_prob: (S, B, G) with gradient.
        rewards: (S, B, G).
        baseline: broadcast to (S, B, G); may depend on anything but the sample it is subtracted from.

    Returns:
        The mean over samples, contexts and decisions.
    """
    return -((rewards - baseline).detach() * log_prob).mean()


def all_arms_loss(selection: OnePerSection, arm_rewards: Tensor) -> Tensor:
    """The exact expected reward, negated: nothing is sampled, so the gradient has no variance.

    Exact for rewards that are a mean over sections, as DSN's.

    Args:
        arm_rewards: (B, M, N), the reward of each arm.
    """
    return -(selection.probabilities * arm_rewards).sum(-1).mean()


def sampled_loss(
    selection: Selection,
    actions: Tensor,
    rewards_of: Callable[[Tensor], Tensor],
    *,
    baseline: str,
    contexts: Tensor,
    moving_average: MovingAverage | None = None,
) -> Tensor:
    """REINFORCE on sampled actions with a named baseline.

    Args:
        actions: (S, B, ...), sampled from `selection`.
        rewards_of: rewards (S, B, G) of actions (S, B, ...).
        baseline: `none`; `greedy`, the reward of the most probable action (DSN, Eq. 11);
            `moving_average` (AS); or `leave_one_out`.
        contexts: (B,) numbers of the contexts, for `moving_average`.
        moving_average: holds that baseline, and is updated.

    Raises:
        ValueError: an unknown baseline.
    """
    rewards = rewards_of(actions)
    value: Tensor | float
    if baseline == "none":
        value = 0.0
    elif baseline == "greedy":
        value = rewards_of(selection.mode()[None])
    elif baseline == "leave_one_out":
        value = leave_one_out(rewards)
    elif baseline == "moving_average" and moving_average is not None:
        value = moving_average.of(contexts)
        moving_average.update(contexts, rewards)
    else:
        raise ValueError(f"unknown baseline {baseline!r}: it is one of {', '.join(BASELINES)}")
    return reinforce_loss(selection.log_prob(actions), rewards, value)
