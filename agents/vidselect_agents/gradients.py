"""Policy-gradient estimators, written as losses whose gradient is the negative estimate.

Shapes: S samples of each of B contexts, G independent decisions a context, N arms a decision.
"""

from __future__ import annotations

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
