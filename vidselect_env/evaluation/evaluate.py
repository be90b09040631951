"""One evaluator for every selector: what it gets right, and what that costs.

Shapes: B contexts, K candidates a context, V videos, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vidselect_env.envs.contract import MissingLook, Selector, adapt
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.rewards import is_correct
from vidselect_env.envs.search.run import search
from vidselect_env.envs.search.state import Searcher
from vidselect_env.envs.sources.base import Source
from vidselect_env.evaluation.hits import hit
from vidselect_env.evaluation.metrics import mean_average_precision, top_k_accuracy
from vidselect_env.evaluation.references import Reference
from vidselect_env.video.errors import VideoError


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one selector did on one split.

    top1, top5, mean_average_precision: of the fused predictions, in [0, 1]; top5 is nan for 5 classes or fewer.
    clips_per_video: clips that the classifier saw, the mean over videos.
    scorer_gmacs, classifier_gmacs: multiply-adds a video, in units of 1e9.
    relative_cost: both together, over the classifier's on all candidates.
    hit: the share of the selected clips that overlap the action by at least half of the shorter of the two, in [0, 1];
        nan where no video's action is known.
    right: whether each video's most probable class is a label, of which `top1` is the mean.
    """

    selector: str
    num_videos: int
    top1: float
    top5: float
    mean_average_precision: float
    clips_per_video: float
    scorer_gmacs: float
    classifier_gmacs: float
    relative_cost: float
    hit: float = float("nan")
    right: tuple[bool, ...] = field(default=(), repr=False)

    @property
    def gmacs(self) -> float:
        return self.scorer_gmacs + self.classifier_gmacs


def evaluate(selector: Any, problem: SelectionProblem, *, name: str, batch_size: int = 64) -> Result:
    """Let a selector choose for every context of `problem`, and fuse by averaging (DSN, Eq. 4).

    Args:
        selector: a `Selector`, a `Reference`, a `Searcher`, or whatever `adapt` makes one of.
        name: of the row.
    """
    return evaluate_with_predictions(selector, problem, name=name, batch_size=batch_size)[0]


def evaluate_with_predictions(
    selector: Any, problem: SelectionProblem, *, name: str, batch_size: int = 64
) -> tuple[Result, Tensor]:
    """As `evaluate`, and the fused predictions that it judges: (V, C) probabilities, on the CPU."""
    if isinstance(selector, Reference):
        problem = problem.whole_videos()  # who sees the answers is told all of a video's at once
    selector = selector if isinstance(selector, Reference | Searcher) else adapt(selector, problem.shapes)
    device = problem.source.device
    num_videos = len(problem.source.video_paths)
    fused = torch.zeros(problem.source.targets.shape, device=device)
    weights = torch.zeros(num_videos, 1, device=device)
    # Which candidates of each video were classified, and which were offered. One that is offered twice counts once, and
    # so do those of a short video that have the same frames.
    classified = torch.zeros(num_videos, int(problem.source.num_candidates.max()), dtype=torch.bool, device=device)
    offered = classified.clone()
    hits: list[Tensor] = []
    num_looked_at = 0  # padding is not looked at
    deciding_gmacs = 0.0  # of who decides again after each answer
    for contexts in torch.arange(problem.num_contexts, device=device).split(batch_size):
        videos, looked_at = problem.videos(contexts), problem.valid(contexts)
        if isinstance(selector, Searcher):
            state = search(selector, problem, contexts)
            selection, looked_at = state.classified, state.looked
            deciding_gmacs += selector.step_gmacs(problem.shapes) * int(state.num_steps.sum())
        else:
            selection = selection_of(selector, problem, contexts)
        probabilities = problem.probabilities(contexts)
        shares = problem.fusion_weights(selection)
        fused.index_add_(0, videos, (probabilities * shares[..., None]).sum(1))
        weights.index_add_(0, videos, shares.sum(1, keepdim=True))
        candidates = problem.candidates(contexts)
        truth = problem.source.truth(videos, candidates)
        if truth is not None:
            hits.append(hit(truth[0], selection, truth[1]))
        num_looked_at += int(looked_at.sum())
        rows = videos[:, None].expand_as(candidates)
        alike = problem.source.first_alike(videos, candidates)
        offered[rows, alike] = True
        counts = shares > 0  # a dropped candidate that counts a little must be classified too
        classified[rows[counts], alike[counts]] = True
    # Whoever chooses nothing says nothing, which is wrong: the labels get the least probability.
    silent = (~problem.source.targets).float()
    fused = torch.where(weights > 0, fused / weights.clamp(min=1e-9), silent)

    # Features and predictions are the classifier's own: whoever looks at them has run it on every candidate.
    seen = offered if selector.needs.classifier_first else classified
    costs = candidate_gmacs(problem.source)
    looking_gmacs = selector.cost_gmacs(problem.shapes) * num_looked_at / candidates.shape[1]
    result = result_of(
        name,
        fused,
        problem.source,
        clips_per_video=seen.sum().item() / num_videos,
        classifier_gmacs=costs[seen].sum().item() / num_videos,
        dense_gmacs=costs[offered].sum().item() / num_videos,
        scorer_gmacs=(looking_gmacs + deciding_gmacs) / num_videos,
    )
    result = replace(result, hit=torch.cat(hits).nanmean().item()) if hits else result
    return result, fused.cpu()


def candidate_gmacs(source: Source) -> Tensor:
    """What each candidate costs the classifier: (V, L) with the longest video's L, in units of 1e9."""
    counts = source.num_candidates.to(source.device)
    places = torch.arange(int(counts.max()), device=source.device)
    candidates = places.minimum(counts[:, None] - 1)
    return source.clip_gmacs(torch.arange(len(counts), device=source.device), candidates).double()


def result_of(
    name: str,
    fused: Tensor,
    source: Source,
    *,
    clips_per_video: float,
    classifier_gmacs: float,
    dense_gmacs: float,
    scorer_gmacs: float,
) -> Result:
    """The row of fused predictions (V, C), with what they cost a video beside classifying all for `dense_gmacs`."""
    fused, targets = fused.cpu(), source.targets.cpu()
    return Result(
        selector=name,
        num_videos=len(targets),
        top1=top_k_accuracy(fused, targets, k=1),
        top5=top_k_accuracy(fused, targets, k=5) if targets.shape[1] > 5 else float("nan"),
        mean_average_precision=mean_average_precision(fused, targets),
        clips_per_video=float(clips_per_video),
        scorer_gmacs=scorer_gmacs,
        classifier_gmacs=classifier_gmacs,
        relative_cost=(scorer_gmacs + classifier_gmacs) / dense_gmacs,
        right=tuple(is_correct(fused, targets).tolist()),
    )


def selection_of(selector: Selector | Reference | Searcher, problem: SelectionProblem, contexts: Tensor) -> Tensor:
    """What `selector` chooses in contexts (B,): (B, K) bool. References, and nobody else, are told the answers."""
    if isinstance(selector, Searcher):
        return search(selector, problem, contexts).classified
    looks = problem.looks(contexts, selector.needs.fields)
    if isinstance(selector, Reference):
        return selector.select(looks, problem.answers(contexts))
    try:
        return selector.select(looks).to(contexts.device)
    except MissingLook as error:
        video = int(problem.videos(contexts[error.row : error.row + 1]))
        raise VideoError(problem.source.video_paths[video], error.reason) from error
