"""Distributions over selections, made from scores.

Shapes: B contexts, M sections, N clips a section, T candidates, S samples, G independent decisions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from vidselect_env.envs.choice import largest


class Selection(ABC):
    """Actions of B contexts, of G independent decisions each.

    Randomness comes from the generator that is passed in.
    """

    @abstractmethod
    def sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """(S, B, ...) actions."""

    @abstractmethod
    def mode(self) -> Tensor:
        """The most probable action of each context, (B, ...)."""

    @abstractmethod
    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-probability of each decision of actions (S, B, ...): (S, B, G)."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Of each decision, in nats: (B, G)."""


class OnePerSection(Selection):
    """One clip a section, sections independent (DSN, section III-B); a decision is a section's.

    Args:
        scores: (B, M, N) float, unnormalised.
    """

    def __init__(self, scores: Tensor) -> None:
        self.log_probabilities = scores.log_softmax(-1)

    @property
    def probabilities(self) -> Tensor:
        """P of Eq. 3, (B, M, N)."""
        return self.log_probabilities.exp()

    def sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        flat = self.probabilities.detach().flatten(0, 1)
        drawn = torch.multinomial(flat, num_samples, replacement=True, generator=generator)
        return drawn.T.reshape(num_samples, *self.log_probabilities.shape[:2])

    def mode(self) -> Tensor:
        return self.log_probabilities.argmax(-1)

    def log_prob(self, actions: Tensor) -> Tensor:
        of_arms = self.log_probabilities.expand(len(actions), -1, -1, -1)
        return of_arms.gather(-1, actions[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.probabilities * self.log_probabilities).sum(-1)


class KeepOrDrop(Selection):
    """Every candidate kept or dropped on its own, all together one decision (AS, Eq. 1).

    Args:
        scores: (B, T) float; their sigmoid is the probability of keeping.
        num_kept: the mode is the `num_kept` most probable candidates (AS, Algorithm 2); None keeps all
            that are more probable than not.
        valid: (B, T) bool, the candidates that are there; the others are never kept, and decide nothing.
    """

    def __init__(self, scores: Tensor, *, num_kept: int | None = None, valid: Tensor | None = None) -> None:
        self.scores = scores
        self.num_kept = num_kept
        self.valid = torch.ones_like(scores, dtype=torch.bool) if valid is None else valid

    @property
    def probabilities(self) -> Tensor:
        """Of keeping, (B, T)."""
        return self.scores.sigmoid() * self.valid

    def sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        probabilities = self.probabilities.detach().expand(num_samples, -1, -1)
        return torch.bernoulli(probabilities, generator=generator).to(torch.int8)

    def mode(self) -> Tensor:
        if self.num_kept is None:
            return ((self.scores > 0) & self.valid).to(torch.int8)
        best = largest(self.scores.masked_fill(~self.valid, -torch.inf), self.num_kept)
        return (best & self.valid).to(torch.int8)

    def log_prob(self, actions: Tensor) -> Tensor:
        signed = torch.where(actions.bool(), self.scores, -self.scores)
        return (F.logsigmoid(signed) * self.valid).sum(-1, keepdim=True)

    def entropy(self) -> Tensor:
        each = F.binary_cross_entropy_with_logits(self.scores, self.scores.sigmoid(), reduction="none")
        return (each * self.valid).sum(-1, keepdim=True)
