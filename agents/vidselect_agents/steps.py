"""The gradient steps of agents: which optimizer, which learning rate when; with what classifiers are trained by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vidselect_env.fitting.fit_config import OPTIMIZERS
from vidselect_env.fitting.optimisation import make_optimizer, warmup_cosine, warmup_steps
from vidselect_env.settings import check_settings

DECAYS = ("cosine", "none", "steps")


@dataclass(frozen=True, kw_only=True)
class StepsConfig:
    """How an agent's networks are trained; training is from 0 to 1.

    Args:
        optimizer: adam, adamw, or sgd with momentum 0.9 (DSN).
        learning_rate: the largest.
        warmup: the share of training in which it rises to that.
        decay: of the learning rate after it: cosine to zero, none, or steps.
        milestones: of steps, where in training it is multiplied by `step_factor`: 4/9 and 8/9 are AS's 20th and 40th
            of 45 epochs; DSN's 45th and 60th of 70 are 0.643 and 0.857.
        step_factor: of steps.
        weight_decay: of the optimizer.
        decay_norms: whether biases and batch norm decay too.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    warmup: float = 0.0
    decay: str = "cosine"
    milestones: tuple[float, ...] = (4 / 9, 8 / 9)
    step_factor: float = 0.1
    weight_decay: float = 1e-4
    decay_norms: bool = True

    def __post_init__(self) -> None:
        for name, known in (("optimizer", OPTIMIZERS), ("decay", DECAYS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}")
        if not all(0 <= each <= 1 for each in self.milestones):
            raise ValueError(f"milestones {self.milestones} must be shares of training, from 0 to 1")
        check_settings(
            self,
            at_least={"weight_decay": 0, "warmup": 0},
            above={"learning_rate": 0, "step_factor": 0},
            at_most={"warmup": 1},
        )

    def make_optimizer(self, trained: nn.Module | Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """Of a network's parameters, or of groups of them that may have rates of their own."""
        return make_optimizer(
            trained,
            kind=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            decay_norms=self.decay_norms,
        )

    def rate_share(self, step: int, *, total: int) -> float:
        """Share of the largest learning rate at a gradient step of so many."""
        warmup = self.warmup * total
        if self.decay == "cosine":
            return warmup_cosine(step, warmup=warmup, total=total)
        milestones = [share * total for share in self.milestones] if self.decay == "steps" else []
        return warmup_steps(step, warmup=warmup, milestones=milestones, factor=self.step_factor)

    def make_schedule(self, optimizer: torch.optim.Optimizer, *, total: int) -> torch.optim.lr_scheduler.LambdaLR:
        """The learning rate of every group over `total` gradient steps."""
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_share(step, total=total))
