"""A search's view as an observation: a dictionary of arrays, or one vector.

Shapes: B searches, K candidates each, C classes.
"""

from __future__ import annotations

import math

import torch
from gymnasium.spaces import Box, Dict, MultiBinary
from torch import Tensor

from vidselect_env.envs.contract import FEATURE_BOUND, LookShapes
from vidselect_env.envs.search.state import SearchView


def observation_space(shapes: LookShapes) -> Dict:
    """Of the dictionary that `observation_of` gives; its bounds never depend on data."""
    num, classes = shapes.num_candidates, shapes.num_classes
    return Dict(
        {
            "looks": shapes.observation_space,
            "seen": MultiBinary(num),
            "classified": MultiBinary(num),
            "answers": Box(0, 1, (num, classes)),
            "fused": Box(0, 1, (classes,)),
            "entropy": Box(0, FEATURE_BOUND, (1,)),
            "price": Box(0, FEATURE_BOUND, (1,)),
            "left": Box(0, 1, (1,)),
            "mask": MultiBinary(num + 1),
        }
    )


def flat_space(space: Dict) -> Box:
    """Of the vector that `flattened` makes of it."""
    length = sum(math.prod(part.shape or ()) for part in space.values())
    return Box(-FEATURE_BOUND, FEATURE_BOUND, (length,))


def observation_of(view: SearchView, shown: tuple[str, ...]) -> dict[str, Tensor]:
    """Everything that a view shows, each (B, ...), in the order of the space."""
    return {
        "looks": view.looks.observation(shown),
        "seen": view.seen.to(torch.int8),
        "classified": view.classified.to(torch.int8),
        "answers": view.answers.clamp(0, 1),
        "fused": view.fused.clamp(0, 1),  # a mean of probabilities is above 1 by rounding
        "entropy": view.entropy.clamp(min=0)[:, None],
        "price": view.price[:, None].clone(),  # the state keeps it
        "left": view.left[:, None],
        "mask": view.mask.to(torch.int8),
    }


def flattened(parts: dict[str, Tensor]) -> Tensor:
    """The parts side by side, (B, ...) float32; pixels are scaled to [0, 1]."""
    scaled = [part / 255 if part.dtype == torch.uint8 else part.float() for part in parts.values()]
    return torch.cat([part.flatten(1) for part in scaled], 1)
