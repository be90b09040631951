"""A linear head on a bank's features, for classes that the classifier was not trained on.

Shapes: V videos, R candidates of all videos, D features, C classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from vidselect_env.bank.bank import ClipBank
from vidselect_env.datasets.labels import label_shares
from vidselect_env.files import check_finite, check_regular, write_tensors


def fit_head(features: Tensor, targets: Tensor, *, l2: float = 1e-2) -> nn.Linear:
    """Multinomial logistic regression on standardised features, by L-BFGS to convergence.

    Args:
        features: (R, D) float. targets: (R, C) bool; several labels share a clip equally.
        l2: weight of the squared norm of the standardised weights, beside the mean cross-entropy.

    Returns:
        A layer that takes the features as they are.
    """
    shares = label_shares(targets)
    mean, std = features.mean(0), features.std(0).clamp(min=1e-6)
    standard = (features - mean) / std
    weight = torch.zeros(targets.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(standard @ weight.T + bias, shares) + l2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    head = nn.Linear(features.shape[1], targets.shape[1])
    with torch.no_grad():
        head.weight.copy_(weight / std)
        head.bias.copy_(bias - (weight / std) @ mean)
    return head.requires_grad_(False)


def bank_head(bank: ClipBank, *, l2: float = 1e-2) -> nn.Linear:
    """The head fitted on every candidate of a bank, each with its video's labels."""
    return fit_head(bank.field("features").joined(), _row_targets(bank), l2=l2)


def cross_fitted(bank: ClipBank, *, num_folds: int = 5, l2: float = 1e-2) -> ClipBank:
    """The bank with logits from heads that never saw the video they judge.

    A head fitted on the very clips it judges is right about nearly all, and a selector trained on such
    answers learns nothing. Each class's videos are cut, in order, into `num_folds` blocks, so that
    neighbours (cuts of one source) stay together; each block is judged by a head fitted on the others.

    Raises:
        ValueError: a class has fewer videos than folds, or there are fewer than two of these.
    """
    if num_folds < 2:
        raise ValueError(f"folds ({num_folds}) must be at least 2: a head must not judge what it was fitted on")
    folds = video_folds(bank.targets, num_folds)
    features, targets = bank.field("features").joined(), _row_targets(bank)
    row_folds = folds.repeat_interleave(bank.offsets.diff())
    logits = torch.empty(len(features), bank.num_classes)
    for fold in range(num_folds):
        held_out = row_folds == fold
        logits[held_out] = fit_head(features[~held_out], targets[~held_out], l2=l2)(features[held_out])
    return bank.with_logits(logits)


def video_folds(targets: Tensor, num_folds: int) -> Tensor:
    """The fold of each video, (V,) int64: within its first class, equal blocks in order."""
    classes = targets.int().argmax(-1)
    folds = torch.empty(len(targets), dtype=torch.int64)
    for label in classes.unique().tolist():
        mine = (classes == label).nonzero().squeeze(1)
        if len(mine) < num_folds:
            raise ValueError(f"class {label} has {len(mine)} videos: {num_folds} folds need at least as many")
        folds[mine] = torch.arange(len(mine)) * num_folds // len(mine)
    return folds


def save_head(head: nn.Linear, path: Path) -> None:
    """Write a head as safetensors."""
    write_tensors(path, head.state_dict())


def load_head(path: Path) -> nn.Linear:
    """What `save_head` wrote.

    Raises:
        ValueError: no head, or a damaged one.
    """
    try:
        check_regular(path)
        state = load_file(path)
        num_classes, num_features = state["weight"].shape
        head = nn.Linear(num_features, num_classes)
        head.load_state_dict(state)
    except Exception as error:  # whatever a damaged file makes of its readers
        raise ValueError(f"{str(path)!r} holds no head: {error}") from error
    check_finite(head.state_dict(), path)
    return head.requires_grad_(False)


def with_head(bank: ClipBank, head: nn.Linear) -> ClipBank:
    """The bank with the logits of another head on its features."""
    return bank.with_logits(head(bank.field("features").joined()))


def _row_targets(bank: ClipBank) -> Tensor:
    return bank.targets.repeat_interleave(bank.offsets.diff(), dim=0)
