"""Distributions over selections, made from scores.

Shapes: B contexts, M sections, N clips a section, T candidates, m of them kept, S samples, G independent decisions.
"""

from __future__ import annotations

import math
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


class WithoutReplacement(Selection):
    """m candidates drawn one after another from the softmax of those that are left (Plackett and Luce); one decision.

    An action (T) counts 1 to m in the order of drawing, and is 0 for what is not kept.

    Args:
        scores: (B, T) float. num_kept: m, or all where fewer are valid. valid: (B, T) bool, those that are there.
        of_order: `log_prob` is of the order in which an action was drawn, not of its set over all orders.
    """

    def __init__(self, scores: Tensor, *, num_kept: int, valid: Tensor, of_order: bool = False) -> None:
        self.scores = scores.masked_fill(~valid, -torch.inf)
        self.num_kept, self.valid, self.of_order = num_kept, valid, of_order

    def sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        scores = self.scores.detach().expand(num_samples, -1, -1)
        uniform = torch.rand(scores.shape, generator=generator, device=scores.device).clamp(min=1e-20)
        return self._ranked(scores - uniform.log().neg().log())  # Gumbel noise (Kool et al., 2019)

    def mode(self) -> Tensor:
        """The set of the m largest scores, in their order."""
        return self._ranked(self.scores)

    def log_prob(self, actions: Tensor) -> Tensor:
        scores = self.scores.expand(len(actions), -1, -1)
        of = order_log_prob(scores, actions) if self.of_order else set_log_prob(scores, actions.bool())
        return of[..., None]

    def entropy(self) -> Tensor:
        """Of the first candidate drawn."""
        log_probabilities = self.scores.log_softmax(-1)
        return -(log_probabilities.exp() * log_probabilities.masked_fill(~self.valid, 0)).sum(-1, keepdim=True)

    def _ranked(self, scores: Tensor) -> Tensor:
        best = scores.topk(min(self.num_kept, scores.shape[-1]), dim=-1).indices
        ranks = torch.arange(1, best.shape[-1] + 1, device=scores.device, dtype=torch.int8).expand(best.shape)
        return torch.zeros(scores.shape, dtype=torch.int8, device=scores.device).scatter(-1, best, ranks) * self.valid


def order_log_prob(scores: Tensor, ranks: Tensor) -> Tensor:
    """Log-probability of drawing candidates in an order, without replacement: (..., T) and (..., T) -> (...).

    Args:
        scores: -inf for a candidate that is not there. ranks: 1 for the first drawn, 0 for one that was not.
    """
    # What is left when the candidate of rank r is drawn: those of a rank of at least r, and those never drawn.
    left = (ranks[..., None, :] >= ranks[..., :, None]) | (ranks[..., None, :] == 0)
    totals = scores[..., None, :].masked_fill(~left, -torch.inf).logsumexp(-1)
    kept = ranks > 0
    return torch.where(kept, torch.where(kept, scores, 0) - torch.where(kept, totals, 0), 0).sum(-1)


_NODES = torch.arange(-14.0, 6.0, 0.25)  # of log t: the integrand falls off faster than exp(-14) outside


def set_log_prob(scores: Tensor, kept: Tensor) -> Tensor:
    """Log-probability of drawing a set without replacement, over all its orders: (..., T) and bool (..., T) -> (...).

    Candidate i is drawn at an exponential time of rate exp(score); a set is drawn if all of it comes before the rest.
    With the rest's rate as unit, that is the integral of exp(-t) prod(1 - exp(-rate_i t)) over t (Kool et al., 2020,
    appendix), here by the trapezoidal rule in log t, which for such integrands is exact to rounding.

    Args:
        scores: -inf for a candidate that is not there, which may not be kept.
    """
    is_rest = ~kept & scores.isfinite()
    has_rest = is_rest.any(-1)
    rest = scores.masked_fill(~is_rest, -torch.inf)
    rest = torch.where(has_rest[..., None], rest, 0).logsumexp(-1)
    log_rates = torch.where(kept, scores, 0) - rest[..., None]
    nodes = _NODES.to(scores.device)
    exponents = (log_rates[..., None, :] + nodes[:, None]).clamp(max=20)  # (..., nodes, T)
    times = exponents.exp()
    is_early = times < 1e-4
    drawn = torch.where(is_early, exponents - times / 2, (-torch.expm1(-times.clamp(min=1e-4))).log())
    integrand = nodes - nodes.exp() + (drawn * kept[..., None, :]).sum(-1)
    whole = integrand.logsumexp(-1) + math.log(float(nodes[1] - nodes[0]))
    return torch.where(has_rest, whole, 0)
