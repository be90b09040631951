"""A searcher's searches from beginning to end, without an environment around them.

Shapes: B searches, K candidates each.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.state import Searcher, SearchState, where


@torch.no_grad()
def search(
    searcher: Searcher, problem: SelectionProblem, contexts: Tensor, *, price: Tensor | None = None
) -> SearchState:
    """Search in contexts (B,), at prices (B,) or the problem's own, until every search has ended.

    Raises:
        TypeError: the problem is of one step.
        RuntimeError: a searcher that never stops.
    """
    if not isinstance(problem, SearchProblem):
        raise TypeError(
            f"{type(searcher).__name__} classifies one clip after another, which is no {problem.environment}"
        )
    state, fields = problem.begin(contexts, price), searcher.needs.fields
    view = problem.view(state, fields)
    memory = searcher.begin(view)
    ended = torch.zeros(len(contexts), dtype=torch.bool, device=contexts.device)
    for _ in range(2 * problem.num_candidates + 1):
        actions, memory = searcher.next(view, memory)
        after, _, ends = problem.step(state, actions.to(contexts.device))
        state = where(ended, state, after)
        ended = ended | ends
        if ended.all():
            return state
        looks = view.looks
        view = problem.view(state, fields if problem.is_paid else ())
        if not problem.is_paid:  # all is seen from the start, and read once
            view = dataclasses.replace(view, looks=looks)
    raise RuntimeError(f"{type(searcher).__name__} asks for the same candidates again and again, and never stops")
