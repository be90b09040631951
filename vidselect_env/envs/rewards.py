"""Rewards of the environments, as pure functions on tensors.

Shapes: ... any leading dimensions, C classes, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_correct(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Whether the most probable class is a label: (..., C) and bool (..., C) -> bool (...).

    With several labels any one of them counts.
    """
    return targets.gather(-1, probabilities.argmax(-1, keepdim=True)).squeeze(-1)


def clip_rewards(probabilities: Tensor, targets: Tensor, *, penalty: float) -> Tensor:
    """Reward of choosing a clip (DSN, Eq. 6).

    The probability of the predicted class if that class is a label (of the true class, with one label);
    `-penalty` otherwise.

    Args:
        probabilities: (..., C) float, the classifier's for each clip.
        targets: (..., C) bool, the labels of its video.
        penalty: gamma of Eq. 6, at least 0.

    Returns:
        (...) float.
    """
    if penalty < 0:
        raise ValueError(f"penalty ({penalty}) must be at least 0")
    best = probabilities.amax(-1)
    return torch.where(is_correct(probabilities, targets), best, -penalty)


def label_probability(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Probability of the labels together, (..., C) and bool (..., C) -> (...); of one label its own."""
    return (probabilities * targets).sum(-1)


WORTHS = ("correct", "log_prob", "margin")
LEAST_PROBABILITY = 1e-3  # of `log_prob`: one confident mistake must not outweigh a hundred answers


def prediction_worth(kind: str, probabilities: Tensor, targets: Tensor) -> Tensor:
    """What a prediction is worth: (..., C) and bool (..., C) -> (...) float.

    Args:
        kind: `correct`: 1 or 0; `log_prob`: of the labels, at least log(0.001); `margin`: the likeliest label's
            probability less the likeliest other class's.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "correct":
        return is_correct(probabilities, targets).to(probabilities.dtype)
    if kind == "log_prob":
        return label_probability(probabilities, targets).clamp(min=LEAST_PROBABILITY).log()
    if kind == "margin":
        return (probabilities * targets).amax(-1) - (probabilities * ~targets).amax(-1)
    raise ValueError(f"reward ({kind!r}) must be one of {', '.join(WORTHS)}")


GAINS = ("gain", "confidence")
REWARDS = ("attention", *WORTHS, *GAINS)  # of keeping some of several clips


def gain_rewards(kind: str, before: Tensor, after: Tensor, targets: Tensor) -> Tensor:
    """Reward of keeping some clips instead of all by the gain of probability, as in OCSampler (Lin et al., 2022).

    Args:
        kind: `gain`: of the labels; `confidence`: of the likeliest class, for who has no labels.
        before, after: (..., C) float, mean predictions over all and over the kept clips. targets: (..., C) bool.
    """
    if kind == "gain":
        return label_probability(after, targets) - label_probability(before, targets)
    return after.amax(-1) - before.amax(-1)


def attention_rewards(before: Tensor, after: Tensor, targets: Tensor, *, omega: float) -> Tensor:
    """Reward of keeping some frames instead of all (AS, Eqs. 2 and 4).

    `omega` where keeping turns a wrong prediction right, `-omega` where it turns a right one wrong, and
    otherwise the sign of the change of the label's probability: 1, 0 or -1. A change of less than 1e-6 is
    rounding, and counts as none.

    Args:
        before: (..., C) float, the mean prediction over all frames (p0 of Eq. 3).
        after: (..., C) float, over the kept ones (p1).
        targets: (..., C) bool, the labels; several count together.
        omega: stimulation and punishment, at least 1.
    """
    if omega < 1:
        raise ValueError(f"omega ({omega}) must be at least 1, the size of the other rewards")
    change = label_probability(after, targets) - label_probability(before, targets)
    change = torch.where(change.abs() < 1e-6, 0.0, change.sign())
    was_right, is_right = is_correct(before, targets), is_correct(after, targets)
    turned = is_right.to(change.dtype) - was_right.to(change.dtype)
    return torch.where(turned == 0, change, omega * turned)
