"""What a look at a context's candidates costs."""

from __future__ import annotations

import torch
from torch import nn

from vidselect_classifiers import gmacs
from vidselect_env.envs.problem import SelectionProblem


def gmacs_of_observations(backbone: nn.Module, problem: SelectionProblem) -> float:
    """Multiply-adds of `backbone` on every candidate of one context, in units of 1e9."""
    num_candidates, *shape = problem.observation_space.shape or ()
    dtype = torch.uint8 if problem.observation == "skim" else torch.float32
    return num_candidates * gmacs(backbone, (1, *shape), dtype=dtype)
