"""What a policy would have earned, estimated from another policy's log.

Shapes: R logged rounds, N arms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def importance_weights(action: NDArray[np.integer], pscore: Array, policy: Array) -> Array:
    """How much likelier the evaluated policy was to take each logged action: (R,).

    Args:
        action: (R,) logged actions. pscore: (R,) their propensities.
        policy: (R, N) probabilities of the evaluated policy.

    Raises:
        ValueError: a propensity is nan or not positive, or a row of `policy` does not sum to 1.
    """
    if not (pscore > 0).all():
        raise ValueError("every propensity must be a positive number: log the probability of each action taken")
    if not np.allclose(policy.sum(1), 1, atol=1e-4):
        raise ValueError("every row of the policy must sum to 1")
    return policy[np.arange(len(action)), action] / pscore


def inverse_propensity_score(reward: Array, weights: Array) -> float:
    """IPS: unbiased; its variance grows with the weights."""
    return float(np.mean(weights * reward))


def self_normalised(reward: Array, weights: Array) -> float:
    """SNIPS: IPS over the mean weight; a little biased, and steadier."""
    return float(np.sum(weights * reward) / np.sum(weights))


def doubly_robust(
    reward: Array, weights: Array, *, action: NDArray[np.integer], policy: Array, predicted: Array
) -> float:
    """DR: a model of the rewards, corrected by IPS; unbiased if either is right.

    Args:
        predicted: (R, N) the model's reward of every arm.
    """
    of_policy = (policy * predicted).sum(1)
    of_logged = predicted[np.arange(len(action)), action]
    return float(np.mean(of_policy + weights * (reward - of_logged)))


def true_value(policy: Array, expected_reward: Array) -> float:
    """The exact value of a policy, where every arm's reward is known: (R, N) and (R, N, 1)."""
    return float(np.mean((policy * expected_reward[..., 0]).sum(1)))
