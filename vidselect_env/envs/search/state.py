"""How far a search has come, and what its searcher may see of that.

Shapes: B searches, K candidates each, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from vidselect_env.envs.contract import Looks, LookShapes, Needs


@dataclass(frozen=True)
class SearchState:
    """B searches on their way; the environment's own knowledge of them.

    contexts: (B,) int64. price: (B,) float32, of one classification.
    order: (B, K) int64, 1 for the candidate that was classified first, and so on; 0 for those that were not.
    looked: (B, K) bool, whose looks are seen.
    total: (B, C) float32, the sum of the classifier's probabilities so far.
    num_clips: (B,) int64, classifications paid for: one of the same candidate again is paid for again.
    num_steps: (B,) int64. earned: (B,) float32, the sum of rewards so far.
    """

    contexts: Tensor
    price: Tensor
    order: Tensor
    looked: Tensor
    total: Tensor
    num_clips: Tensor
    num_steps: Tensor
    earned: Tensor

    @property
    def classified(self) -> Tensor:
        """(B, K) bool."""
        return self.order > 0

    @property
    def fused(self) -> Tensor:
        """The mean of what was said, (B, C); where nothing was, every class is as likely."""
        count = self.classified.sum(-1, keepdim=True)
        return torch.where(count > 0, self.total / count.clamp(min=1), 1 / self.total.shape[-1])


def where(condition: Tensor, state: SearchState, other: SearchState) -> SearchState:
    """`state` where condition (B,) holds, `other` elsewhere."""
    chosen = {}
    for field in fields(SearchState):
        mine, theirs = getattr(state, field.name), getattr(other, field.name)
        chosen[field.name] = torch.where(condition.view(-1, *[1] * (mine.ndim - 1)), mine, theirs)
    return SearchState(**chosen)


@dataclass(frozen=True)
class SearchView:
    """What a searcher may see of B searches.

    looks: of all candidates; of those not `seen` every field is 0.
    seen: (B, K) bool. classified: (B, K) bool. answers: (B, K, C) the classifier's probabilities, 0 where it was not
        asked. fused: (B, C) their mean.
    price: (B,) of one classification. left: (B,) the share of `max_clips` that is left, in [0, 1].
    mask: (B, K + 1) bool, the actions that do something; the last stops.
    is_paid: a look is seen once it was asked for.
    """

    looks: Looks
    seen: Tensor
    classified: Tensor
    answers: Tensor
    fused: Tensor
    price: Tensor
    left: Tensor
    mask: Tensor
    is_paid: bool = False

    def __len__(self) -> int:
        return len(self.price)

    @cached_property
    def entropy(self) -> Tensor:
        """Of the fused prediction, (B,) in nats."""
        return torch.special.entr(self.fused).sum(-1)


@runtime_checkable
class Searcher(Protocol):
    """Anything that classifies one clip after another, until it stops.

    `memory` is its own: what it makes of the first view once, and takes along.
    """

    needs: Needs

    def begin(self, view: SearchView) -> Any:
        """The memory of B searches that begin."""

    def next(self, view: SearchView, memory: Any) -> tuple[Tensor, Any]:
        """The candidate to ask for, or K to stop, (B,) int64; and the memory of the next step."""

    def cost_gmacs(self, shapes: LookShapes) -> float:
        """Multiply-adds of looking at all candidates of one context, in units of 1e9."""

    def step_gmacs(self, shapes: LookShapes) -> float:
        """Multiply-adds of one decision beyond that, in units of 1e9."""
