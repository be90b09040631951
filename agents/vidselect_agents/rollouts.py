"""What was seen and done in T steps of B searches, in tensors.

Shapes: B sub-environments, T steps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidselect_env.envs.search.state import SearchView

PARTS = ("seen", "classified", "answers", "fused", "price", "left", "mask")


@dataclass(frozen=True)
class Rollout:
    """T x B steps in one: what was seen, where, what was done, how likely, and how much it was worth."""

    view: SearchView
    contexts: Tensor
    actions: Tensor
    log_prob: Tensor
    advantages: Tensor
    returns: Tensor


def joined(views: list[SearchView]) -> SearchView:
    """Views one after another."""
    parts: dict[str, Any] = {name: torch.cat([getattr(view, name) for view in views]) for name in PARTS}
    valid, places = (torch.cat([getattr(view.looks, name) for view in views]) for name in ("valid", "places"))
    return dataclasses.replace(views[0], looks=dataclasses.replace(views[0].looks, valid=valid, places=places), **parts)


def rows_of(view: SearchView, rows: Tensor) -> SearchView:
    """Some of a view's searches."""
    parts: dict[str, Any] = {name: getattr(view, name)[rows] for name in PARTS}
    looks = dataclasses.replace(view.looks, valid=view.looks.valid[rows], places=view.looks.places[rows])
    return dataclasses.replace(view, looks=looks, **parts)
