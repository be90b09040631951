"""Policy-gradient estimators, written as losses whose gradient is the negative estimate.

Shapes: S samples of each of B contexts, G independent decisions a context, N arms a decision, T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidselect_agents.selection import OnePerSection


def reinforce_loss(log_prob: Tensor, advantages: Tensor) -> Tensor:
    """REINFORCE (DSN, Eqs. 9 and 11; AS, Eq. 8).

    Args:
        log_prob: (S, B, G) with gradient.
        advantages: (S, B, G), rewards less a baseline.

    Returns:
        The mean over samples, contexts and decisions.
    """
    return -(advantages.detach() * log_prob).mean()


def all_arms_loss(policy: OnePerSection, arm_rewards: Tensor) -> Tensor:
    """The exact expected reward, negated: nothing is sampled, so the gradient has no variance.

    Exact for rewards that are a mean over sections, as DSN's.

    Args:
        arm_rewards: (B, M, N), the reward of each arm.
    """
    return -(policy.probabilities * arm_rewards).sum(-1).mean()


def generalised_advantages(
    rewards: Tensor, values: Tensor, ended: Tensor, *, discount: float = 1.0, trace: float = 0.95
) -> Tensor:
    """Generalised advantage estimates (Schulman et al., 2016, Eqs. 11 and 16).

    Args:
        rewards: (T, B) of each step.
        values: (T + 1, B) of the state before each step, and of the one after the last.
        ended: (T, B) bool, whether the episode ended with the step: what comes after belongs to the next.
        discount: gamma. trace: lambda; 0 believes the values, 1 the rewards.

    Returns:
        (T, B); with `values[:-1]` added, the returns that values are to be.
    """
    goes_on = (~ended).float()
    surprises = rewards + discount * goes_on * values[1:] - values[:-1]
    advantages = torch.empty_like(rewards)
    following = torch.zeros_like(rewards[0])
    for step in range(len(rewards) - 1, -1, -1):
        following = surprises[step] + discount * trace * goes_on[step] * following
        advantages[step] = following
    return advantages


def clipped_loss(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, *, clip: float = 0.2) -> Tensor:
    """PPO's surrogate (Schulman et al., 2017, Eq. 7), negated; with equal log-probabilities, REINFORCE's gradient.

    Args:
        log_prob: (...) with gradient. old_log_prob: (...) of the policy that acted. advantages: (...).
    """
    ratio = (log_prob - old_log_prob.detach()).exp()
    advantages = advantages.detach()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
