"""The best that could be done by who knows every answer: dynamic programming over sets of classified clips.

Shapes: B contexts, K candidates, 2^K sets; bit k of a set's number says that candidate k is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vidselect_env.envs.rewards import prediction_worth
from vidselect_env.envs.search.problem import SearchProblem

MOST_CANDIDATES = 14


@dataclass(frozen=True)
class BestPaths:
    """The best clairvoyant search of B contexts.

    values: (B, 2^K) the best return from each set on, of what is still to be earned; -inf for sets that cannot be.
    best: (B,) from the start on, with what the start costs. chosen: (B, K) bool, what the best path has classified.
    """

    values: Tensor
    best: Tensor
    chosen: Tensor


def best_paths(problem: SearchProblem, contexts: Tensor, *, price: float | None = None) -> BestPaths:
    """Solve V(S) = max(worth(S), max over k not in S of V(S + k) - price), from the largest sets down.

    A look is not worth its cost to who knows, but a clip is not classified without: it costs `clip_cost`. Shaping
    is left out: it changes no return by more than a constant.

    Raises:
        ValueError: more candidates than can be listed.
    """
    num = problem.num_candidates
    if num > MOST_CANDIDATES:
        raise ValueError(f"num_candidates ({num}) must be at most {MOST_CANDIDATES} to list every set of them")
    device = contexts.device
    sets = torch.arange(2**num, device=device)
    members = (sets[:, None] >> torch.arange(num, device=device)) & 1  # (2^K, K)
    sizes = members.sum(-1)
    cost = (problem.price if price is None else price) * problem.clip_cost
    valid = problem.valid(contexts)
    totals = members.float() @ problem.probabilities(contexts)  # (B, 2^K, C)
    fused = torch.where(sizes[:, None] > 0, totals / sizes.clamp(min=1)[:, None], 1 / totals.shape[-1])
    targets = problem.targets(contexts)[:, None].expand_as(fused)
    worth = prediction_worth(problem.reward, fused, targets)
    if problem.reward == "correct":
        worth = worth * (sizes > 0)
    exists = ~((members[None] == 1) & ~valid[:, None]).any(-1) & (sizes <= problem.max_clips)
    values = worth.masked_fill(~exists, -torch.inf)
    follows = torch.full(values.shape, -1, device=device)  # the candidate to go on with; -1 stops
    for size in range(min(problem.max_clips, num) - 1, -1, -1):
        here = sets[sizes == size]
        larger = here[:, None] | (1 << torch.arange(num, device=device))  # a set with a member again is itself
        onward = values[:, larger] - cost
        onward = onward.masked_fill(larger == here[:, None], -torch.inf)
        best, which = onward.max(-1)
        goes_on = best > values[:, here]
        follows[:, here] = torch.where(goes_on, which, -1)
        values[:, here] = torch.maximum(best, values[:, here]).masked_fill(~exists[:, here], -torch.inf)
    begun = problem.begin(contexts).classified
    reached = (begun.long() << torch.arange(num, device=device)).sum(-1)
    best = values.gather(1, reached[:, None])[:, 0] - cost * begun.sum(-1)
    for _ in range(num):
        step = follows.gather(1, reached[:, None])[:, 0]
        reached = torch.where(step < 0, reached, reached | (1 << step.clamp(min=0)))
    return BestPaths(values, best, members[reached].bool())
