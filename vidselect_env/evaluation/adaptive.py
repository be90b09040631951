"""What similarity guided sampling saved on a bank: maps kept, cost, and the classes at both ends.

Shapes: R clips of a bank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vidselect_env.bank import ClipBank


@dataclass(frozen=True)
class AdaptiveCost:
    """Of all candidates of a bank.

    mean_gmacs, most_gmacs: multiply-adds of a clip, the measured mean and the most, in units of 1e9.
    histogram: clips that keep 1, 2, ... maps.
    mean_bins: a class's name and the mean number of maps of its clips, fewest first (ATFR, Table 5).
    """

    mean_gmacs: float
    most_gmacs: float
    histogram: tuple[int, ...]
    mean_bins: tuple[tuple[str, float], ...]


def adaptive_cost(bank: ClipBank) -> AdaptiveCost:
    """Measure it on a bank of a classifier with similarity guided sampling.

    Raises:
        BankError: the bank has no field `num_bins`: its classifier has no such sampling.
    """
    kept = bank.field("num_bins").joined().flatten()
    costs = torch.tensor(bank.spec.bins_gmacs)
    targets = bank.targets.repeat_interleave(bank.offsets.diff() * bank.spec.crops, dim=0)
    of_class = [
        (name, kept[targets[:, label]].float().mean().item())
        for label, name in enumerate(bank.spec.class_names)
        if targets[:, label].any()
    ]
    return AdaptiveCost(
        mean_gmacs=costs[kept - 1].mean().item(),
        most_gmacs=bank.spec.bins_gmacs[-1],
        histogram=tuple(torch.bincount(kept, minlength=len(costs) + 1)[1:].tolist()),
        mean_bins=tuple(sorted(of_class, key=lambda pair: pair[1])),
    )


def describe(cost: AdaptiveCost, *, num_classes: int = 5) -> str:
    """In a few words: the mean cost, and the classes that keep the fewest and the most maps."""
    number = min(num_classes, (len(cost.mean_bins) + 1) // 2)
    fewest, most = (
        ", ".join(f"{name} {bins:.2f}" for name, bins in classes)
        for classes in (cost.mean_bins[:number], cost.mean_bins[::-1][:number])
    )
    return (
        f"{cost.mean_gmacs:.4g} GMACs a clip on average, at most {cost.most_gmacs:.4g}; "
        f"fewest maps kept: {fewest}; most: {most}"
    )
